// SPDX-License-Identifier: GPL-3.0-or-later
/* From records to rows, and rows as text, CSV and JSON against golden files. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "results/show_record.h"
#include "results/table.h"
#include "synthetic.h"

static char why[768];

static void append(json_t *session, struct synthetic *s)
{
	json_t *record = synthetic_record(s);

	json_object_set_new(json_object_get(record, "clock"), "counter", json_string("TSC"));
	json_array_append_new(session, record);
	synthetic_free(s);
}

/* A row as the plan would run it: measured and both controls, `repeats` times. */
static void append_row(json_t *session, struct synthetic row, unsigned int repeats)
{
	for (row.repeat = 0; row.repeat < repeats; row.repeat++)
		for (int role = TM_ROLE_MEASURED; role <= TM_ROLE_CONTROL_NONE; role++) {
			struct synthetic s = row;

			if (role && row.workload)
				continue;
			s.role = (enum tm_role)role;
			if (role)
				s.op_ns = s.responders = s.state = 0;
			synthetic_make(&s);
			append(session, &s);
		}
}

enum { NULL_ROW, MEMBARRIER, GOOD, PARTLY, UNDELIVERED, FEW, FAR, TWO, ROWS };

static json_t *make_session(void)
{
	json_t *session = json_array();
	struct synthetic s;

	/* Stored last, shown first. */
	append_row(session, (struct synthetic){.row = GOOD}, 6);
	append_row(session, (struct synthetic){.row = FEW, .pages = 33, .ops = 500}, 3);
	append_row(session, (struct synthetic){.row = FAR, .pages = 512, .op_ns = 1.2e6}, 6);
	append_row(session, (struct synthetic){.row = TWO, .responders = 2, .op_ns = 1e4}, 9);
	for (unsigned int repeat = 0; repeat < 6; repeat++) {
		s = (struct synthetic){.row = PARTLY, .pages = 2, .repeat = repeat};
		synthetic_make(&s);
		s.result->deliveries -= repeat == 2 ? 2000 : 0;
		s.result->split_valid = s.result->return_valid = false;
		append(session, &s);
		s = (struct synthetic){
			.row = PARTLY, .pages = 2, .repeat = repeat, .role = TM_ROLE_CONTROL_NONE};
		synthetic_make(&s);
		append(session, &s);
		s = (struct synthetic){.row = UNDELIVERED, .pages = 4, .repeat = repeat};
		synthetic_make(&s);
		s.result->deliveries = 8240 + repeat;
		s.result->verified = true;
		s.result->verdict = (struct tm_verdict){
			.checks = 20, .violations = 1, .first = "page \"3\", still readable"};
		append(session, &s);
	}
	append_row(session,
		   (struct synthetic){
			   .row = NULL_ROW, .workload = &synthetic_null, .op_ns = 21, .pages = 1},
		   6);
	append_row(session,
		   (struct synthetic){
			   .row = MEMBARRIER, .workload = &synthetic_membarrier, .op_ns = 3000},
		   6);
	return session;
}

static struct tm_rows *make_rows(void)
{
	json_t *session = make_session();
	struct tm_rows *rows = NULL;

	if (tm_rows_build(session, &rows, why, sizeof(why)))
		fail_msg("%s", why);
	json_decref(session);
	return rows;
}

static const struct tm_row *row_of(const struct tm_rows *rows, unsigned int number)
{
	for (size_t i = 0; i < rows->count; i++)
		if (rows->row[i].row == number)
			return &rows->row[i];
	fail_msg("no row %u", number);
	return NULL;
}

