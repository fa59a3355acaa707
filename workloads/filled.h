/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What workloads share that take pages out of a file or shared memory while it
 * is mapped: which pages, whether they are to be had, and the mapping. In
 * their descriptors: filled_params, filled_probe_cell, filled_knobs, and of
 * pages.h pages_set_new and pages_set_free.
 */
#ifndef TLBMARK_FILLED_H
#define TLBMARK_FILLED_H

#include <tlbmark/workload.h>

#include "pages.h"

/* --pages, --kind, --backing shared or file. */
extern const struct tm_param filled_params[];

int filled_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size);
int filled_knobs(const struct tm_cell_args *c, struct tm_sysstate *s);

/* For prepare(): opened, mapped and filled. 0 or what tm_fail() returned. */
int filled_map(struct tm_thread *t, void *state);

#endif /* TLBMARK_FILLED_H */
