/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Draws the plots of one stored session with gnuplot. Reads records only; can
 * be run on another machine than the one that measured.
 */
#ifndef TLBMARK_PLOT_H
#define TLBMARK_PLOT_H

#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

struct tm_store; /* results/store.h */

struct tm_plot_options {
	const char *formats; /* "svg,png" in any order; NULL: both */
	const char *only;    /* names of plots, comma separated; NULL: all */
	FILE *log;	     /* one line a plot: its files, or why it is left out; NULL: silent */
};

/*
 * Draws what the records (a JSON array of one session's) have data for into
 * out_dir, made if missing: NAME.FORMAT, then NAME-2.FORMAT and so on where
 * one picture is not enough. A file appears whole or not at all. *drawn, if
 * not NULL, becomes the number of files written.
 *
 * 0, also when every plot was left out; else -errno with one line in why:
 * -EINVAL bad formats, names or records, -ENOENT no gnuplot or no scripts,
 * -EIO gnuplot failed, or what the file system said. Not thread safe: forks.
 */
int tm_plot_records(const json_t *records, const char *out_dir,
		    const struct tm_plot_options *options, unsigned int *drawn, char *why,
		    size_t why_size);

/* The same for a session in the store: its id, the beginning of it, or "last". */
int tm_plot_session(struct tm_store *store, const char *session, const char *out_dir,
		    const struct tm_plot_options *options, unsigned int *drawn, char *why,
		    size_t why_size);

/*
 * Where a session's plots go: `given` (--out) if not NULL, else a folder of
 * the session's own beside the store. 0 or -ENAMETOOLONG.
 */
int tm_plot_directory(const char *given, const char *store_path, const char *session, char *out,
		      size_t size);

#endif /* TLBMARK_PLOT_H */
