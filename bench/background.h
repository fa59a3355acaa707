/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Background load by stress-ng, in a process group of its own on chosen CPUs,
 * watched so that it ends when we end, however that happens.
 */
#ifndef TLBMARK_BACKGROUND_H
#define TLBMARK_BACKGROUND_H

#include <stdbool.h>
#include <stddef.h>

struct tm_background;

/* Names and help of the profiles: cpu, memory, vm, interrupts, fork; NULL-terminated. */
struct tm_background_profile {
	const char *name, *help;
	const char *const
		*arguments; /* of stress-ng, "%" for the number of CPUs; NULL-terminated */
};
extern const struct tm_background_profile tm_background_profiles[];

/*
 * Starts `spec`: a profile's name, or stress-ng's own arguments beginning
 * with "--". On `cpus` only. Returns when its workers run. 0, or -errno with
 * one line in why (-ENOENT: no stress-ng installed). Own arguments are split at
 * blanks, with quotes and backslashes as in a shell; no shell runs. Waiting for
 * any child (waitpid(-1)) would take away one of ours.
 */
int tm_background_start(const char *spec, const unsigned int *cpus, unsigned int count,
			struct tm_background **out, char *why, size_t why_size);

/* Checks spec and that stress-ng is there and takes it; starts no load. */
int tm_background_check(const char *spec, char *why, size_t why_size);

/* Has it ended by itself, or been killed? */
bool tm_background_ended(const struct tm_background *b);

/*
 * Ends it (SIGTERM, then SIGKILL, the whole group and stray descendants),
 * collects stress-ng's own metrics: *metrics is a JSON text (free() it) with
 * stressor, bogo_ops, wall_seconds, bogo_ops_per_second, user_seconds and
 * system_seconds each; NULL if it gave none. `metrics` may be NULL, and b.
 * 0, or -ECANCELED if the load had ended before (its metrics still come).
 */
int tm_background_stop(struct tm_background *b, char **metrics);

#endif /* TLBMARK_BACKGROUND_H */
