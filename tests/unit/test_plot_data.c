/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From records to figures: what is drawn, what is left out, over which range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plots/figure.h"

enum { MEASURED, FOREIGN, NONE };
static const char *const roles[] = {"measured", "control_foreign", "control_none"};

/* 1,000 values (or `times` as many) around the median, so that it is exact to the slot. One tick is one ns. */
static json_t *metric(double median_ns, unsigned int times)
{
	struct tm_hist *h = tm_hist_new(TM_HIST_FINE);
	char *text;
	json_t *m;

	assert_non_null(h);
	for (int i = -500; i < 500; i++)
		for (unsigned int k = 0; k < times; k++)
			tm_hist_record(h, (uint64_t)(median_ns * (1 + i / 5000.0)));
	text = tm_hist_encode(h);
	/* A record's quantiles are the upper end of a slot, so up to 0.79% high. */
	m = json_pack("{s:f, s:s}", "p50_ns", median_ns * 1.0079, "histogram", text);
	free(text);
	free(h);
	assert_non_null(m);
	return m;
}

struct run {
	int row, role, repeat, pages, responders, initiator;
	double op_ns, part_ns; /* part: of delivery, stolen and return each; 0: not split */
	const char *status;    /* NULL: "ok" */
	bool invalid;
	unsigned int times; /* 0: 1 */
	unsigned int stale; /* violations that the oracle saw */
};

static void add_run(json_t *records, const struct run *r)
{
	json_t *metrics = json_object(), *responders = json_array();
	const char *const parts[] = {"delivery", "stolen", "return"};
	json_t *record;

	json_object_set_new(metrics, "op", metric(r->op_ns, r->times ? r->times : 1));
	for (int k = 0; r->part_ns > 0 && k < 3; k++)
		json_object_set_new(metrics, parts[k], metric(r->part_ns, 1));
	for (int cpu = 0; r->part_ns > 0 && cpu <= r->responders; cpu++)
		if (cpu != r->initiator)
			json_array_append_new(responders,
					      json_pack("{s:i, s:f}", "cpu", cpu, "delivery_p50_ns",
							r->part_ns + cpu));
	record = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s,"
		" s:{s:s, s:i, s:i, s:s, s:{s:i, s:s}, s:{s:s, s:s}, s:s, s:i, s:i, s:s, s:[i]},"
		" s:{s:f}, s:o, s:{s:b, s:b}, s:{s:s}, s:o,"
		" s:{s:{s:s}, s:{s:s}, s:{s:i}}}",
		"schema", "tlbmark-record-1", "id", "0123", "session", "89abcdef0123", "time",
		"2025-01-01T00:00:00Z", "suite_version", "1.2.3", "status",
		r->status ? r->status : "ok", "cell", "workload", "munmap", "row", r->row, "repeat",
		r->repeat, "role", roles[r->role], "parameters", "pages", r->pages, "kind", "4k",
		"units", "pages", "pages", "kind", "", "state",
		r->role == MEASURED && r->responders ? "spin" : "none", "responders", r->responders,
		"initiators", 1, "distance", "cache", "initiator_cpus", r->initiator, "clock", "hz",
		1e9, "metrics", metrics, "quality", "valid", !r->invalid, "split_valid",
		r->part_ns > 0, "probe", "kind", "bpf", "responders", responders, "environment",
		"cpu", "model_name", "A Processor", "kernel", "release", "6.1-test", "tlb",
		"ceiling_pages", 33);
	assert_non_null(record);
	if (r->stale)
		json_object_set_new(record, "verify", json_pack("{s:i}", "violations", r->stale));
	assert_int_equal(json_array_append_new(records, record), 0);
}

/* A row of one repeat: measured with one responder, and both controls. */
static void add_row(json_t *records, int row, int pages, double op_ns)
{
	add_run(records, &(struct run){.row = row,
				       .pages = pages,
				       .responders = 1,
				       .op_ns = op_ns,
				       .part_ns = op_ns / 3});
	add_run(records, &(struct run){.row = row,
				       .role = FOREIGN,
				       .pages = pages,
				       .responders = 1,
				       .op_ns = op_ns / 8});
	add_run(records,
		&(struct run){.row = row, .role = NONE, .pages = pages, .op_ns = op_ns / 10});
}

