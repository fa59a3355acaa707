// SPDX-License-Identifier: GPL-3.0-or-later
/* `tlbmark list`: the catalogue, and what of it can run here. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "plan.h"

enum { OPT_JSON, OPT_NAMES };
static const struct tm_option options[] = {
	[OPT_JSON] = {.name = "json", .help = "print JSON"},
	[OPT_NAMES] = {.name = "names", .help = "print the names alone, one a line"},
	{.name = NULL},
};

static const char *const gate_names[] = {
	[TM_GATE_NONE] = "none", [TM_GATE_EVERY] = "every", [TM_GATE_SOME] = "some"};

static void range_text(const struct tm_param *p, char *out, size_t size)
{
	size_t n = 0;

	if (p->kind == TM_PARAM_UINT) {
		snprintf(out, size, "%" PRIu64 "..%" PRIu64, p->min, p->max);
		return;
	}
	for (int i = 0; p->choices[i] && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? "," : "", p->choices[i]);
}

static void print_text(const struct tm_workload *w)
{
	char why[192] = "", range[160];
	int rc = tm_workload_can_run(w, why, sizeof(why));

	printf("%-18s %s\n", w->name, w->summary);
	printf("%-18s one operation: %s\n", "", w->op);
	if (w->flushes[0])
		printf("%-18s flushed by: %s\n", "", w->flushes);
	for (const struct tm_param *p = w->params; p && p->name; p++) {
		range_text(p, range, sizeof(range));
		printf("%-18s --%-12s %s  [%s]%s%s  default %s\n", "", p->name, p->help, range,
		       p->unit[0] ? " " : "", p->unit, p->def);
	}
	if (rc)
		printf("%-18s cannot run here: %s\n", "", why);
	else
		printf("%-18s can run here\n", "");
	putchar('\n');
}

static json_t *to_json(const struct tm_workload *w)
{
	char why[192] = "", range[160];
	int rc = tm_workload_can_run(w, why, sizeof(why));
	json_t *params = json_array();

	for (const struct tm_param *p = w->params; p && p->name; p++) {
		range_text(p, range, sizeof(range));
		json_array_append_new(params, json_pack("{s:s s:s s:s s:s s:s}", "name", p->name,
							"unit", p->unit, "help", p->help, "range",
							range, "default", p->def));
	}
	return json_pack("{s:s s:s s:s s:s s:s s:b s:o s:b s:s}", "name", w->name, "summary",
			 w->summary, "op", w->op, "flushes", w->flushes, "gate",
			 gate_names[w->gate], "floor", w->floor, "parameters", params, "can_run",
			 !rc, "why", rc ? why : "");
}

static int cmd_list(int argc, char **argv)
{
	struct tm_walk w = {.command = &tm_command_list, .argc = argc, .argv = argv};
	bool json = false, names = false, any = false;
	json_t *all = json_array();
	int option;

	while ((option = tm_walk_next(&w)) != TM_OPT_END) {
		if (option == OPT_JSON) {
			json = true;
		} else if (option == OPT_NAMES) {
			names = true;
		} else if (option == TM_OPT_HELP) {
			tm_command_help(&tm_command_list, stdout);
			json_decref(all);
			return TM_EXIT_OK;
		} else if (option == TM_OPT_WORD && tm_workload_find(w.value)) {
			json_array_append_new(all, to_json(tm_workload_find(w.value)));
			any = true;
		} else {
			if (option == TM_OPT_WORD)
				tm_error("unknown workload '%s'; 'tlbmark list' shows them",
					 w.value);
			json_decref(all);
			return TM_EXIT_USAGE;
		}
	}
	for (const struct tm_workload *const *e = tm_workloads; !any && *e; e++)
		json_array_append_new(all, to_json(*e));
	for (size_t i = 0; i < json_array_size(all) && !json; i++) {
		const char *name =
			json_string_value(json_object_get(json_array_get(all, i), "name"));

		if (names)
			puts(name);
		else
			print_text(tm_workload_find(name));
	}
	if (json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(all);
	return TM_EXIT_OK;
}

const struct tm_command tm_command_list = {
	.name = "list",
	.synopsis = "[WORKLOAD...]",
	.summary = "show the workloads, their parameters, and which can run here",
	.description =
		"Shows every workload of the catalogue, or those named: what one operation is, which\n"
		"kernel function flushes, its parameters with unit, range and default, and whether it\n"
		"can run on this machine as this user, with the reason if not.",
	.options = options,
	.main = cmd_list,
};
