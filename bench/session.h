/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One `tlbmark run`: a plan carried out, its records stored, the machine put
 * back. What is printed and drawn from the records is the caller's affair.
 */
#ifndef TLBMARK_SESSION_H
#define TLBMARK_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "plan.h"
#include "probe.h"
#include "record.h"

struct tm_session_options {
	struct tm_plan_request plan;
	enum tm_probe_kind probe;
	const char *background;	     /* a profile or stress-ng's arguments; NULL: none */
	const char *thp, *ceiling;   /* knobs for the whole session; NULL: as they are */
	const char *store;	     /* --store; NULL: the default */
	const char *state_directory; /* of the journal; NULL: the default */
	bool quiet, dry_run, allow_traced;
};

struct tm_session_outcome {
	char id[TM_ID_CHARS + 1];
	char store_path[4096];
	char spill_path[4096]; /* "" unless records could not be stored */
	size_t runs, planned, failed, skipped, spilled;
	size_t violations; /* oracle checks that failed */
	int signal;	   /* it was interrupted by this one */
};

/*
 * Carries the session out. An exit status (cli.h): TM_EXIT_OK, or another
 * after one clear line on stderr. The outcome is filled as far as it came.
 */
int tm_session_run(struct tm_session_options *o, struct tm_session_outcome *out);

#endif /* TLBMARK_SESSION_H */
