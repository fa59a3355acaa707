/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The command line, as tables: parsing, --help, the manual pages and the bash
 * completion all read these, so none can drift from the others.
 */
#ifndef TLBMARK_CLI_H
#define TLBMARK_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One option. The table ends with a NULL name. */
struct tm_option {
	const char *name;     /* without the dashes */
	char letter;	      /* short form, or 0 */
	const char *argument; /* "N", "LIST", ...; NULL: a flag */
	const char *help;     /* one sentence, lower case, no full stop */
	const char *choices;  /* "a b c" for the completion, or NULL */
};

struct tm_command {
	const char *name;
	const char *synopsis;	 /* what follows "tlbmark NAME", "[WORKLOAD...]" */
	const char *summary;	 /* one line, lower case */
	const char *description; /* paragraphs, separated by an empty line */
	const struct tm_option *options;
	bool workload_options;		    /* also takes every workload's own parameters */
	int (*main)(int argc, char **argv); /* argv[0] is the command's name; exit status */
};

/* NULL-terminated. */
extern const struct tm_command *const tm_commands[];

/* Exit statuses, the same for every command. */
enum {
	TM_EXIT_OK = 0,
	TM_EXIT_FAILED = 1,   /* something was measured or checked and is wrong */
	TM_EXIT_USAGE = 2,    /* bad input */
	TM_EXIT_CANNOT = 3,   /* this machine, user or disk does not allow it */
	TM_EXIT_SIGNAL = 128, /* plus the signal's number */
};

/* "tlbmark: " and one line on stderr. */
void tm_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Walks argv. Returns the index into c->options of the option found (its
 * argument in *value), TM_OPT_PARAM for a workload's own parameter (its name
 * in *name), TM_OPT_WORD for a plain word (in *value), TM_OPT_HELP,
 * TM_OPT_END, or TM_OPT_BAD after having printed one clear line.
 * Both "--name value" and "--name=value"; "--" ends the options.
 */
enum { TM_OPT_END = -1, TM_OPT_BAD = -2, TM_OPT_WORD = -3, TM_OPT_PARAM = -4, TM_OPT_HELP = -5 };
struct tm_walk {
	const struct tm_command *command;
	int argc;
	char **argv;
	int next;
	bool only_words;
	const char *name, *value;
};
int tm_walk_next(struct tm_walk *w);

/* A whole number from `least` to `most`; -EINVAL. */
int tm_parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *out);
/* "200ms", "2s", "10m": 100 us to a day. 0; -EINVAL, or -ERANGE. */
int tm_parse_duration(const char *text, uint64_t *ns);

void tm_command_help(const struct tm_command *c, FILE *out);
/* man(7) source of tlbmark(1) (c NULL) or tlbmark-NAME(1); bench/man.c */
void tm_command_man(const struct tm_command *c, FILE *out);
/* bash completion for the whole program; bench/completion.c */
void tm_completion(FILE *out);

/* Each last in the file that implements it. */
extern const struct tm_command tm_command_run, tm_command_list, tm_command_doctor, tm_command_show,
	tm_command_plot, tm_command_lab, tm_command_stress;

#endif /* TLBMARK_CLI_H */
