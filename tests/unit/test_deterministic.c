// SPDX-License-Identifier: GPL-3.0-or-later
/* Counted operations: exact in the record, in the row and in the table. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "results/table.h"
#include "synthetic.h"

enum { OPS = 100, P50 = 1234567, CONTROL = 1230000, REPEATS = 3 };

/* A run as the mode leaves it: no gaps, no probe; one operation in ten met a timer tick. */
static void count(struct synthetic *s, uint64_t p50)
{
	struct tm_result *r = s->result;

	s->cell.deterministic = true;
	s->clock.hz = 1e9;
	s->clock.instructions = true;
	r->deliveries = r->deliveries_expected = 0;
	r->probe_kind = TM_PROBE_NONE;
	memset(&r->probe, 0, sizeof(r->probe));
	tm_hist_init(tm_result_hist(r, TM_METRIC_OP), TM_HIST_FINE);
	r->raw_seen = 0;
	for (uint64_t i = 0; i < OPS; i++) {
		uint64_t ticks = i % 10 == 3 ? p50 + 5000 + i % 4 : p50;

		tm_hist_record(tm_result_hist(r, TM_METRIC_OP), ticks);
		tm_result_add_raw(r, ticks);
	}
	tm_result_order_raw(r);
}

static double at(const json_t *record, const char *object, const char *member)
{
	return json_number_value(json_object_get(json_object_get(record, object), member));
}

static bool is_valid(const struct synthetic *s)
{
	json_t *record = synthetic_record(s);
	bool valid = json_is_true(json_object_get(json_object_get(record, "quality"), "valid"));

	json_decref(record);
	return valid;
}

static void a_record_is_exact(void **state)
{
	struct synthetic s = {.ops = OPS};
	json_t *r;

	(void)state;
	synthetic_make(&s);
	r = synthetic_record(&s);
	assert_null(json_object_get(r, "deterministic"));
	json_decref(r);
	count(&s, P50);
	r = synthetic_record(&s);
	assert_true(at(r, "deterministic", "p50_instructions") == P50);
	assert_true(at(r, "deterministic", "values") == 3);
	assert_float_equal(at(r, "deterministic", "p50_share"), 0.9, 1e-12);
	json_decref(r);
	synthetic_free(&s);
}

/* Without gaps the kernel's own count is what shows that responders were interrupted. */
static void interrupts_are_the_gate(void **state)
{
	struct synthetic s = {.ops = OPS, .responders = 2};

	(void)state;
	synthetic_make(&s);
	count(&s, P50);
	s.result->tlb_interrupts = 2 * OPS;
	assert_true(is_valid(&s));
	s.result->tlb_interrupts = OPS;
	assert_false(is_valid(&s));
	s.result->tlb_interrupts = 2 * OPS;
	s.result->have_tlb_interrupts = false;
	assert_false(is_valid(&s));
	synthetic_free(&s);
	/* A bare IPI flushes nothing: it is among the function calls. */
	s = (struct synthetic){.workload = &synthetic_membarrier, .ops = OPS};
	synthetic_make(&s);
	count(&s, P50);
	s.result->tlb_interrupts = 0;
	assert_true(is_valid(&s));
	s.result->call_interrupts = 0;
	assert_false(is_valid(&s));
	synthetic_free(&s);
}

/* Measured and its control; `off`: what the last repeat of it takes more. */
static struct tm_rows *make_rows(uint64_t off)
{
	json_t *session = json_array();
	struct tm_rows *rows;
	char why[256];

	for (unsigned int repeat = 0; repeat < REPEATS; repeat++)
		for (int role = TM_ROLE_MEASURED; role <= TM_ROLE_CONTROL_FOREIGN; role++) {
			struct synthetic s = {
				.role = (enum tm_role)role, .repeat = repeat, .ops = OPS};

			synthetic_make(&s);
			count(&s, role ? CONTROL : repeat + 1 == REPEATS ? P50 + off : P50);
			json_array_append_new(session, synthetic_record(&s));
			synthetic_free(&s);
		}
	if (tm_rows_build(session, &rows, why, sizeof(why)))
		fail_msg("%s", why);
	json_decref(session);
	return rows;
}

static void a_row_is_exact(void **state)
{
	struct tm_rows *rows = make_rows(0);
	const struct tm_row *r = &rows->row[0];

	(void)state;
	assert_true(rows->deterministic && r->deterministic);
	assert_int_equal(r->repeats_valid, REPEATS);
	assert_true(r->op_p50_ns == P50 && r->control_p50_ns == CONTROL);
	assert_true(r->cost_ns.value == P50 - CONTROL);
	assert_true(r->cost_ns.low == r->cost_ns.value && r->cost_ns.high == r->cost_ns.value);
	assert_true(r->cost_ns.level == 1);
	assert_true(r->op_values == 3 && r->op_p50_share == 0.9);
	assert_false(r->tail_refused);
	tm_rows_free(rows);
	rows = make_rows(20);
	r = &rows->row[0];
	assert_true(r->op_p50_ns == P50 && r->cost_ns.value == P50 - CONTROL);
	assert_true(r->cost_ns.low == P50 - CONTROL && r->cost_ns.high == P50 + 20 - CONTROL);
	tm_rows_free(rows);
}

/* free() */
static char *print(uint64_t off, enum tm_table_format format)
{
	struct tm_rows *rows = make_rows(off);
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_int_equal(tm_table_print(f, rows, format, NULL), 0);
	fclose(f);
	tm_rows_free(rows);
	return text;
}

static void assert_printed(uint64_t off, enum tm_table_format format, const char *part)
{
	char *text = print(off, format);

	if (!strstr(text, part))
		fail_msg("no \"%s\" in\n%s", part, text);
	free(text);
}

static void every_digit_is_printed(void **state)
{
	char *text;

	(void)state;
	assert_printed(0, TM_TABLE_TEXT, "1234567");
	assert_printed(0, TM_TABLE_TEXT, "p50 instr.");
	assert_printed(0, TM_TABLE_TEXT, "  4567  ");
	assert_printed(20, TM_TABLE_TEXT, "4567 [4567, 4587]");
	assert_printed(0, TM_TABLE_CSV, ",1234567,");
	assert_printed(0, TM_TABLE_CSV, ",4567,4567,4567,");
	assert_printed(0, TM_TABLE_JSON, "\"op_p50_ns\": 1234567,");
	text = print(0, TM_TABLE_TEXT);
	assert_null(strstr(text, "p99"));
	assert_null(strstr(text, "GHz"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_exact),
		cmocka_unit_test(interrupts_are_the_gate),
		cmocka_unit_test(a_row_is_exact),
		cmocka_unit_test(every_digit_is_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
