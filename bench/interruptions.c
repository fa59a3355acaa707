// SPDX-License-Identifier: GPL-3.0-or-later
/* What interrupted the responders. See interruptions.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interruptions.h"

/* Minor and major page faults of one thread, from its stat file (proc(5)). 0 or -errno. */
static int read_faults(const struct tm_responder *r, int64_t *faults)
{
	char path[64], line[1024] = "";
	int64_t minor, major;
	const char *rest;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat",
		 (int)(r->process ? r->process : getpid()), (int)r->tid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	rest = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	if (!rest || sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %" SCNd64 " %*u %" SCNd64, &minor,
			    &major) != 2)
		return -EINVAL;
	*faults = minor + major;
	return 0;
}

/* The kernel's counters as they are now, added to the rows or taken away. */
static void read_counters(struct tm_engine *e, int sign)
{
	struct tm_responder_result *rows = tm_result_responders(e->r);
	unsigned int n = e->responders.count, *cpus = calloc(n + 1, sizeof(*cpus));
	int64_t(*lines)[TM_LINES] = calloc(n + 1, sizeof(*lines)), faults;
	bool told;

	if (cpus && lines) {
		for (unsigned int i = 0; i < n; i++)
			cpus[i] = e->responders.r[i].cpu;
		told = !tm_interrupts_of(cpus, n, sign, lines);
		for (unsigned int i = 0; i < n; i++) {
			rows[i].have_lines = told && (sign < 0 || rows[i].have_lines);
			for (int l = 0; l < TM_LINES; l++)
				rows[i].line[l] += lines[i][l];
			rows[i].have_faults = !read_faults(&e->responders.r[i], &faults) &&
					      (sign < 0 || rows[i].have_faults);
			rows[i].faults += rows[i].have_faults ? sign * faults : 0;
		}
	}
	free(lines);
	free(cpus);
}

void tm_interruptions_begin(struct tm_engine *e)
{
	if (e->responders.count)
		read_counters(e, -1);
}

void tm_interruptions_forget(struct tm_engine *e)
{
	if (!e->attribute || !tm_state_spins(e->cell->state))
		return;
	/* Nobody may be inside of a gap that began before. */
	tm_responders_arm(&e->responders, e->arm_timeout_ticks);
	for (unsigned int i = 0; i < e->responders.count; i++) {
		struct tm_responder *r = &e->responders.r[i];

		tm_responder_drain(r, e->gaps, r->ring_mask + 1);
		tm_probe_drain(e->context->probe, r->cpu, e->events, TM_EVENTS_MAX);
	}
}

static bool is_interrupt(const struct tm_tick_event *e)
{
	return e->kind == TM_EVENT_ENTRY ||
	       (e->kind == TM_EVENT_DISTURB && e->value != TM_CAUSE_SWITCH);
}

void tm_interruptions_match(struct tm_responder_result *row, const struct tm_gap *gaps,
			    size_t gap_count, const struct tm_tick_event *events,
			    size_t event_count, uint64_t slack_ticks)
{
	uint64_t covered = 0; /* events up to here, from `at` on, lie in a gap */
	size_t at = 0;

	for (size_t g = 0; g < gap_count; g++) {
		/* What remains may lie in the next gap as well, if that is near. */
		for (; at < event_count && events[at].ticks + slack_ticks < gaps[g].start; at++)
			row->interrupts_unseen +=
				events[at].ticks > covered && is_interrupt(&events[at]);
		covered = gaps[g].end + slack_ticks;
		row->gaps_unexplained += at == event_count || events[at].ticks > covered;
	}
	for (; at < event_count; at++)
		row->interrupts_unseen += events[at].ticks > covered && is_interrupt(&events[at]);
}

void tm_interruptions_add(struct tm_engine *e, unsigned int i, const struct tm_gap *gaps,
			  size_t gap_count, const struct tm_tick_event *events, size_t event_count,
			  uint64_t slack_ticks)
{
	struct tm_hist *h = tm_result_hist(e->r, TM_METRIC_INTERRUPTION);

	for (size_t g = 0; g < gap_count; g++)
		tm_hist_record(h, gaps[g].end - gaps[g].start);
	if (tm_probe_has_events(e->context->probe))
		tm_interruptions_match(&tm_result_responders(e->r)[i], gaps, gap_count, events,
				       event_count, slack_ticks);
}

int tm_interruptions_end(struct tm_engine *e)
{
	struct tm_responder_result *rows = tm_result_responders(e->r);
	unsigned int n = e->responders.count, *cpus = calloc(n + 1, sizeof(*cpus));
	struct tm_probe_counts *of_cpu = calloc(n + 1, sizeof(*of_cpu));
	int rc = cpus && of_cpu ? 0 : -ENOMEM;

	/* First: the probe may take a while to look up names. */
	if (n)
		read_counters(e, 1);
	for (unsigned int i = 0; !rc && i < n; i++)
		cpus[i] = e->responders.r[i].cpu;
	rc = rc ? rc : tm_probe_stop_cpus(e->context->probe, &e->r->probe, cpus, n, of_cpu);
	for (unsigned int i = 0; !rc && i < n; i++)
		rows[i].probe = of_cpu[i];
	free(of_cpu);
	free(cpus);
	return rc;
}
