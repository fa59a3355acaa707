/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The line on a terminal's stderr that says how far a session is. */
#ifndef TLBMARK_PROGRESS_H
#define TLBMARK_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tm_progress {
	bool shown;
	size_t done, total;
	uint64_t start_ns;
};

/* Shown only where stderr is a terminal and `quiet` is not set. */
void tm_progress_begin(struct tm_progress *p, size_t total, bool quiet);
/* Before a run: what it is. Drawn between runs only, never during one. */
void tm_progress_step(struct tm_progress *p, const char *label);
/* Clears the line. */
void tm_progress_end(struct tm_progress *p);

#endif /* TLBMARK_PROGRESS_H */