static void figures_of_a_row(void **state)
{
	struct tm_rows *rows = make_rows();
	const struct tm_row *r = row_of(rows, GOOD);

	(void)state;
	assert_int_equal(rows->count, ROWS);
	assert_int_equal(rows->floors, 2);
	assert_string_equal(rows->row[0].workload, "null");
	assert_string_equal(rows->kernel, "6.12.1");
	assert_string_equal(rows->machine, "Synthetic 9000");
	assert_int_equal(r->repeats, 6);
	assert_int_equal(r->repeats_valid, 6);
	assert_int_equal(r->operations, 120000);
	assert_null(r->reasons);
	/* A body of 9 us +- 10%, one in 200 three times that; processes differ by 1%. */
	assert_float_equal(r->op_p50_ns, 9000, 60);
	assert_float_equal(r->op_p99_ns, 9900, 150);
	assert_float_equal(r->op_p999_ns, 28000, 2000);
	assert_string_equal(r->control, "foreign");
	assert_float_equal(r->control_p50_ns, 1000, 10);
	assert_float_equal(r->cost_ns.value, 8000, 60);
	assert_float_equal(r->cost_ns.level, 0.96875, 1e-12);
	assert_int_equal(r->cost_ns.pairs, 6);
	assert_true(r->cost_ns.low < r->cost_ns.value && r->cost_ns.value < r->cost_ns.high);
	assert_float_equal(r->cost_ns.high - r->cost_ns.low, 160, 60);
	/* Paired, the processes' 1% cancels in the ratio. */
	assert_float_equal(r->cost_ratio.value, 9, 0.03);
	assert_float_equal(r->cost_ratio.high - r->cost_ratio.low, 0, 0.06);
	assert_float_equal(r->delivery_p50_ns, 2700, 20);
	assert_float_equal(r->stolen_p50_ns, 4500, 30);
	assert_float_equal(r->return_p50_ns, 1800, 15);
	assert_float_equal(r->ipis_per_op, 1, 1e-9);
	assert_float_equal(r->full_flush_share, 0, 1e-9);
	assert_float_equal(r->times_ipi_floor, 3, 0.02);
	assert_float_equal(row_of(rows, FAR)->full_flush_share, 1, 1e-9);
	tm_rows_free(rows);
}

static void what_does_not_count(void **state)
{
	struct tm_rows *rows = make_rows();
	const struct tm_row *r = row_of(rows, UNDELIVERED);

	(void)state;
	assert_int_equal(r->repeats_valid, 0);
	assert_true(isnan(r->op_p50_ns) && isnan(r->cost_ns.value) && isnan(r->ipis_per_op));
	assert_string_equal(r->reasons, "6 of 6 runs not valid: delivered ratio 0.4120 < 0.98: "
					"responders were descheduled or lazy; 1 of 20 checks "
					"violated: page \"3\", still readable; a stale "
					"translation was seen, so none of this row's runs count");
	r = row_of(rows, PARTLY);
	assert_int_equal(r->repeats_valid, 5);
	assert_int_equal(r->operations, 100000);
	assert_string_equal(r->control, "none");
	assert_int_equal(r->cost_ns.pairs, 5);
	assert_true(isfinite(r->cost_ns.value) && isnan(r->cost_ns.low));
	assert_true(r->split_refused);
	assert_true(isnan(r->delivery_p50_ns) && isnan(r->return_p50_ns));
	assert_true(isfinite(r->stolen_p50_ns));
	r = row_of(rows, FEW);
	assert_true(isfinite(r->op_p99_ns) && isnan(r->op_p999_ns) && r->tail_refused);
	/* One floor was measured beside one responder, none beside two. */
	assert_true(isnan(row_of(rows, TWO)->times_ipi_floor));
	assert_float_equal(row_of(rows, TWO)->ipis_per_op, 2, 1e-9);
	assert_float_equal(row_of(rows, TWO)->cost_ns.level, 0.9609375, 1e-12);
	tm_rows_free(rows);
}

/* One run, with what the test is about; NULL as `change`: as it comes. */
static void append_run(json_t *session, struct synthetic s, void (*change)(struct synthetic *))
{
	synthetic_make(&s);
	if (change)
		change(&s);
	append(session, &s);
}

static void noisy(struct synthetic *s)
{
	s->result->probe.flush[1][1] = s->result->ops;
}

static struct tm_rows *rows_of(json_t *session)
{
	struct tm_rows *rows = NULL;

