// SPDX-License-Identifier: GPL-3.0-or-later
/* Walking a command line along a table, and the help that comes from it. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <tlbmark/workload.h>

#include "cli.h"

void tm_error(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("tlbmark: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static const struct tm_param *find_param(const char *name, size_t length)
{
	for (const struct tm_workload *const *w = tm_workloads; *w; w++) {
		for (const struct tm_param *p = (*w)->params; p && p->name; p++) {
			if (strlen(p->name) == length && !strncmp(p->name, name, length))
				return p;
		}
	}
	return NULL;
}

static int bad(const struct tm_walk *w, const char *what, const char *word)
{
	tm_error("%s: %s '%s'; 'tlbmark %s --help' lists the options", w->command->name, what, word,
		 w->command->name);
	return TM_OPT_BAD;
}

/* The option's argument: behind the '=', or the next word. */
static int take_value(struct tm_walk *w, const char *word, const char *equals, int found)
{
	if (equals)
		w->value = equals + 1;
	else if (w->next < w->argc)
		w->value = w->argv[w->next++];
	else
		return bad(w, "a value is missing after", word);
	return found;
}

static int long_option(struct tm_walk *w, const char *word)
{
	const char *name = word + 2;
	const char *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	const struct tm_option *o = w->command->options;
	const struct tm_param *p;

	for (int i = 0; o && o[i].name; i++) {
		if (strlen(o[i].name) != length || strncmp(o[i].name, name, length))
			continue;
		w->name = o[i].name;
		if (o[i].argument)
			return take_value(w, word, equals, i);
		return equals ? bad(w, "no value belongs to", word) : i;
	}
	if (length == 4 && !strncmp(name, "help", 4))
		return TM_OPT_HELP;
	p = w->command->workload_options ? find_param(name, length) : NULL;
	if (!p)
		return bad(w, "unknown option", word);
	w->name = p->name;
	return take_value(w, word, equals, TM_OPT_PARAM);
}

static int short_option(struct tm_walk *w, const char *word)
{
	const struct tm_option *o = w->command->options;

	if (word[1] == 'h' && !word[2])
		return TM_OPT_HELP;
	for (int i = 0; o && o[i].name; i++) {
		if (!o[i].letter || o[i].letter != word[1])
			continue;
		w->name = o[i].name;
		if (!o[i].argument)
			return word[2] ? bad(w, "unknown option", word) : i;
		if (!word[2])
			return take_value(w, word, NULL, i);
		w->value = word + 2;
		return i;
	}
	return bad(w, "unknown option", word);
}

int tm_walk_next(struct tm_walk *w)
{
	const char *word;

	if (w->next < 1)
		w->next = 1;
	if (w->next >= w->argc)
		return TM_OPT_END;
	word = w->argv[w->next++];
	w->name = NULL;
	w->value = word;
	if (w->only_words || word[0] != '-' || !word[1])
		return TM_OPT_WORD;
	if (!strcmp(word, "--")) {
		w->only_words = true;
		return tm_walk_next(w);
	}
	return word[1] == '-' ? long_option(w, word) : short_option(w, word);
}

static void help_line(FILE *out, const char *left, const char *help)
{
	if (strlen(left) > 26)
		fprintf(out, "  %s\n  %-26s  %s\n", left, "", help);
	else
		fprintf(out, "  %-26s  %s\n", left, help);
}

static void help_params(FILE *out)
{
	char left[80], help[400];

	fputs("\nParameters of the workloads (each takes a list such as 1,8,32..34,512;\n"
	      "'tlbmark list' shows ranges and defaults):\n",
	      out);
	for (const struct tm_workload *const *w = tm_workloads; *w; w++) {
		for (const struct tm_param *p = (*w)->params; p && p->name; p++) {
			snprintf(left, sizeof(left), "--%s LIST", p->name);
			snprintf(help, sizeof(help), "%s: %s", (*w)->name, p->help);
			help_line(out, left, help);
		}
	}
}

void tm_command_help(const struct tm_command *c, FILE *out)
{
	char left[80];

	fprintf(out, "Usage: tlbmark %s %s\n\n%s\n", c->name, c->synopsis, c->description);
	fputs("\nOptions:\n", out);
	for (const struct tm_option *o = c->options; o && o->name; o++) {
		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
			 o->argument ? " " : "", o->argument ? o->argument : "");
		help_line(out, left, o->help);
	}
	help_line(out, "-h, --help", "print this help and end");
	if (c->workload_options)
		help_params(out);
}

int tm_parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno || *end || *out < least || *out > most ? -EINVAL : 0;
}

int tm_parse_duration(const char *text, uint64_t *ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
	char *end;
	double value = strtod(text, &end);

	for (size_t i = 0; end != text && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit))
			continue;
		if (!(value > 0) || value * units[i].ns > 86400e9 || value * units[i].ns < 1e5)
			return -ERANGE;
		*ns = (uint64_t)(value * units[i].ns);
		return 0;
	}
	return -EINVAL;
}
