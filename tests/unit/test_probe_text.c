// SPDX-License-Identifier: GPL-3.0-or-later
/* What the probe reads as text from the kernel, and how it counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/probe_internal.h"

static int parse_interrupts(const char *text, const char *line, uint64_t *sum)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int error;

	assert_non_null(f);
	error = tm_interrupts_parse(f, line, sum);
	fclose(f);
	return error;
}

static void test_interrupts(void **state)
{
	static const char text[] =
		"           CPU0       CPU1       CPU2\n"
		"  9:          7          8          9   IO-APIC   9-fasteoi acpi\n"
		" 24:          1          0          2  IO-APIC   5-edge  2 TLB:\n"
		" 25:          1          1          4   3-edge  serial\n"
		"LOC:      16567      19361          1   Local timer interrupts\n"
		"TLB:       2005     381158         37   TLB shootdowns\n"
		"ERR:         12\n"
		"MIS:          3";
	uint64_t sum = 99;

	(void)state;
	assert_int_equal(parse_interrupts(text, "TLB", &sum), 0);
	assert_int_equal(sum, 2005 + 381158 + 37);
	assert_int_equal(parse_interrupts(text, "ERR", &sum), 0);
	assert_int_equal(sum, 12);
	assert_int_equal(parse_interrupts(text, "MIS", &sum), 0);
	assert_int_equal(sum, 3);
	assert_int_equal(parse_interrupts(text, "24", &sum), 0);
	assert_int_equal(sum, 3); /* neither 5-edge nor the 2 behind it */
	assert_int_equal(parse_interrupts(text, "25", &sum), 0);
	assert_int_equal(sum, 6); /* not 3-edge */
	assert_int_equal(parse_interrupts(text, "4", &sum), -ENOENT);
	assert_int_equal(parse_interrupts(text, "CAL", &sum), -ENOENT);
	assert_int_equal(sum, 6);
}

/* CPU 1 is offline: columns are not CPU numbers. */
static void test_interrupts_of_cpus(void **state)
{
	static const char text[] =
		"           CPU0       CPU2       CPU10\n"
		"  9:          7          8          9   IO-APIC   9-fasteoi acpi\n"
		" 24:          1          0          2  IO-APIC   5-edge  2 TLB:\n"
		"NMI:          1          5          1   Non-maskable interrupts\n"
		"LOC:      16567      19361          1   Local timer interrupts\n"
		"PMI:          1          5          1   Performance monitoring interrupts\n"
		"IWI:          1          6          1   IRQ work interrupts\n"
		"RTR:          1        500          0   APIC ICR read retries\n"
		"RES:          1          4          1   Rescheduling interrupts\n"
		"CAL:         10         20         30   Function call interrupts\n"
		"TLB:          1          2          3   TLB shootdowns\n"
		"TRM:          0          9          0   Thermal event interrupts\n"
		"MCP:          7         77          7   Machine check polls\n"
		"ERR:         12\n"
		"MIS:          3\n";
	static const int64_t of_10[TM_LINES] = {30, 1, 11, 1, 1, 1, 0};
	static const int64_t of_2[TM_LINES] = {20, 19361, 8, 4, 6, 5, 9};
	static const unsigned int cpus[] = {10, 2}, offline[] = {1};
	int64_t lines[2][TM_LINES] = {{0}};

	(void)state;
	for (int sign = 1; sign >= -1; sign -= 2) {
		FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

		assert_non_null(f);
		assert_int_equal(tm_interrupts_parse_cpus(f, cpus, 2, sign, lines), 0);
		for (int l = 0; l < TM_LINES; l++) {
			assert_int_equal(lines[0][l], sign > 0 ? of_10[l] : 0);
			assert_int_equal(lines[1][l], sign > 0 ? of_2[l] : 0);
		}
		rewind(f);
		assert_int_equal(tm_interrupts_parse_cpus(f, offline, 1, 1, lines), -ENOENT);
		fclose(f);
	}
}