	if (tm_rows_build(session, &rows, why, sizeof(why)))
		fail_msg("%s", why);
	json_decref(session);
	return rows;
}

/* A run counts once, however many operations it had time for. */
static void every_run_weighs_the_same(void **state)
{
	json_t *session = json_array();
	struct tm_rows *rows;
	const struct tm_row *r;

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		bool fast = i < 2;
		struct synthetic s = {.row = 1,
				      .repeat = i,
				      .op_ns = fast ? 3000 : 9000,
				      .ops = fast ? 60000 : 2000};

		append_run(session, s, NULL);
		s.op_ns /= 3;
		s.role = TM_ROLE_CONTROL_FOREIGN;
		append_run(session, s, NULL);
		s = (struct synthetic){.row = 0,
				       .repeat = i,
				       .workload = &synthetic_membarrier,
				       .op_ns = fast ? 1000 : 4500,
				       .ops = 2000};
		append_run(session, s, NULL);
	}
	rows = rows_of(session);
	r = row_of(rows, 1);
	/* Merged, all of these would be those of the fast ones. */
	assert_float_equal(r->op_p50_ns, 9000, 120);
	assert_float_equal(r->control_p50_ns, 3000, 40);
	assert_float_equal(r->delivery_p50_ns, 2700, 40);
	assert_float_equal(r->stolen_p50_ns, 4500, 60);
	assert_float_equal(r->return_p50_ns, 1800, 30);
	assert_int_equal(r->operations, 126000);
	assert_float_equal(r->op_p99_ns, 9000, 1000); /* merged */
	/* By repeat three and two times, so 2.45; the medians' ratio is 2. */
	assert_float_equal(r->times_ipi_floor, sqrt(6), 0.05);
	assert_int_equal(r->run[4].repeat, 4);
	tm_rows_free(rows);
}

/* Repeats from .. to - 1 of one role; the machine gets slower from repeat to repeat. */
static void append_repeats(json_t *session, enum tm_role role, unsigned int from, unsigned int to,
			   void (*change)(struct synthetic *))
{
	for (unsigned int i = from; i < to; i++)
		append_run(session,
			   (struct synthetic){.role = role,
					      .repeat = i,
					      .ops = 500,
					      .op_ns = (role ? 1000 : 1500) * (i + 1)},
			   change);
}

static void repeats_are_paired_by_their_number(void **state)
{
	json_t *session = json_array();
	struct tm_rows *rows;

	(void)state;
	/* Of the control's the first is missing: by index each would meet the next one's. */
	append_repeats(session, TM_ROLE_MEASURED, 0, 8, NULL);
	append_repeats(session, TM_ROLE_CONTROL_FOREIGN, 0, 1, noisy);
	append_repeats(session, TM_ROLE_CONTROL_FOREIGN, 1, 8, NULL);
	rows = rows_of(session);
	assert_int_equal(rows->row->cost_ns.pairs, 7);
	assert_float_equal(rows->row->cost_ratio.value, 1.5, 0.03);
	assert_float_equal(rows->row->cost_ratio.low, 1.5, 0.06);
	assert_float_equal(rows->row->cost_ratio.high, 1.5, 0.06);
	assert_non_null(strstr(rows->row->reasons, "control: 1 of 8 runs not valid"));
	tm_rows_free(rows);
}

/* Which control is used, and with how many pairs; NULL for none, which is said. */
static void assert_control(unsigned int measured, unsigned int foreign_from,
			   unsigned int foreign_to, unsigned int none_from, unsigned int none_to,
			   const char *control, unsigned int pairs)
{
	json_t *session = json_array();
	struct tm_rows *rows;
	const struct tm_row *r;

	append_repeats(session, TM_ROLE_MEASURED, 0, measured, NULL);
	append_repeats(session, TM_ROLE_CONTROL_FOREIGN, foreign_from, foreign_to, NULL);
	append_repeats(session, TM_ROLE_CONTROL_NONE, none_from, none_to, NULL);
	rows = rows_of(session);
	r = rows->row;
	assert_int_equal(r->cost_ns.pairs, pairs);
	if (control) {
		assert_string_equal(r->control, control);
		assert_true(isfinite(r->control_p50_ns) && isfinite(r->cost_ns.value));
	} else {
		char *text = NULL;
		size_t size;
		FILE *f = open_memstream(&text, &size);

		assert_null(r->control);
		assert_true(isnan(r->control_p50_ns) && isnan(r->cost_ns.value) &&
			    isnan(r->cost_ratio.value));
		assert_int_equal(tm_table_print(f, rows, TM_TABLE_TEXT, NULL), 0);
		fclose(f);
		assert_non_null(strstr(text, "1 row without a control to pair with"));
		free(text);
	}
	tm_rows_free(rows);
}

