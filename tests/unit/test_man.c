// SPDX-License-Identifier: GPL-3.0-or-later
/* The manual pages and the bash completion, on tables of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <tlbmark/workload.h>

#include "bench/cli.h"

static const char *const kinds[] = {"4k", "thp", NULL};
static const char *const other_kinds[] = {"anon", "file", NULL};

static const struct tm_param first_params[] = {
	{.name = "pages", .unit = "pages", .help = "how much", .max = 4096, .min = 1, .def = "1"},
	{.name = "kind",
	 .unit = "",
	 .help = "which pages",
	 .kind = TM_PARAM_CHOICE,
	 .choices = kinds,
	 .def = "4k"},
	{.name = NULL},
};

static const struct tm_param second_params[] = {
	{.name = "kind",
	 .unit = "",
	 .help = "which backing",
	 .kind = TM_PARAM_CHOICE,
	 .choices = other_kinds,
	 .def = "anon"},
	{.name = NULL},
};

static const struct tm_workload first = {
	.name = "first", .summary = "the first", .op = "one call", .params = first_params};
static const struct tm_workload second = {
	.name = "second", .summary = "the second", .op = "two calls", .params = second_params};
static const struct tm_workload bare = {
	.name = "bare", .summary = "no parameters", .op = "nothing"};
const struct tm_workload *const tm_workloads[] = {&first, &second, &bare, NULL};

static const struct tm_option go_options[] = {
	{.name = "state",
	 .letter = 's',
	 .argument = "LIST",
	 .help = "what they do",
	 .choices = "spin touch idle"},
	{.name = "out-file", .argument = "FILE", .help = "a path such as C:\\tmp"},
	{.name = "quiet", .letter = 'q', .help = "say nothing"},
	{.name = NULL},
};

static int nothing(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static const struct tm_command go = {
	.name = "go",
	.synopsis = "[WORKLOAD...]",
	.summary = "do it",
	.description = "One paragraph.\n.dot at a line's start\n'quote too\n\nAnother paragraph.",
	.options = go_options,
	.workload_options = true,
	.main = nothing,
};
static const struct tm_command look = {.name = "look",
				       .synopsis = "RECORD",
				       .summary = "see it",
				       .description = "Text.",
				       .main = nothing};
const struct tm_command *const tm_commands[] = {&go, &look, NULL};

static char *text;
static size_t length;

static int forget(void **state)
{
	(void)state;
	free(text);
	text = NULL;
	return 0;
}

static void print_man(const struct tm_command *c)
{
	FILE *f = open_memstream(&text, &length);

	assert_non_null(f);
	tm_command_man(c, f);
	assert_int_equal(fclose(f), 0);
}

static void has(const char *wanted)
{
	if (!strstr(text, wanted))
		fail_msg("'%s' is not in:\n%s", wanted, text);
}

static void has_not(const char *unwanted)
{
	if (strstr(text, unwanted))
		fail_msg("'%s' is in:\n%s", unwanted, text);
}

static void command_page_has_every_option(void **state)
{
	(void)state;
	print_man(&go);
	has(".TH TLBMARK\\-go 1");
	has("tlbmark\\-go \\- do it\n");
	has(".B tlbmark go\n[WORKLOAD...]\n");
	has("\\fB\\-s\\fR, \\fB\\-\\-state\\fR \\fILIST\\fR\nwhat they do (spin touch idle).\n");
	has("\\fB\\-\\-out\\-file\\fR \\fIFILE\\fR\n");
	has("\\fB\\-q\\fR, \\fB\\-\\-quiet\\fR\nsay nothing.\n");
	has("\\fB\\-\\-pages\\fR \\fILIST\\fR\nhow much; 1 to 4096 pages; default 1.\n");
	has("which pages; 4k, thp; default 4k.\n");
	has("which backing; anon, file; default anon.\n");
}

static void text_is_literal_for_roff(void **state)
{
	(void)state;
	print_man(&go);
	has("\n\\&.dot at a line's start\n\\&'quote too\n");
	has("C:\\etmp");
	has(".PP\nAnother paragraph.\n");
	has_not("\n.dot");
	has_not("\n'quote");
}

static void command_without_workloads_does_not_list_them(void **state)
{
	(void)state;
	print_man(&look);
	has("tlbmark\\-look \\- see it\n");
	has_not("WORKLOADS");
	has_not("pages");
}

static void program_page_names_commands_and_workloads(void **state)
{
	(void)state;
	print_man(NULL);
	has(".TP\n\\fBgo\\fR [WORKLOAD...]\ndo it.\n");
	has(".TP\n\\fBlook\\fR RECORD\nsee it.\n");
	has(".SS first\nthe first.\n");
	has(".SS bare\n");
	has("\\fBtlbmark\\-go\\fR(1),\n\\fBtlbmark\\-look\\fR(1)\n");
	has(".TP\n3\n");
}

/* Asks a real bash what it would offer behind "tlbmark" WORDS. */
static void completes(const char *words, const char *expected)
{
	static const char ask[] =
		"\nCOMP_WORDS=(tlbmark %s)\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
		"_tlbmark\necho ${COMPREPLY[*]}\n";
	char path[] = "/tmp/tlbmark-completion.XXXXXX";
	char command[64], line[1024] = "";
	int fd = mkstemp(path);
	FILE *f;

	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	assert_non_null(f);
	tm_completion(f);
	fprintf(f, ask, words);
	assert_int_equal(fclose(f), 0);
	snprintf(command, sizeof(command), "bash %s 2>&1", path);
	f = popen(command, "r"); /* NOLINT(cert-env33-c): our own file */
	assert_non_null(f);
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	pclose(f);
	unlink(path);
	line[strcspn(line, "\n")] = '\0';
	assert_string_equal(line, expected);
}

static void completion_offers_commands(void **state)
{
	(void)state;
	completes("''", "--help --version go look");
	completes("g", "go");
}

static void completion_offers_options_of_the_command(void **state)
{
	(void)state;
	completes("go --", "--help --state --out-file --quiet --pages --kind");
	completes("go --s", "--state");
	completes("look --", "--help");
}

static void completion_offers_workloads(void **state)
{
	(void)state;
	completes("go ''", "first second bare");
	completes("go first se", "second");
	completes("look ''", "");
}

static void completion_offers_choices(void **state)
{
	(void)state;
	completes("go --state ''", "spin touch idle");
	completes("go -s i", "idle");
	completes("go --state = t", "touch");
	completes("go --state =", "spin touch idle");
	completes("go --state spin,t", "spin,touch");
	completes("go --kind ''", "4k thp anon file");
	completes("go --out-file ''", "");
	completes("go --pages ''", "");
	completes("go --quiet ''", "first second bare");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(command_page_has_every_option, forget),
		cmocka_unit_test_teardown(text_is_literal_for_roff, forget),
		cmocka_unit_test_teardown(command_without_workloads_does_not_list_them, forget),
		cmocka_unit_test_teardown(program_page_names_commands_and_workloads, forget),
		cmocka_unit_test(completion_offers_commands),
		cmocka_unit_test(completion_offers_options_of_the_command),
		cmocka_unit_test(completion_offers_workloads),
		cmocka_unit_test(completion_offers_choices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