struct fixture {
	json_t *records;
	struct tm_plot_data data;
	struct tm_figure figure;
};

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f)
		f->records = json_array();
	*state = f;
	return f && f->records ? 0 : -1;
}

static int end(void **state)
{
	struct fixture *f = *state;

	tm_figure_free(&f->figure);
	tm_plot_data_free(&f->data);
	json_decref(f->records);
	free(f);
	return 0;
}

static void build_data(struct fixture *f)
{
	char why[256] = "";
	int rc = tm_plot_data_build(f->records, &f->data, why, sizeof(why));

	if (rc)
		print_message("%s\n", why);
	assert_int_equal(rc, 0);
}

/* The figure of that name, of the fixture's records. */
static struct tm_figure *build(struct fixture *f, const char *name)
{
	const struct tm_figure_kind *k = tm_figure_kinds;

	if (!f->data.caption[0])
		build_data(f);
	tm_figure_free(&f->figure);
	while (k->name && strcmp(k->name, name))
		k++;
	assert_non_null(k->name);
	assert_int_equal(k->build(&f->data, &f->figure), 0);
	for (size_t i = 0; i < f->figure.count; i++) {
		const struct tm_panel *p = &f->figure.panels[i];

		assert_true(p->x.low < p->x.high && p->y.low < p->y.high);
		assert_true(!p->x.log || p->x.low > 0);
		assert_true(!p->y.log || p->y.low > 0);
	}
	return &f->figure;
}

static void near_to(double value, double expected)
{
	if (!(fabs(value - expected) <= 0.01 * fabs(expected)))
		fail_msg("%g is not %g", value, expected);
}

static void test_shorten(void **state)
{
	static const struct {
		const char *text;
		size_t limit;
		const char *want;
	} cases[] = {
		{"", 5, ""},
		{"abcde", 5, "abcde"},
		{"abcdefgh", 5, "ab…gh"},
		{"µµµµµµ", 5, "µµ…µµ"},
		{"a\"b\tc\n", 9, "a b c "},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *s = tm_plot_shorten(cases[i].text, cases[i].limit);

		assert_string_equal(s, cases[i].want);
		free(s);
	}
}

static void test_format_time(void **state)
{
	static const struct {
		double seconds;
		const char *want;
	} cases[] = {
		{0, "0.00 ns"},	      {2.5e-9, "2.50 ns"},   {99.94e-9, "99.9 ns"},
		{999.4e-9, "999 ns"}, {999.6e-9, "1.00 µs"}, {12.34e-6, "12.3 µs"},
		{0.0105, "10.5 ms"},  {1.5, "1.50 s"},	     {1234, "1234 s"},
	};
	char buf[32];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		tm_plot_format_time(cases[i].seconds, buf, sizeof(buf));
		assert_string_equal(buf, cases[i].want);
	}
}