static void the_control_with_enough_pairs(void **state)
{
	(void)state;
	assert_control(8, 0, 8, 0, 8, "foreign", 8);
	assert_control(8, 0, 6, 0, 8, "foreign", 6); /* enough for an interval */
	assert_control(8, 0, 5, 0, 8, "none", 8);    /* not enough */
	assert_control(8, 0, 5, 3, 8, "foreign", 5); /* neither has more */
	assert_control(8, 0, 2, 0, 3, "none", 3);
	assert_control(8, 0, 0, 0, 8, "none", 8);
	assert_control(4, 4, 12, 0, 3, "none", 3); /* many, but in other repeats */
	assert_control(4, 4, 8, 4, 8, NULL, 0);
	assert_control(4, 0, 0, 0, 0, NULL, 0);
}

/* pages=1 is the reference: of the row with as many responders, where runs count. */
static void rows_against_their_reference(void **state)
{
	struct tm_rows *rows = make_rows();
	const struct tm_row *huge = row_of(rows, FAR), *few = row_of(rows, FEW);

	(void)state;
	assert_string_equal(huge->reference, "pages=1");
	assert_float_equal(huge->reference_ns.value,
			   huge->op_p50_ns - row_of(rows, GOOD)->op_p50_ns, 2000);
	assert_int_equal(huge->reference_ns.pairs, 6);
	assert_true(huge->reference_ns.low < huge->reference_ns.value &&
		    huge->reference_ns.value < huge->reference_ns.high);
	assert_int_equal(few->reference_ns.pairs, 3);
	assert_true(few->reference_ns.level <= 0);
	assert_null(row_of(rows, GOOD)->reference);
	assert_null(row_of(rows, UNDELIVERED)->reference);
	assert_null(row_of(rows, MEMBARRIER)->reference);
	tm_rows_free(rows);
}

/* pages=8 of row 1, beside a row with pages=1 that is `other` and has that `kind`. */
static bool has_reference(struct synthetic other, const char *kind)
{
	json_t *session = json_array(), *record;
	struct tm_rows *rows;
	bool has;
	size_t i;

	append_row(session, other, 6);
	json_array_foreach(session, i, record)
	{
		json_object_set_new(json_object_get(json_object_get(record, "cell"), "parameters"),
				    "kind", json_string(kind));
	}
	append_row(session, (struct synthetic){.row = 1, .pages = 8}, 6);
	assert_int_equal(tm_rows_build(session, &rows, why, sizeof(why)), 0);
	has = row_of(rows, 1)->reference;
	tm_rows_free(rows);
	json_decref(session);
	return has;
}

static void a_reference_is_the_same_otherwise(void **state)
{
	(void)state;
	assert_true(has_reference((struct synthetic){.pages = 1}, "4k"));
	assert_false(has_reference((struct synthetic){.pages = 1}, "thp"));
	assert_false(has_reference((struct synthetic){.pages = 2}, "4k"));
	assert_false(has_reference((struct synthetic){.pages = 1, .responders = 2}, "4k"));
	assert_false(has_reference((struct synthetic){.pages = 1, .state = TM_STATE_IDLE}, "4k"));
}