/* aarch64: numbered, told apart by their descriptions. */
static void test_interrupts_of_arm(void **state)
{
	static const char text[] = "           CPU0       CPU1\n"
				   " 13:       4000       5000     GICv3  27 Level     arch_timer\n"
				   "IPI0:         1         20       Rescheduling interrupts\n"
				   "IPI1:         1        300       Function call interrupts\n"
				   "IPI2:         1          2       CPU stop interrupts\n"
				   "IPI4:         1         30       Timer broadcast interrupts\n"
				   "IPI5:         1         40       IRQ work interrupts\n"
				   "Err:          7\n";
	static const int64_t of_1[TM_LINES] = {300, 30, 5000, 20, 40, 0, 2};
	static const unsigned int cpus[] = {1};
	int64_t lines[1][TM_LINES] = {{0}};
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

	(void)state;
	assert_non_null(f);
	assert_int_equal(tm_interrupts_parse_cpus(f, cpus, 1, 1, lines), 0);
	for (int l = 0; l < TM_LINES; l++)
		assert_int_equal(lines[0][l], of_1[l]);
	fclose(f);
}

static void test_interrupts_of_many_cpus(void **state)
{
	enum { CPUS = 4096 };
	char *text = malloc(CPUS * 12 + 64), *at = text;
	uint64_t sum, expected = 0;

	(void)state;
	at += sprintf(at, "TLB:");
	for (uint64_t i = 0; i < CPUS; i++) {
		at += sprintf(at, " %10llu", 5000000000ULL + i);
		expected += 5000000000 + i;
	}
	sprintf(at, "   TLB shootdowns\n");
	assert_int_equal(parse_interrupts(text, "TLB", &sum), 0);
	assert_int_equal(sum, expected);
	free(text);
}

static void test_possible(void **state)
{
	(void)state;
	assert_int_equal(tm_possible_parse("0\n"), 1);
	assert_int_equal(tm_possible_parse("0-1\n"), 2);
	assert_int_equal(tm_possible_parse("0-3,8,10-4095\n"), 4096);
	assert_int_equal(tm_possible_parse(""), 0);
}

static void test_format(void **state)
{
	static const char text[] =
		"name: tlb_flush\nID: 543\nformat:\n"
		"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n"
		"\tfield:int xreason;\toffset:4;\tsize:1;\tsigned:1;\n"
		"\tfield:int reason;\toffset:8;\tsize:4;\tsigned:1;\n"
		"\tfield:unsigned long pages;\toffset:16;\tsize:8;\tsigned:0;\n"
		"\tfield:void *func;\toffset:24;\tsize:8;\tsigned:0;\n\n"
		"print fmt: \"pages:%ld reason:%s (%d)\", REC->pages, REC->reason\n";
	unsigned int offset = 0, size = 0;

	(void)state;
	assert_int_equal(tm_format_field(text, "reason", &offset, &size), 0);
	assert_int_equal(offset, 8);
	assert_int_equal(size, 4);
	assert_int_equal(tm_format_field(text, "pages", &offset, &size), 0);
	assert_int_equal(offset, 16);
	assert_int_equal(tm_format_field(text, "func", &offset, &size), 0);
	assert_int_equal(offset, 24);
	assert_int_equal(size, 8);
	assert_int_equal(tm_format_field(text, "age", &offset, &size), -ENOENT);
	assert_int_equal(tm_format_field("", "pages", &offset, &size), -ENOENT);
}

static void resolve(struct tm_symbols *symbols, const char *text, const uint64_t *addresses,
		    unsigned int count)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

	assert_non_null(f);
	tm_symbols_resolve(symbols, f, addresses, count);
	fclose(f);
}

