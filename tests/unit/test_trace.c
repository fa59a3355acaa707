// SPDX-License-Identifier: GPL-3.0-or-later
/* Lines of tracefs taken apart; which of them are kept, and which are told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/trace.h"

#define FLUSH "tlb_flush: pages:1 reason:local MM shootdown (3)"

static void takes_lines_apart(void **state)
{
	static const char *const refused[] = {
		"",
		"# tracer: nop",
		"#              | |         |   ||||| [001]     |         |",
		"##### CPU 1 buffer started ####",
		"CPU:1 [LOST 123 EVENTS]",
		" tlbmark-run-7 [001] d..1. 12 no colon",
		" tlbmark-run-7 [x01] d..1. 12: " FLUSH,
		" tlbmark-run-7 [001 d..1. 12: " FLUSH,
		" tlbmark-run-7 [001] d..1. 12.: " FLUSH,
		" tlbmark-run-7 [001] d..1. 12.0123456789: " FLUSH,
	};
	struct tm_trace_line l;

	(void)state;
	assert_int_equal(
		tm_trace_parse("     tlbmark-run-712     [013] d..1. 92935970343737: " FLUSH, &l),
		0);
	assert_int_equal(l.cpu, 13);
	assert_int_equal(l.stamp, 92935970343737);
	assert_false(l.is_time);
	assert_string_equal(l.event, FLUSH);
	assert_int_equal(l.task_bytes, 15);
	assert_memory_equal(l.task, "tlbmark-run-712", 15);

	assert_int_equal(tm_trace_parse("<idle>-0  [4095] dNh2. 71.000123: " FLUSH, &l), 0);
	assert_int_equal(l.cpu, 4095);
	assert_int_equal(l.stamp, 71000123000);
	assert_true(l.is_time);

	/* A task may be called as it likes. */
	assert_int_equal(tm_trace_parse(" a [000] b: [1]-9 [002] ..... 5: " FLUSH, &l), 0);
	assert_int_equal(l.cpu, 2);
	assert_int_equal(l.stamp, 5);

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(tm_trace_parse(refused[i], &l), -EINVAL);
}

/* Tasks, CPU, stamp and event of a line. */
static void add(FILE *f, const char *task, unsigned int cpu, unsigned int at, const char *event)
{
	fprintf(f, "%16s [%03u] d..1. %u: %s\n", task, cpu, at, event);
}

static void choose(char *text, struct tm_trace_text *out, unsigned int cpu)
{
	FILE *in = fmemopen(text, strlen(text), "r");

	assert_non_null(in);
	assert_int_equal(tm_trace_choose(in, &cpu, 1, out), 0);
	fclose(in);
}

static void keeps_what_concerns_the_bout(void **state)
{
	struct tm_trace_text kept = {0};
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	fputs("# tracer: nop\n#\n", f);
	add(f, "tlbmark-run-6", 1, 10, "tlb_flush: of the bout before");
	add(f, "tlbmark-6", 0, 20, "tracing_mark_write: " TM_TRACE_BEGINS "munmap");
	add(f, "tlbmark-run-7", 5, 30, "tlb_flush: of its own, elsewhere");
	add(f, "other-3", 5, 40, "tlb_flush: of nobody's concern");
	add(f, "tlbmark-runner-3", 5, 41, "tlb_flush: of nobody's concern");
	add(f, "<idle>-0", 1, 50, "sched_switch: on a CPU of it");
	add(f, "tlbmark-run-7", 2, 60, "tracing_mark_write: " TM_TRACE_SEEN);
	add(f, "tlbmark-run-7", 1, 70, "tlb_flush: afterwards");
	fclose(f);
	choose(text, &kept, 1);
	assert_int_equal(kept.count, 4);
	assert_non_null(strstr(kept.line[0], "20: tracing_mark_write"));
	assert_non_null(strstr(kept.line[1], "30: tlb_flush"));
	assert_non_null(strstr(kept.line[2], "50: sched_switch"));
	assert_non_null(strstr(kept.line[3], "60: tracing_mark_write"));
	assert_int_equal(strncmp(kept.line[1], "tlbmark-run-7 ", 14), 0);
	tm_trace_text_free(&kept);
	free(text);
}