static void takes_no_time(struct synthetic *s)
{
	struct tm_hist *op = tm_result_hist(s->result, TM_METRIC_OP);

	s->clock.resolution_ticks = 0;
	tm_hist_init(op, TM_HIST_FINE);
	for (unsigned int i = 0; i < 500; i++)
		tm_hist_record(op, 0);
}

/* No logarithm of x / 0: the rest of the session stays readable. */
static void medians_of_zero(void **state)
{
	json_t *session = json_array();
	struct tm_rows *rows;

	(void)state;
	append_repeats(session, TM_ROLE_MEASURED, 0, 8, NULL);
	append_repeats(session, TM_ROLE_CONTROL_NONE, 0, 1, takes_no_time);
	append_repeats(session, TM_ROLE_CONTROL_NONE, 1, 8, NULL);
	rows = rows_of(session);
	assert_int_equal(rows->row->cost_ns.pairs, 8);
	assert_int_equal(rows->row->cost_ratio.pairs, 7);
	assert_float_equal(rows->row->cost_ratio.value, 1.5, 0.03);
	tm_rows_free(rows);

	session = json_array();
	append_repeats(session, TM_ROLE_MEASURED, 0, 8, NULL);
	append_repeats(session, TM_ROLE_CONTROL_NONE, 0, 8, takes_no_time);
	append_run(session,
		   (struct synthetic){.row = 1, .workload = &synthetic_membarrier, .ops = 500},
		   takes_no_time);
	rows = rows_of(session);
	assert_int_equal(row_of(rows, 0)->cost_ns.pairs, 8);
	assert_true(isfinite(row_of(rows, 0)->cost_ns.low));
	assert_int_equal(row_of(rows, 0)->cost_ratio.pairs, 0);
	assert_true(isnan(row_of(rows, 0)->cost_ratio.value));
	assert_true(isnan(row_of(rows, 0)->times_ipi_floor));
	tm_rows_free(rows);
}

/* The floor and the row have no repeat in common: the medians' ratio then. */
static void a_floor_of_other_repeats(void **state)
{
	json_t *session = json_array();
	struct tm_rows *rows;

	(void)state;
	append_repeats(session, TM_ROLE_MEASURED, 0, 1, NULL);
	append_run(session,
		   (struct synthetic){.row = 1,
				      .repeat = 1,
				      .workload = &synthetic_membarrier,
				      .op_ns = 500,
				      .ops = 500},
		   NULL);
	rows = rows_of(session);
	assert_float_equal(row_of(rows, 0)->times_ipi_floor, 3, 0.05);
	tm_rows_free(rows);
}

/* The oracle runs in the first repeat only: what it finds holds for all. */
static void stale(struct synthetic *s)
{
	s->result->verified = true;
	s->result->verdict = (struct tm_verdict){
		.checks = 20, .violations = s->repeat == 0, .first = "page 3 was readable"};
}

static void a_stale_translation_voids_the_row(void **state)
{
	json_t *session = json_array();
	const struct tm_row *r;
	struct tm_rows *rows;

	(void)state;
	append_repeats(session, TM_ROLE_MEASURED, 0, 8, stale);
	append_repeats(session, TM_ROLE_CONTROL_NONE, 0, 8, NULL);
	rows = rows_of(session);
	r = rows->row;
	assert_int_equal(r->repeats, 8);
	assert_int_equal(r->repeats_valid, 0);
	assert_int_equal(r->operations, 0);
	assert_true(isnan(r->op_p50_ns) && isnan(r->op_p99_ns) && isnan(r->stolen_p50_ns) &&
		    isnan(r->ipis_per_op) && isnan(r->full_flush_share) && isnan(r->cost_ns.value));
	assert_null(r->control);
	assert_null(r->ipis_source);
	assert_string_equal(r->reasons,
			    "1 of 8 runs not valid: 1 of 20 checks violated: page 3 was readable; "
			    "a stale translation was seen, so none of this row's runs count");
	tm_rows_free(rows);
}

/* Nothing is attributed, and there is no offset to blame. */
static void overlap(struct synthetic *s)
{
	s->cell.args.initiators = 4;
	s->result->deliveries = s->result->deliveries_expected = 0;
	s->result->split_valid = s->result->return_valid = false;
}