static void test_symbols(void **state)
{
	static const char text[] = "ffffffff81001000 T first\n"
				   "ffffffff81002ff0 t __pfx_second\n"
				   "ffffffff81003000 t second\n"
				   "ffffffff81003004 d not_a_function\n"
				   "ffffffffc0001000 t of_module\t[tlbmark]\n";
	static const char hidden[] = "0000000000000000 T first\n0000000000000000 t second\n";
	const uint64_t a[] = {0xffffffff81001000, 0xffffffff81003004, 0xffffffffc0001000,
			      0xffffffff81003100};
	struct tm_symbols s = {0}, h = {0}, none = {0};

	(void)state;
	resolve(&s, text, a, 2);
	assert_string_equal(tm_symbols_name(&s, a[0]), "first");
	assert_string_equal(tm_symbols_name(&s, a[1]), "second"); /* behind its ENDBR */
	assert_null(tm_symbols_name(&s, a[2]));
	/* what is known stays, whatever the file says later */
	resolve(&s, text + sizeof(text) - 50, a, 4);
	assert_int_equal(s.count, 4);
	assert_string_equal(tm_symbols_name(&s, a[0]), "first");
	assert_string_equal(tm_symbols_name(&s, a[2]), "of_module");
	assert_string_equal(tm_symbols_name(&s, a[3]), "0xffffffff81003100");
	resolve(&h, hidden, a, 1);
	assert_string_equal(tm_symbols_name(&h, a[0]), "(hidden)");
	tm_symbols_resolve(&none, NULL, a, 1);
	assert_string_equal(tm_symbols_name(&none, a[0]), "(hidden)");
}

static void test_tally(void **state)
{
	struct tm_tally t = {0};
	uint64_t known = 0;

	(void)state;
	tm_tally_flush(&t, TM_REASON_REMOTE, 1, 0);
	tm_tally_flush(&t, TM_REASON_REMOTE, 2, 1);
	tm_tally_flush(&t, TM_REASON_REMOTE, 3, 1);
	tm_tally_flush(&t, TM_REASON_REMOTE, 33, 1);
	tm_tally_flush(&t, TM_REASON_REMOTE, 1ULL << 40, 1);
	tm_tally_flush(&t, TM_REASON_REMOTE, TM_PAGES_FULL, 1);
	tm_tally_flush(&t, TM_REASON_SEND, 8, 1);
	tm_tally_flush(&t, TM_REASON_SEND, TM_PAGES_FULL, 1);
	tm_tally_flush(&t, 3, 8, 1);
	assert_int_equal(t.flush[TM_REASON_REMOTE][0], 1);
	assert_int_equal(t.flush[TM_REASON_REMOTE][1], 5);
	assert_int_equal(t.flush[TM_REASON_SEND][1], 2);
	assert_int_equal(t.flush[3][1], 1);
	assert_int_equal(t.range[0][0], 1);
	assert_int_equal(t.range[1][1], 2);
	assert_int_equal(t.range[3][1], 0); /* only remote flushes have ranges */
	assert_int_equal(t.range[5][1], 1);
	assert_int_equal(t.range[TM_TALLY_RANGES - 1][1], 1);
	assert_int_equal(t.full[1], 1);
	assert_int_equal(t.sends_full[1], 1);

	/* more callbacks than the table holds: none is lost, those seen first have names */
	for (uint64_t i = 0; i < 2 * TM_TALLY_FUNCTIONS; i++)
		tm_tally_function(&t, 0xffffffff81000000 + 16 * i, i & 1);
	for (unsigned int i = 0; i < TM_TALLY_FUNCTIONS; i++)
		known += t.function[i].calls[0] + t.function[i].calls[1];
	assert_int_equal(known, TM_TALLY_FUNCTIONS);
	assert_int_equal(known + t.function_other[0] + t.function_other[1], 2 * TM_TALLY_FUNCTIONS);
	assert_int_equal(tm_event_pages(33), 33);
	assert_int_equal(tm_event_pages(TM_PAGES_FULL), UINT32_MAX);
}

static void test_kind_names(void **state)
{
	enum tm_probe_kind k;

	(void)state;
	for (int i = TM_PROBE_NONE; i <= TM_PROBE_AUTO; i++) {
		const char *name = tm_probe_kind_name((enum tm_probe_kind)i);

		assert_int_equal(tm_probe_kind_parse(name, &k), 0);
		assert_int_equal(k, i);
	}
	assert_int_equal(tm_probe_kind_parse("ebpf", &k), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_interrupts_of_cpus),
		cmocka_unit_test(test_interrupts_of_arm),
		cmocka_unit_test(test_interrupts_of_many_cpus),
		cmocka_unit_test(test_possible),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_symbols),
		cmocka_unit_test(test_tally),
		cmocka_unit_test(test_kind_names),
	};

	return cmocka_run_group_tests_name("probe_text", tests, NULL, NULL);
}
