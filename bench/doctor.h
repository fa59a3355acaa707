/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What this machine can measure and what will disturb it. The judgement is a
 * pure function of the environment and of what doctor.c measured, so it can be
 * asked about machines that are not here.
 */
#ifndef TLBMARK_DOCTOR_H
#define TLBMARK_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "clock.h"
#include "probe.h"

enum tm_severity {
	TM_SEVERITY_OK,
	TM_SEVERITY_NOTE,    /* good to know; nothing is wrong */
	TM_SEVERITY_WARNING, /* figures will suffer */
	TM_SEVERITY_CANNOT,  /* something cannot be measured */
};
const char *tm_severity_name(enum tm_severity s);

struct tm_finding {
	const char *name; /* of the check: a stable key */
	enum tm_severity severity;
	char text[320];
	char remedy[256]; /* a command or an advice; "" where all is well */
};

/* What the environment does not hold. */
struct tm_doctor_facts {
	bool root;
	int clock_error; /* of tm_clock_calibrate() */
	struct tm_clock clock;
	int offset_error;	   /* -ENODEV: one CPU only */
	unsigned int offset_pairs; /* CPU pairs measured */
	unsigned int worst_cpu;	   /* the one with the largest |offset| + bound ... */
	struct tm_offset worst;	   /* ... seen from the first usable CPU */
	double steal_share;	   /* while looking; negative: unknown */
	enum tm_probe_kind probe;
	char probe_why[512]; /* why not a better one */
	bool have_stress_ng, have_gnuplot;
};

enum { TM_DOCTOR_MAX = 32 };

/* Fills out[]; how many findings. */
size_t tm_doctor_judge(const json_t *environment, const struct tm_doctor_facts *facts,
		       struct tm_finding out[TM_DOCTOR_MAX]);

#endif /* TLBMARK_DOCTOR_H */