static void first_samples_only(struct synthetic *s)
{
	s->result->raw_count = TM_STATS_CLUSTER_MIN - 1;
}

/* p99 and p99.9 of a row of one run; each 1: told. */
static void assert_tails(uint64_t ops, void (*change)(struct synthetic *), bool p99, bool p999)
{
	json_t *session = json_array();
	struct tm_rows *rows;

	append_run(session, (struct synthetic){.ops = ops}, change);
	rows = rows_of(session);
	assert_int_equal(isfinite(rows->row->op_p99_ns), p99);
	assert_int_equal(isfinite(rows->row->op_p999_ns), p999);
	assert_int_equal(rows->row->tail_refused, !p99 || !p999);
	assert_false(rows->row->split_refused);
	tm_rows_free(rows);
}

static void operations_that_count_for_the_tail(void **state)
{
	json_t *session = json_array();
	struct tm_rows *rows;

	(void)state;
	assert_tails(20000, NULL, true, true);
	assert_tails(5000, NULL, true, false);
	assert_tails(900, NULL, false, false);
	/* How they cluster is not known: not as if they were independent. */
	assert_tails(20000, first_samples_only, false, false);
	/* But what another run tells stays. */
	append_run(session, (struct synthetic){.ops = 20000}, NULL);
	append_run(session, (struct synthetic){.repeat = 1, .ops = 20000}, first_samples_only);
	rows = rows_of(session);
	assert_true(isfinite(rows->row->op_p99_ns) && isfinite(rows->row->op_p999_ns));
	tm_rows_free(rows);
	/* Four initiators wait for each other: a fourth of the operations. */
	assert_tails(80000, overlap, true, true);
	assert_tails(20000, overlap, true, false);
	assert_tails(3000, overlap, false, false);
}