static void keeps_the_last(void **state)
{
	struct tm_trace_text kept = {0};
	struct tm_trace_line l;
	const unsigned int lines = 3 * TM_TRACE_LINES + 17;
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	for (unsigned int i = 1; i <= lines; i++)
		add(f, "tlbmark-run-7", 1, i, FLUSH);
	fclose(f);
	choose(text, &kept, 1);
	assert_int_equal(kept.count, TM_TRACE_LINES);
	for (unsigned int i = 0; i < TM_TRACE_LINES; i++) {
		assert_int_equal(tm_trace_parse(kept.line[i], &l), 0);
		assert_int_equal(l.stamp, lines - TM_TRACE_LINES + 1 + i);
	}
	tm_trace_text_free(&kept);
	free(text);
}

static void keeps_nothing_of_nothing(void **state)
{
	struct tm_trace_text kept = {0};
	char text[] = "# tracer: nop\n";

	(void)state;
	choose(text, &kept, 1);
	assert_int_equal(kept.count, 0);
	assert_null(kept.line);
}

static void tells_of_flushes_first(void **state)
{
	struct tm_trace_text kept = {0};
	size_t index[6], n;
	char *text, *printed;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	add(f, "tlbmark-run-7", 1, 1000, FLUSH);
	add(f, "tlbmark-run-7", 1, 2000, "csd_queue_cpu: cpu=1 func=flush_tlb_func");
	for (unsigned int i = 3; i < 20; i++)
		add(f, "tlbmark-run-7", 1, i * 1000, "sched_switch: one of many");
	add(f, "tlbmark-run-7", 1, 20000,
	    "tracing_mark_write: " TM_TRACE_SEEN ", 1500" TM_TRACE_AFTER);
	fclose(f);
	choose(text, &kept, 1);
	n = tm_trace_decisive(&kept, 6, index);
	assert_int_equal(n, 6);
	assert_int_equal(index[0], 0);
	assert_int_equal(index[1], 1);
	assert_int_equal(index[2], 16);
	assert_int_equal(index[5], 19);
	assert_int_equal(tm_trace_decisive(&kept, 1, index), 1);
	assert_int_equal(index[0], 19);

	f = open_memstream(&printed, &size);
	tm_trace_print(f, &kept);
	fclose(f);
	assert_non_null(strstr(printed, " -19000 ticks  CPU 1  tlbmark-run-7  " FLUSH "\n"));
	assert_non_null(strstr(printed, " 0 ticks  CPU 1  tlbmark-run-7  tracing_mark_write"));
	/* Between the last line before it and the first one after. */
	assert_non_null(strstr(printed,
			       " -2000 ticks  CPU 1  tlbmark-run-7  sched_switch: one of many\n"
			       "         -1500 ticks  the operation had returned\n"
			       "         -1000 ticks  CPU 1  tlbmark-run-7  sched_switch"));
	free(printed);
	tm_trace_text_free(&kept);
	free(text);

	assert_int_equal(tm_trace_decisive(&kept, 6, index), 0);
}

/* Where no bout is traced, stopping does nothing; where it cannot be traced, beginning. */
static void is_silent_without_a_trace(void **state)
{
	const unsigned int cpu = 0;
	struct tm_trace_text kept;

	(void)state;
	errno = 77;
	tm_trace_stop();
	assert_int_equal(errno, 77);
	tm_trace_begin(NULL, "munmap", true);
	tm_trace_take(NULL, &cpu, 1, &kept);
	assert_int_equal(kept.count, 0);
	tm_trace_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_lines_apart),
		cmocka_unit_test(keeps_what_concerns_the_bout),
		cmocka_unit_test(keeps_the_last),
		cmocka_unit_test(keeps_nothing_of_nothing),
		cmocka_unit_test(tells_of_flushes_first),
		cmocka_unit_test(is_silent_without_a_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
