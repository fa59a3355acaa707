// SPDX-License-Identifier: GPL-3.0-or-later
/* `tlbmark plot`: draws a stored session again, here or on another machine. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "plots/plot.h"
#include "results/store.h"

enum { OPT_STORE, OPT_OUT, OPT_FORMAT, OPT_ONLY };
static const struct tm_option options[] = {
	[OPT_STORE] = {.name = "store", .argument = "FILE", .help = "where the records are"},
	[OPT_OUT] = {.name = "out",
		     .letter = 'o',
		     .argument = "DIR",
		     .help = "where the pictures go; plots/SESSION beside the store unless said"},
	[OPT_FORMAT] = {.name = "format",
			.argument = "LIST",
			.help = "formats, comma separated; both unless said",
			.choices = "svg png"},
	[OPT_ONLY] = {.name = "only",
		      .argument = "LIST",
		      .help = "draw these plots only, comma separated",
		      .choices = "ladder cdf pages responders split heatmap stale"},
	{.name = NULL},
};

struct arguments {
	const char *session, *store, *out;
	struct tm_plot_options plot;
};

/* 0, or the exit status plus one, so that --help can end it too. */
static int parse(int argc, char **argv, struct arguments *a)
{
	struct tm_walk w = {.command = &tm_command_plot, .argc = argc, .argv = argv};
	int option;

	while ((option = tm_walk_next(&w)) != TM_OPT_END) {
		if (option == OPT_STORE) {
			a->store = w.value;
		} else if (option == OPT_OUT) {
			a->out = w.value;
		} else if (option == OPT_FORMAT) {
			a->plot.formats = w.value;
		} else if (option == OPT_ONLY) {
			a->plot.only = w.value;
		} else if (option == TM_OPT_WORD && !a->session) {
			a->session = w.value;
		} else if (option == TM_OPT_HELP) {
			tm_command_help(&tm_command_plot, stdout);
			return TM_EXIT_OK + 1;
		} else {
			if (option == TM_OPT_WORD)
				tm_error("plot: one session at a time, not also '%s'", w.value);
			return TM_EXIT_USAGE + 1;
		}
	}
	return 0;
}

static int plot(const struct arguments *a, struct tm_store *store, const char *path, char *why,
		size_t why_size)
{
	const char *name = a->session ? a->session : "last";
	char session[TM_STORE_ID], record[TM_STORE_ID], directory[4096];
	unsigned int drawn;
	int rc = tm_store_find(store, name, session, record, why, why_size);

	if (!rc && record[0]) {
		snprintf(why, why_size, "'%s' is a record; 'tlbmark show' prints it", name);
		rc = -EINVAL;
	}
	if (!rc && tm_plot_directory(a->out, path, session, directory, sizeof(directory))) {
		snprintf(why, why_size, "the name of the folder for plots is too long");
		rc = -ENAMETOOLONG;
	}
	if (!rc)
		rc = tm_plot_session(store, session, directory, &a->plot, &drawn, why, why_size);
	return rc;
}

static int cmd_plot(int argc, char **argv)
{
	struct arguments a = {.plot.log = stdout};
	struct tm_store *store = NULL;
	char path[4096], why[512] = "";
	int rc = parse(argc, argv, &a);

	if (rc)
		return rc - 1;
	rc = tm_store_path(a.store, path, sizeof(path), why, sizeof(why));
	if (!rc)
		rc = tm_store_open(path, TM_STORE_READ, &store, why, sizeof(why));
	if (!rc)
		rc = plot(&a, store, path, why, sizeof(why));
	tm_store_close(store);
	if (!rc)
		return TM_EXIT_OK;
	tm_error("plot: %s", why);
	return rc == -EINVAL ? TM_EXIT_USAGE : TM_EXIT_CANNOT;
}

const struct tm_command tm_command_plot = {
	.name = "plot",
	.synopsis = "[SESSION|last]",
	.summary = "draw the plots of a stored session",
	.description =
		"Draws a session's plots as SVG and PNG with gnuplot: percentile ladder, distribution\n"
		"with and without responders, duration against pages and against responders, the split\n"
		"into delivery, stolen and return, and the heat map of CPUs. A plot that the session\n"
		"has no data for is left out, and why is said; runs that are not valid are not drawn.\n"
		"\n"
		"SESSION is an id or its beginning, as 'tlbmark show' prints it; the last session\n"
		"stored if none is given. Reads stored records only, so it may run on another machine.",
	.options = options,
	.main = cmd_plot,
};