static void from_the_store_or_from_memory(void **state)
{
	char path[] = "/tmp/tlbmark-rows.XXXXXX";
	struct tm_rows *rows = make_rows(), *stored;
	json_t *session = make_session(), *record;
	char *from_memory = NULL, *from_store = NULL;
	struct tm_store *store;
	size_t i, size;
	FILE *f;

	(void)state;
	assert_int_equal(close(mkstemp(path)), 0);
	assert_int_equal(tm_store_open(path, TM_STORE_WRITE, &store, why, sizeof(why)), 0);
	json_array_foreach(session, i, record)
	{
		assert_int_equal(tm_store_add(store, record, why, sizeof(why)), 0);
	}
	assert_int_equal(
		tm_rows_load(store, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &stored, why, sizeof(why)),
		0);
	f = open_memstream(&from_memory, &size);
	assert_int_equal(tm_table_print(f, rows, TM_TABLE_JSON, NULL), 0);
	fclose(f);
	f = open_memstream(&from_store, &size);
	assert_int_equal(tm_table_print(f, stored, TM_TABLE_JSON, NULL), 0);
	fclose(f);
	assert_string_equal(from_memory, from_store);
	tm_rows_free(stored);
	assert_int_equal(
		tm_rows_load(store, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", &stored, why, sizeof(why)),
		-ENOENT);
	tm_store_close(store);
	unlink(path);
	free(from_memory);
	free(from_store);
	json_decref(session);
	tm_rows_free(rows);
}

static void a_damaged_record_is_named(void **state)
{
	json_t *session = make_session(), *record = json_array_get(session, 0), *op;
	struct tm_rows *rows;
	struct tm_hist *empty;
	char *encoded;

	(void)state;
	op = json_object_get(json_object_get(record, "metrics"), "op");
	json_object_set_new(op, "histogram", json_string("HISTFAAA"));
	assert_int_equal(tm_rows_build(session, &rows, why, sizeof(why)), -EUCLEAN);
	assert_non_null(strstr(why, json_string_value(json_object_get(record, "id"))));
	/* No operation at all is no valid run, whatever the record says. */
	empty = tm_hist_new(TM_HIST_FINE);
	encoded = tm_hist_encode(empty);
	json_object_set_new(op, "histogram", json_string(encoded));
	free(encoded);
	free(empty);
	why[0] = '\0';
	assert_int_equal(tm_rows_build(session, &rows, why, sizeof(why)), -EUCLEAN);
	assert_non_null(strstr(why, json_string_value(json_object_get(record, "id"))));
	json_object_del(record, "cell");
	assert_int_equal(tm_rows_build(session, &rows, why, sizeof(why)), -EUCLEAN);
	json_array_clear(session);
	assert_int_equal(tm_rows_build(session, &rows, why, sizeof(why)), -ENOENT);
	json_decref(session);
}

static char *printed(enum tm_table_format format, struct tm_table_style style)
{
	struct tm_rows *rows = make_rows();
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_int_equal(tm_table_print(f, rows, format, &style), 0);
	fclose(f);
	tm_rows_free(rows);
	return text;
}

static void assert_golden(const char *name, char *now)
{
	char *golden = synthetic_golden(name, now);

	assert_string_equal(now, golden);
	free(golden);
	free(now);
}

static void golden_tables(void **state)
{
	(void)state;
	assert_golden("table.txt", printed(TM_TABLE_TEXT, (struct tm_table_style){.width = 160}));
	assert_golden("table-145.txt",
		      printed(TM_TABLE_TEXT, (struct tm_table_style){.width = 145}));
	assert_golden("table-80.txt", printed(TM_TABLE_TEXT, (struct tm_table_style){.width = 80}));
	assert_golden("table-colour.txt",
		      printed(TM_TABLE_TEXT,
			      (struct tm_table_style){.width = 110, .colour = true, .utf8 = true}));
	assert_golden("table.csv", printed(TM_TABLE_CSV, (struct tm_table_style){0}));
	assert_golden("table.json", printed(TM_TABLE_JSON, (struct tm_table_style){0}));
}

static void golden_record_page(void **state)
{
	struct tm_table_style style = {.width = 100};
	json_t *session = make_session();
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	assert_int_equal(
		tm_show_record(f, json_array_get(session, 0), false, &style, why, sizeof(why)), 0);
	fclose(f);
	assert_golden("record.txt", text);
	json_decref(session);
}

/* Two runs, one of them without the probe's word on functions. */
static void isolated_cpus_have_a_note(void **state)
{
	struct tm_table_style style = {.width = TM_TABLE_WIDTH_MIN};
	json_t *session = json_array();
	struct tm_rows *rows;
	char *text = NULL, *newline;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	for (unsigned int repeat = 0; repeat < 2; repeat++) {
		struct synthetic s = {.state = TM_STATE_ISOLATED, .repeat = repeat, .ops = 1000};
		struct tm_probe_counts *p;

		synthetic_make(&s);
		s.result->ops_done = 1037; /* by which the phase's interrupts are divided */
		p = &tm_result_responders(s.result)->probe;
		p->handlers[1] = 1000;
		p->handlers[0] = 30;
		p->cause[TM_CAUSE_TIMER][0] = 7;
		p->cause[TM_CAUSE_SWITCH][0] = 9;
		strcpy(p->function[0].name, "do_sync_core");
		p->function[0].calls[0] = 30;
		strcpy(p->function[1].name, "do_kernel_range_flush");
		p->function[1].calls[1] = 1000;
		tm_result_responders(s.result)->gaps_unexplained = 3;
		s.result->probe.has_functions = !repeat;
		for (int i = 0; i < 1000; i++)
			tm_hist_record(tm_result_hist(s.result, TM_METRIC_INTERRUPTION), 10000);
		tm_hist_record(tm_result_hist(s.result, TM_METRIC_INTERRUPTION), 4000000);
		append(session, &s);
	}
	assert_int_equal(tm_rows_build(session, &rows, why, sizeof(why)), 0);
	json_decref(session);
	assert_int_equal(tm_table_print(f, rows, TM_TABLE_TEXT, &style), 0);
	fclose(f);
	tm_rows_free(rows);
	while ((newline = strchr(text, '\n')))
		*newline = ' ';
	while ((newline = strstr(text, "  ")))
		memmove(newline, newline + 1, strlen(newline));
	assert_non_null(strstr(text, "interrupts an operation and isolated CPU: 1.00"
				     " (function calls 1030, do_kernel_range_flush 1000,"
				     " do_sync_core 30, timer 14). User code saw 2002"
				     " interruptions: p50 5.01 us, p99 5.02 us, longest 2.01 ms;"
				     " of these, 6 that this kernel did not cause."));
	free(text);
}

/* Whatever the width, no line is longer, and the same words come. */
static void lines_fit(void **state)
{
	(void)state;
	for (unsigned int width = TM_TABLE_WIDTH_MIN; width <= 200; width += 7) {
		char *text = printed(TM_TABLE_TEXT, (struct tm_table_style){.width = width});

		for (char *line = text; *line; line += strcspn(line, "\n") + 1)
			assert_in_range(strcspn(line, "\n"), 0, width);
		assert_non_null(strstr(text, "munmap pages=512"));
		assert_non_null(strstr(text, "0.4120"));
		free(text);
	}
}

static void numbers(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{0, "0"},	 {1, "1.00"},	     {9.994, "9.99"},	{9.996, "10.0"},
		{12.34, "12.3"}, {99.96, "100"},     {123.4, "123"},	{12345, "12345"},
		{0.5, "0.500"},	 {0.0123, "0.0123"}, {-8.126, "-8.13"}, {NAN, "-"},
	};
	char buf[TM_TABLE_NUMBER];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(tm_table_number(cases[i].value, buf), cases[i].text);
	assert_string_equal(tm_table_time(999, false, buf), "999 ns");
	assert_string_equal(tm_table_time(1000, false, buf), "1.00 us");
	assert_string_equal(tm_table_time(-2.5e6, false, buf), "-2.50 ms");
	assert_string_equal(tm_table_time(7e9, false, buf), "7.00 s");
	assert_string_equal(tm_table_time(1500, true, buf), "1.50 \302\265s");
	assert_string_equal(tm_table_time(NAN, false, buf), "-");
}

