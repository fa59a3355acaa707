// SPDX-License-Identifier: GPL-3.0-or-later
/* tlbmark: picks the command. The only file that ends the process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

const struct tm_command *const tm_commands[] = {
	&tm_command_run,  &tm_command_stress, &tm_command_list, &tm_command_doctor,
	&tm_command_show, &tm_command_plot,   &tm_command_lab,	NULL,
};

static const struct tm_command *find(const char *name)
{
	for (const struct tm_command *const *c = tm_commands; *c; c++) {
		if (!strcmp((*c)->name, name))
			return *c;
	}
	return NULL;
}

static void help(FILE *out)
{
	fputs("Usage: tlbmark COMMAND [OPTION...]\n\n"
	      "Measures what a TLB shootdown costs on this machine, who pays, and why.\n\n"
	      "Commands:\n",
	      out);
	for (const struct tm_command *const *c = tm_commands; *c; c++)
		fprintf(out, "  %-10s %s\n", (*c)->name, (*c)->summary);
	fputs("\n'tlbmark COMMAND --help' tells more. Start with 'tlbmark doctor', then "
	      "'tlbmark run'.\n",
	      out);
}

/* What the build asks for: the manual pages and the completion. */
static int generate(int argc, char **argv)
{
	const struct tm_command *c = argc > 2 ? find(argv[2]) : NULL;

	if (!strcmp(argv[1], "--completion"))
		tm_completion(stdout);
	else if (argc > 2 && !c)
		return TM_EXIT_USAGE;
	else
		tm_command_man(c, stdout);
	return TM_EXIT_OK;
}

static int dispatch(int argc, char **argv)
{
	const struct tm_command *c;

	if (argc < 2) {
		help(stderr);
		return TM_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help(stdout);
		return TM_EXIT_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("tlbmark " PACKAGE_VERSION);
		return TM_EXIT_OK;
	}
	if (!strcmp(argv[1], "--man") || !strcmp(argv[1], "--completion"))
		return generate(argc, argv);
	c = find(argv[1]);
	if (!c) {
		tm_error("unknown command '%s'; 'tlbmark --help' lists them", argv[1]);
		return TM_EXIT_USAGE;
	}
	return c->main(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int status;

	/* `doctor` tells what hwloc has to complain about. */
	setenv("HWLOC_HIDE_ERRORS", "2", 0);
	status = dispatch(argc, argv);

	/* A full disk behind stdout is found out here or never. */
	if ((fflush(stdout) || ferror(stdout)) && !status) {
		tm_error("the output could not be written as a whole");
		status = TM_EXIT_CANNOT;
	}
	exit(status);
}