static void test_tics(void **state)
{
	static const struct {
		struct tm_axis axis;
		const char *want;
	} cases[] = {
		{{0, 10e-6, false, TM_UNIT_TIME},
		 "\"0\" 0, \"2 µs\" 2e-06, \"4 µs\" 4e-06, \"6 µs\" 6e-06, \"8 µs\" 8e-06, "
		 "\"10 µs\" 1e-05"},
		{{-0.05, 1.05, false, TM_UNIT_COUNT}, "\"0\" 0, \"1\" 1"},
		{{0.8, 700, true, TM_UNIT_COUNT},
		 "\"1\" 1, \"4\" 4, \"16\" 16, \"64\" 64, \"256\" 256"},
		{{3e-7, 4e-6, true, TM_UNIT_TIME},
		 "\"500 ns\" 5e-07, \"1 µs\" 1e-06, \"2 µs\" 2e-06"},
		{{1e-9, 2, true, TM_UNIT_TIME},
		 "\"10 ns\" 1e-08, \"1 µs\" 1e-06, \"100 µs\" 0.0001, \"10 ms\" 0.01, \"1 s\" 1"},
		{{0, 2, false, TM_UNIT_NINES}, "\"0\" 0, \"50\" 0.30103, \"90\" 1, \"99\" 2"},
		{{0, 2, false, TM_UNIT_NONE}, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *tics = tm_axis_tics(&cases[i].axis);

		assert_string_equal(tics, cases[i].want);
		free(tics);
	}
}

static void test_rows(void **state)
{
	struct fixture *f = *state;
	const struct tm_plot_row *row;

	add_row(f->records, 7, 33, 9000);
	add_row(f->records, 2, 1, 5000);
	add_run(f->records, &(struct run){.row = 7,
					  .repeat = 1,
					  .pages = 33,
					  .responders = 1,
					  .op_ns = 9900,
					  .part_ns = 3000});
	build_data(f);
	assert_int_equal(f->data.count, 2);
	assert_int_equal(f->data.ceiling_pages, 33);
	row = f->data.rows;
	assert_int_equal(row[0].number, 2);
	assert_string_equal(row[1].label, "munmap pages=33 4k");
	assert_string_equal(row[1].sweep_label, "munmap 4k");
	assert_true(row[1].pages == 33);
	assert_int_equal(row[1].cell[TM_PLOT_MEASURED].runs, 2);
	assert_int_equal(row[1].cell[TM_PLOT_MEASURED].metric[TM_PLOT_OP]->count, 2000);
	near_to(row[1].cell[TM_PLOT_MEASURED].low_s, 9000e-9);
	near_to(row[1].cell[TM_PLOT_MEASURED].high_s, 9900e-9);
	near_to(row[1].cell[TM_PLOT_MEASURED].p50_s[TM_PLOT_OP], 9450e-9);
	near_to(row[0].cell[TM_PLOT_MEASURED].p50_s[TM_PLOT_OP], 5000e-9);
	near_to(row[0].cell[TM_PLOT_NONE].p50_s[TM_PLOT_OP], 500e-9);
	assert_non_null(strstr(f->data.caption[0], "A Processor · Linux 6.1-test"));
	assert_non_null(strstr(f->data.caption[0], "1 responder · state spin · distance cache"));
	assert_non_null(strstr(f->data.caption[1], "tlbmark 1.2.3 · session 89abcdef · "));
	assert_non_null(strstr(f->data.caption[1], "probe bpf"));
	assert_null(strstr(f->data.caption[1], "left out"));
}

static void test_left_out_runs(void **state)
{
	struct fixture *f = *state;

	add_row(f->records, 0, 1, 5000);
	add_run(f->records, &(struct run){.row = 0,
					  .repeat = 1,
					  .pages = 1,
					  .responders = 1,
					  .op_ns = 1e6,
					  .invalid = true});
	add_run(f->records, &(struct run){.row = 1, .pages = 2, .op_ns = 1e6, .status = "failed"});
	add_run(f->records, &(struct run){.row = 2, .pages = 4, .op_ns = 1e6, .status = "skipped"});
	build_data(f);
	assert_int_equal(f->data.count, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(f->data.rows[i].cell[TM_PLOT_MEASURED].runs, i == 0);
	near_to(f->data.rows[0].cell[TM_PLOT_MEASURED].high_s, 5000e-9);
	assert_non_null(
		strstr(f->data.caption[1], "left out of 6 runs: 1 not valid, 1 failed, 1 skipped"));
}

/* Each run counts once, however many operations it had; the bars are of the same quantile. */
static void test_points_lie_in_their_bars(void **state)
{
	static const double op_ns[] = {1010, 1000, 10000, 30000, 30001};
	struct fixture *f = *state;
	const struct tm_plot_cell *cell;

	for (int i = 0; i < 5; i++)
		add_run(f->records, &(struct run){.repeat = i,
						  .pages = 1,
						  .responders = 1,
						  .op_ns = op_ns[i],
						  .part_ns = op_ns[i] / 4,
						  .times = op_ns[i] < 5000 ? 100 : 1});
	/* One run: a bar of no height, where the point is. */
	add_run(f->records, &(struct run){.row = 1, .pages = 2, .responders = 1, .op_ns = 777});
	build_data(f);
	cell = &f->data.rows[0].cell[TM_PLOT_MEASURED];
	near_to(cell->p50_s[TM_PLOT_OP], 10000e-9);
	near_to(cell->p50_s[TM_PLOT_DELIVERY], 2500e-9);
	assert_float_equal(cell->low_s, 1000e-9, 2e-9);
	assert_float_equal(cell->high_s, 30001e-9, 30e-9);
	cell = &f->data.rows[1].cell[TM_PLOT_MEASURED];
	assert_true(cell->low_s == cell->p50_s[TM_PLOT_OP] &&
		    cell->high_s == cell->p50_s[TM_PLOT_OP]);
}

/* One stale translation, and no run of its row is drawn. */
static void test_stale_translation(void **state)
{
	struct fixture *f = *state;

	add_row(f->records, 0, 1, 5000);
	add_run(f->records, &(struct run){.row = 0,
					  .repeat = 1,
					  .pages = 1,
					  .responders = 1,
					  .op_ns = 5000,
					  .invalid = true,
					  .stale = 1});
	add_row(f->records, 1, 2, 5000);
	build_data(f);
	for (int r = 0; r < TM_PLOT_ROLES; r++) {
		assert_int_equal(f->data.rows[0].cell[r].runs, 0);
		assert_int_equal(f->data.rows[1].cell[r].runs, 1);
	}
	assert_int_equal(json_array_size(f->data.rows[0].runs), 0);
	assert_non_null(strstr(f->data.caption[1], "left out of 7 runs: 4 not valid"));
}

/* A control alone must not lend its row a name that belongs to another. */
static void test_invalid_row_keeps_its_name(void **state)
{
	struct fixture *f = *state;

	add_run(f->records, &(struct run){.row = 0, .pages = 1, .op_ns = 500});
	add_run(f->records, &(struct run){.row = 1, .role = NONE, .pages = 1, .op_ns = 500});
	add_run(f->records,
		&(struct run){
			.row = 1, .pages = 1, .responders = 2, .op_ns = 900, .invalid = true});
	build_data(f);
	assert_string_equal(f->data.rows[1].label, "munmap pages=1 4k · 2 responding");
}

static void test_labels_tell_what_varies(void **state)
{
	struct fixture *f = *state;

	for (int n = 1; n <= 2; n++)
		add_run(f->records,
			&(struct run){.row = n, .pages = 1, .responders = n, .op_ns = 1000});
	build_data(f);
	assert_string_equal(f->data.rows[1].label, "munmap pages=1 4k · 2 responding");
	assert_string_equal(f->data.rows[1].responder_label, "munmap pages=1 4k");
	assert_null(strstr(f->data.caption[0], "responder"));
}

static void test_damaged(void **state)
{
	struct fixture *f = *state;
	json_t *record;
	char why[256] = "";

	add_row(f->records, 0, 1, 5000);
	record = json_array_get(f->records, 1);
	json_object_set_new(json_object_get(json_object_get(record, "metrics"), "op"), "histogram",
			    json_string("HISTnonsense"));
	assert_int_not_equal(tm_plot_data_build(f->records, &f->data, why, sizeof(why)), 0);
	assert_non_null(strstr(why, "0123"));
	tm_plot_data_free(&f->data);
	json_object_set_new(record, "schema", json_string("another-1"));
	assert_int_equal(tm_plot_data_build(f->records, &f->data, why, sizeof(why)), -EINVAL);
}

static void test_ladder(void **state)
{
	struct fixture *f = *state;
	const struct tm_figure *figure;
	const struct tm_series *s;

	add_row(f->records, 0, 1, 5000);
	figure = build(f, "ladder");
	assert_int_equal(figure->count, 1);
	s = &figure->panels[0].series[TM_PLOT_MEASURED];
	assert_true(s->points[0].v[0] == 0);
	for (size_t i = 1; i < s->count; i++) {
		assert_true(s->points[i].v[0] > s->points[i - 1].v[0]);
		assert_true(s->points[i].v[1] >= s->points[i - 1].v[1]);
	}
	/* 1,000 operations reach three nines, and there stands the maximum. */
	near_to(s->points[s->count - 1].v[0], 3);
	near_to(s->points[s->count - 1].v[1], 5499e-9);
	near_to(s->points[15].v[1], 5000e-9); /* x = 0.3: the median */
	assert_true(figure->panels[0].series[TM_PLOT_FOREIGN].count > 0);
	assert_true(figure->panels[0].series[TM_PLOT_NONE].count > 0);
}

static void test_cdf(void **state)
{
	struct fixture *f = *state;
	const struct tm_panel *p;

	add_row(f->records, 0, 1, 50000);
	p = build(f, "cdf")->panels;
	assert_int_equal(f->figure.count, 1);
	for (unsigned int r = 0; r < TM_PLOT_ROLES; r++) {
		const struct tm_series *s = &p->series[r];

		assert_true(s->points[0].v[1] == 0);
		assert_true(s->points[s->count - 1].v[1] == 100);
		assert_true(s->points[s->count - 1].v[0] > s->points[0].v[0]);
	}
	/* Ten times apart: one linear axis from zero. */
	assert_false(p->x.log);
	assert_true(p->x.low == 0);
}

static void test_cdf_needs_a_control(void **state)
{
	struct fixture *f = *state;

	add_run(f->records, &(struct run){.pages = 1, .responders = 1, .op_ns = 1000});
	assert_int_equal(build(f, "cdf")->count, 0);
	assert_non_null(strstr(f->figure.left_out, "control"));
}

static void test_pages(void **state)
{
	struct fixture *f = *state;
	static const int pages[] = {512, 34, 1, 33};
	const struct tm_panel *p;

	for (int i = 0; i < 4; i++)
		add_row(f->records, i, pages[i], 1000 + pages[i]);
	add_run(f->records,
		&(struct run){.row = 3, .repeat = 1, .pages = 33, .responders = 1, .op_ns = 1200});
	p = build(f, "pages")->panels;
	assert_int_equal(f->figure.count, 1);
	assert_string_equal(p->title, "munmap 4k");
	assert_int_equal(p->series[0].count, 4);
	assert_true(p->series[0].points[1].v[0] == 33);
	near_to(p->series[0].points[1].v[1], 1116.5e-9);
	near_to(p->series[0].points[1].v[2], 1033e-9);
	near_to(p->series[0].points[1].v[3], 1200e-9);
	assert_true(p->series[0].points[2].v[0] == 34);
	/* Of two controls the foreign one: an eighth, not a tenth. */
	near_to(p->series[1].points[3].v[1], 1512e-9 / 8);
	assert_true(p->mark == 33.5);
	assert_true(p->x.log);
}

static void test_pages_need_two(void **state)
{
	struct fixture *f = *state;

	add_row(f->records, 0, 33, 1000);
	assert_int_equal(build(f, "pages")->count, 0);
	assert_non_null(strstr(f->figure.left_out, "pages"));
}

static void test_responders(void **state)
{
	static const double at[] = {0, 1, 3};
	struct fixture *f = *state;
	const struct tm_panel *p;

	add_row(f->records, 0, 1, 2000);
	add_run(f->records, &(struct run){.row = 1, .pages = 1, .responders = 3, .op_ns = 4000});
	p = build(f, "responders")->panels;
	assert_int_equal(f->figure.count, 1);
	assert_int_equal(p->series[0].count, 3);
	for (int i = 0; i < 3; i++)
		assert_true(p->series[0].points[i].v[0] == at[i]);
	near_to(p->series[0].points[0].v[1], 200e-9);
	assert_int_equal(p->series[1].count, 2);
	assert_true(isnan(p->mark));
}

/* Rows that were asked for without responders are neither another sweep nor lost. */
static void test_rows_without_responders(void **state)
{
	struct fixture *f = *state;
	const struct tm_panel *p;

	add_run(f->records, &(struct run){.row = 0, .pages = 1, .op_ns = 500});
	add_run(f->records, &(struct run){.row = 1, .pages = 1, .responders = 1, .op_ns = 2000});
	add_run(f->records, &(struct run){.row = 2, .pages = 2, .op_ns = 600});
	add_run(f->records, &(struct run){.row = 3, .pages = 2, .responders = 1, .op_ns = 3000});
	p = build(f, "responders")->panels;
	assert_int_equal(f->figure.count, 2);
	assert_string_equal(p->title, "munmap pages=1 4k");
	assert_int_equal(p->series[0].count, 2);
	near_to(p->series[0].points[0].v[1], 500e-9);
	near_to(p->series[0].points[1].v[1], 2000e-9);
	p = build(f, "pages")->panels;
	assert_int_equal(f->figure.count, 2);
	assert_string_equal(p[0].title, "munmap 4k · 0 responding");
	near_to(p[0].series[0].points[1].v[1], 600e-9);
	near_to(p[1].series[0].points[1].v[1], 3000e-9);
}

static void test_split(void **state)
{
	struct fixture *f = *state;
	const struct tm_panel *p;

	add_row(f->records, 0, 1, 3000);
	add_row(f->records, 1, 2, 6000);
	add_run(f->records, &(struct run){.row = 2, .pages = 4, .responders = 1, .op_ns = 1000});
	p = build(f, "split")->panels;
	assert_int_equal(f->figure.count, 1);
	assert_int_equal(p->series[0].count, 2);
	assert_int_equal(p->x.unit, TM_UNIT_TIME);
	assert_true(p->series[0].points[1].v[0] == 0);
	near_to(p->series[0].points[1].v[1], 2000e-9);
	near_to(p->series[1].points[1].v[0], 2000e-9);
	near_to(p->series[2].points[1].v[1], 6000e-9);
	near_to(p->series[3].points[1].v[0], 6000e-9);
	assert_string_equal(p->series[0].points[1].text, "munmap pages=2 4k");
}

static void test_split_in_shares(void **state)
{
	struct fixture *f = *state;
	const struct tm_panel *p;

	add_row(f->records, 0, 1, 3000);
	add_row(f->records, 1, 2, 3e9);
	p = build(f, "split")->panels;
	assert_int_equal(p->x.unit, TM_UNIT_PERCENT);
	near_to(p->series[2].points[0].v[1], 100);
	near_to(p->series[2].points[1].v[1], 100);
	assert_non_null(strstr(f->figure.note, "shares"));
}

static void test_split_pages(void **state)
{
	struct fixture *f = *state;
	size_t bars = 0;

	for (int i = 0; i < 60; i++)
		add_row(f->records, i, i + 1, 3000);
	build(f, "split");
	assert_true(f->figure.count > 1);
	for (size_t i = 0; i < f->figure.count; i++)
		bars += f->figure.panels[i].series[0].count;
	assert_int_equal(bars, 60);
}

static void test_heatmap(void **state)
{
	struct fixture *f = *state;
	const struct tm_panel *p;

	add_row(f->records, 0, 1, 3000);
	/* Row 1 knows two directions; one of them twice: 2001 and 1001 ns. */
	add_run(f->records,
		&(struct run){
			.row = 1, .pages = 2, .responders = 1, .op_ns = 6000, .part_ns = 2000});
	add_run(f->records, &(struct run){.row = 1,
					  .repeat = 1,
					  .pages = 2,
					  .responders = 1,
					  .op_ns = 6000,
					  .part_ns = 1000});
	add_run(f->records, &(struct run){.row = 1,
					  .repeat = 2,
					  .pages = 2,
					  .responders = 1,
					  .op_ns = 6000,
					  .part_ns = 1000,
					  .initiator = 1});
	p = build(f, "heatmap")->panels;
	assert_int_equal(f->figure.count, 2);
	assert_string_equal(p->title, "munmap pages=2 4k");
	assert_int_equal(p->series[0].count, 2);
	assert_true(p->series[0].points[0].v[0] == 1 && p->series[0].points[0].v[1] == 0);
	near_to(p->series[0].points[0].v[2], 1501e-9);
	assert_true(p->series[0].points[1].v[0] == 0 && p->series[0].points[1].v[1] == 1);
	near_to(p->series[0].points[1].v[2], 1000e-9);
	assert_int_equal(p->series[1].count, 2);
	assert_string_equal(p->series[1].points[1].text, "1");
	assert_true(p->x.low == -0.5 && p->x.high == 1.5);
}

/* Stale up to 10 ms and gone from 20 ms on, a look a millisecond. */
static void test_stale(void **state)
{
	static const char *const names[] = {"stale", "gone"};
	struct fixture *f = *state;
	const struct tm_panel *p;
	json_t *metrics;

	add_run(f->records, &(struct run){.pages = 1, .op_ns = 1000});
	metrics = json_object_get(json_array_get(f->records, 0), "metrics");
	for (int k = 0; k < 2; k++) {
		struct tm_hist *h = tm_hist_new(TM_HIST_FINE);
		char *text;

		for (uint64_t ms = 1; ms <= 10; ms++)
			tm_hist_record(h, (ms + (k ? 19 : 0)) * 1000000);
		text = tm_hist_encode(h);
		json_object_set_new(metrics, names[k], json_pack("{s:s}", "histogram", text));
		free(text);
		free(h);
	}
	assert_int_equal(build(f, "stale")->count, 1);
	p = f->figure.panels;
	near_to(p->mark, 15e-3);
	assert_int_equal(p->series[0].count, 4);
	near_to(p->series[0].points[1].v[0], 10e-3);
	assert_true(p->series[0].points[1].v[1] == 100 && p->series[0].points[2].v[1] == 0);
	near_to(p->series[0].points[2].v[0], 20e-3);
	assert_true(p->series[1].points[0].v[1] == 100 && p->series[1].points[0].v[2] < 70);
}

/* Lives of 1 to 10 ms: a share of 100%, and a tenth less beyond each. */
static void test_lives(void **state)
{
	struct fixture *f = *state;
	const struct tm_panel *p;
	struct tm_hist *h = tm_hist_new(TM_HIST_FINE);
	char *text;

	add_run(f->records, &(struct run){.pages = 1, .op_ns = 1000});
	for (uint64_t ms = 1; ms <= 10; ms++)
		tm_hist_record(h, ms * 1000000);
	text = tm_hist_encode(h);
	json_object_set_new(json_object_get(json_array_get(f->records, 0), "metrics"), "life",
			    json_pack("{s:s}", "histogram", text));
	free(text);
	free(h);
	assert_int_equal(build(f, "stale")->count, 1);
	p = f->figure.panels;
	assert_int_equal(p->series[1].count, 0);
	assert_int_equal(p->series[0].count, 21);
	assert_true(p->series[0].points[0].v[0] == 0 && p->series[0].points[0].v[1] == 100);
	near_to(p->series[0].points[5].v[0], 3e-3);
	near_to(p->series[0].points[5].v[1], 80);
	near_to(p->series[0].points[6].v[1], 70);
	assert_true(p->series[0].points[20].v[1] == 0);
	near_to(p->mark, 5e-3);
}

/* Such a record is none of ours; it must not be the end of the others' plots. */
static void test_empty_looks(void **state)
{
	static const char *const names[] = {"stale", "gone", "life"};
	struct fixture *f = *state;
	struct tm_hist *h = tm_hist_new(TM_HIST_FINE);
	char *text = tm_hist_encode(h);

	add_run(f->records, &(struct run){.pages = 1, .op_ns = 1000});
	for (int k = 0; k < 3; k++)
		json_object_set_new(json_object_get(json_array_get(f->records, 0), "metrics"),
				    names[k], json_pack("{s:s}", "histogram", text));
	free(text);
	free(h);
	assert_int_equal(build(f, "stale")->count, 0);
}

static void test_nothing(void **state)
{
	struct fixture *f = *state;

	add_run(f->records, &(struct run){.pages = 1, .op_ns = 1000, .invalid = true});
	for (const struct tm_figure_kind *k = tm_figure_kinds; k->name; k++) {
		assert_int_equal(build(f, k->name)->count, 0);
		assert_true(f->figure.left_out[0] != '\0');
	}
}

/* What the environment does not say, the flushes of the last record do. */
static void told_by(struct fixture *f, double full_flush_share)
{
	json_t *record = json_array_get(f->records, json_array_size(f->records) - 3);

	json_object_set_new(json_object_get(record, "environment"), "tlb",
			    json_pack("{s:n}", "ceiling_pages"));
	json_object_set_new(record, "derived",
			    json_pack("{s:f}", "full_flush_share", full_flush_share));
}

static void ceiling_is_seen(void **state)
{
	struct fixture *f = *state;

	add_row(f->records, 1, 8, 5000);
	told_by(f, 0);
	add_row(f->records, 2, 64, 5000);
	told_by(f, 1);
	build_data(f);
	assert_int_equal(f->data.ceiling_pages, 0); /* anywhere from 8 to 63 */
	tm_plot_data_free(&f->data);

	add_row(f->records, 3, 33, 5000);
	told_by(f, 0.001);
	add_row(f->records, 4, 34, 5000);
	told_by(f, 0.98);
	build_data(f);
	assert_true(f->data.ceiling_seen);
	assert_int_equal(f->data.ceiling_pages, 33);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shorten),
		cmocka_unit_test(test_format_time),
		cmocka_unit_test(test_tics),
		cmocka_unit_test_setup_teardown(ceiling_is_seen, begin, end),
		cmocka_unit_test_setup_teardown(test_rows, begin, end),
		cmocka_unit_test_setup_teardown(test_left_out_runs, begin, end),
		cmocka_unit_test_setup_teardown(test_points_lie_in_their_bars, begin, end),
		cmocka_unit_test_setup_teardown(test_stale_translation, begin, end),
		cmocka_unit_test_setup_teardown(test_invalid_row_keeps_its_name, begin, end),
		cmocka_unit_test_setup_teardown(test_labels_tell_what_varies, begin, end),
		cmocka_unit_test_setup_teardown(test_damaged, begin, end),
		cmocka_unit_test_setup_teardown(test_ladder, begin, end),
		cmocka_unit_test_setup_teardown(test_cdf, begin, end),
		cmocka_unit_test_setup_teardown(test_cdf_needs_a_control, begin, end),
		cmocka_unit_test_setup_teardown(test_pages, begin, end),
		cmocka_unit_test_setup_teardown(test_pages_need_two, begin, end),
		cmocka_unit_test_setup_teardown(test_responders, begin, end),
		cmocka_unit_test_setup_teardown(test_rows_without_responders, begin, end),
		cmocka_unit_test_setup_teardown(test_split, begin, end),
		cmocka_unit_test_setup_teardown(test_split_in_shares, begin, end),
		cmocka_unit_test_setup_teardown(test_split_pages, begin, end),
		cmocka_unit_test_setup_teardown(test_heatmap, begin, end),
		cmocka_unit_test_setup_teardown(test_stale, begin, end),
		cmocka_unit_test_setup_teardown(test_lives, begin, end),
		cmocka_unit_test_setup_teardown(test_empty_looks, begin, end),
		cmocka_unit_test_setup_teardown(test_nothing, begin, end),
	};

	return cmocka_run_group_tests_name("plot_data", tests, NULL, NULL);
}