/* RFC 4180 by a reader of our own: as many fields in every line, quotes undone. */
static void csv_is_readable(void **state)
{
	char *text = printed(TM_TABLE_CSV, (struct tm_table_style){0});
	unsigned int fields = 1, expected = 0, lines = 0;
	bool quoted = false;

	(void)state;
	for (char *c = text; *c; c++) {
		if (*c == '"')
			quoted = !quoted;
		else if (!quoted && *c == ',')
			fields++;
		else if (!quoted && *c == '\n') {
			assert_int_equal(c[-1], '\r');
			expected = expected ? expected : fields;
			assert_int_equal(fields, expected);
			fields = 1;
			lines++;
		}
	}
	assert_false(quoted);
	assert_int_equal(lines, ROWS + 1);
	assert_int_equal(expected, 40);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_of_a_row),
		cmocka_unit_test(what_does_not_count),
		cmocka_unit_test(every_run_weighs_the_same),
		cmocka_unit_test(repeats_are_paired_by_their_number),
		cmocka_unit_test(the_control_with_enough_pairs),
		cmocka_unit_test(rows_against_their_reference),
		cmocka_unit_test(a_reference_is_the_same_otherwise),
		cmocka_unit_test(medians_of_zero),
		cmocka_unit_test(a_floor_of_other_repeats),
		cmocka_unit_test(a_stale_translation_voids_the_row),
		cmocka_unit_test(operations_that_count_for_the_tail),
		cmocka_unit_test(from_the_store_or_from_memory),
		cmocka_unit_test(a_damaged_record_is_named),
		cmocka_unit_test(golden_tables),
		cmocka_unit_test(golden_record_page),
		cmocka_unit_test(isolated_cpus_have_a_note),
		cmocka_unit_test(lines_fit),
		cmocka_unit_test(numbers),
		cmocka_unit_test(csv_is_readable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
