// SPDX-License-Identifier: GPL-3.0-or-later
/* The lists of a request: who responds, who initiates, in which states. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan_internal.h"

/* The lists that are the plan's own, in the shape of a workload's parameters. */
const char *const tm_plan_states[] = {"spin",	 "touch",    "kernel", "idle",
				      "foreign", "isolated", NULL};
static const char *const distance_choices[] = {"smt", "cache", "package", "remote", "any", NULL};

bool tm_plan_is_isolated(const struct tm_plan_builder *b, unsigned int cpu)
{
	for (size_t i = 0; i < b->q->isolated_count; i++) {
		if (b->q->isolated[i] == cpu)
			return true;
	}
	return false;
}

/*
 * A list of CPU counts. "all" as the end of a range is the largest number; by
 * itself it is TM_EVERYBODY where that is a value (*everybody), else as well.
 */
static int expand_counts(struct tm_plan_builder *b, const char *name, const char *text,
			 uint64_t least, uint64_t most, bool *everybody, uint64_t **values,
			 size_t *count)
{
	struct tm_param p = {
		.name = name, .unit = "CPUs", .kind = TM_PARAM_UINT, .min = least, .max = most};
	char *copy = strdup(text), *plain = strdup(text), *rest = copy, *item, *all;
	int rc = copy && plain ? 0 : -ENOMEM;

	if (!rc && everybody) {
		*plain = '\0';
		while ((item = strsep(&rest, ","))) {
			if (!strcmp(item, "all"))
				*everybody = true;
			else
				sprintf(plain + strlen(plain), "%s%s", *plain ? "," : "", item);
		}
	}
	while (!rc && (all = strstr(plain, "all")))
		memcpy(all, "max", 3);
	if (!rc && everybody && *everybody && !*plain) {
		*values = NULL;
		*count = 0;
	} else if (!rc) {
		rc = tm_list_parse(&p, plain, values, count, b->why, b->why_size);
	}
	free(copy);
	free(plain);
	if (rc == -ERANGE)
		snprintf(b->why, b->why_size,
			 "--%s %s: %u CPU%s can take part here, so %llu..%llu can be asked for",
			 name, text, (unsigned int)(most + 1 - least),
			 most + 1 - least == 1 ? "" : "s", (unsigned long long)least,
			 (unsigned long long)most);
	return rc;
}

/* The responders' list; TM_EVERYBODY comes last. */
static int expand_responders(struct tm_plan_builder *b, bool isolated)
{
	const struct tm_plan_request *q = b->q;
	uint64_t cpus = tm_topo_cpus(b->topo) - (isolated ? 0 : q->isolated_count);
	const char *text = q->responders;
	bool everybody = false;
	uint64_t *more;
	int rc;

	/* One responder and everybody: what the default plan asks about. */
	if (!text)
		text = cpus > 1 && !q->initiators ? "1,all" : "0";
	rc = expand_counts(b, "responders", text, 0, cpus ? cpus - 1 : 0, &everybody,
			   &b->responders, &b->responder_count);
	if (rc || !everybody)
		return rc;
	more = realloc(b->responders, (b->responder_count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	b->responders = more;
	b->responders[b->responder_count++] = TM_EVERYBODY;
	return 0;
}

/* --initiator-cpu: numbers of CPUs that may be used, or all of them. */
static int expand_cpus(struct tm_plan_builder *b)
{
	unsigned int cpus = tm_topo_cpus(b->topo);
	const struct tm_param p = {.name = "initiator-cpu",
				   .unit = "",
				   .kind = TM_PARAM_UINT,
				   .max = tm_topo_cpu(b->topo, cpus - 1)};

	if (strcmp(b->q->initiator_cpus, "all"))
		return tm_list_parse(&p, b->q->initiator_cpus, &b->cpus, &b->cpu_count, b->why,
				     b->why_size);
	b->cpus = calloc(cpus, sizeof(*b->cpus));
	if (!b->cpus)
		return -ENOMEM;
	for (unsigned int i = 0; i < cpus; i++) {
		if (!tm_plan_is_isolated(b, tm_topo_cpu(b->topo, i)))
			b->cpus[b->cpu_count++] = tm_topo_cpu(b->topo, i);
	}
	return 0;
}

/* By --state, or since a workload that was asked for says so itself. */
static bool wants_isolated(const struct tm_plan_request *q)
{
	if (q->states)
		return strstr(q->states, "isolated");
	for (size_t i = 0; i < q->workload_count; i++) {
		const struct tm_workload *w = tm_workload_find(q->workloads[i]);

		if (w && w->state && !strcmp(w->state, "isolated"))
			return true;
	}
	return false;
}

int tm_plan_expand(struct tm_plan_builder *b)
{
	const struct tm_plan_request *q = b->q;
	const struct tm_param states = {
		.name = "state", .unit = "", .kind = TM_PARAM_CHOICE, .choices = tm_plan_states};
	const struct tm_param distances = {.name = "distance",
					   .unit = "",
					   .kind = TM_PARAM_CHOICE,
					   .choices = distance_choices};
	uint64_t cpus = tm_topo_cpus(b->topo) - q->isolated_count;
	bool isolated = wants_isolated(q);
	int rc = expand_responders(b, isolated);

	if (!rc)
		rc = expand_counts(b, "initiators", q->initiators ? q->initiators : "1", 1,
				   cpus ? cpus : 1, NULL, &b->initiators, &b->initiator_count);
	if (!rc)
		rc = tm_list_parse(&states, q->states ? q->states : "spin", &b->states,
				   &b->state_count, b->why, b->why_size);
	if (!rc)
		rc = tm_list_parse(&distances, q->distances ? q->distances : "any", &b->distances,
				   &b->distance_count, b->why, b->why_size);
	if (!rc && q->initiator_cpus)
		rc = expand_cpus(b);
	if (!rc && tm_order_parse(q->order ? q->order : "compact", &b->order)) {
		snprintf(b->why, b->why_size, "--order: '%s' is none of compact, spread", q->order);
		rc = -EINVAL;
	}
	return rc;
}
