// SPDX-License-Identifier: GPL-3.0-or-later
/* The choice between the kinds of probe, and what all kinds have in common. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "probe_internal.h"

struct tm_probe {
	enum tm_probe_kind kind;
	const struct tm_probe_ops *ops; /* NULL: TM_PROBE_NONE */
	void *state;
	volatile uint32_t *in_operation;
	/* shared with forked processes, so that a name found by one is known to the next */
	struct shared {
		uint32_t in_operation __attribute__((aligned(128)));
		struct tm_symbols symbols __attribute__((aligned(128)));
	} * shared;
};

static const char *const kind_names[] = {
	[TM_PROBE_NONE] = "gaps",
	[TM_PROBE_PERF] = "perf",
	[TM_PROBE_BPF] = "bpf",
	[TM_PROBE_AUTO] = "auto",
};

static const char *const cause_names[TM_CAUSES] = {
	[TM_CAUSE_TIMER] = "timer",	      [TM_CAUSE_DEVICE] = "device",
	[TM_CAUSE_RESCHEDULE] = "reschedule", [TM_CAUSE_SWITCH] = "context_switch",
	[TM_CAUSE_IRQ_WORK] = "irq_work",     [TM_CAUSE_OTHER] = "other",
};

_Static_assert((int)TM_CAUSE_TIMER == (int)TM_DISTURB_TIMER &&
		       (int)TM_CAUSE_DEVICE == (int)TM_DISTURB_DEVICE &&
		       (int)TM_CAUSE_RESCHEDULE == (int)TM_DISTURB_RESCHEDULE &&
		       (int)TM_CAUSE_SWITCH == (int)TM_DISTURB_SWITCH &&
		       (int)TM_CAUSE_IRQ_WORK == (int)TM_DISTURB_IRQ_WORK &&
		       (int)TM_CAUSE_OTHER == (int)TM_DISTURB_OTHER &&
		       (int)TM_CAUSES <= TM_TALLY_CAUSES,
	       "the programs count by enum tm_cause");

const char *tm_cause_name(enum tm_cause c)
{
	return cause_names[c];
}

bool tm_probe_has_events(const struct tm_probe *p)
{
	return p->ops && p->ops->abilities(p->state).events;
}

const char *tm_probe_kind_name(enum tm_probe_kind k)
{
	return kind_names[k];
}

int tm_probe_kind_parse(const char *name, enum tm_probe_kind *out)
{
	for (unsigned int k = 0; k < sizeof(kind_names) / sizeof(*kind_names); k++)
		if (!strcmp(name, kind_names[k])) {
			*out = (enum tm_probe_kind)k;
			return 0;
		}
	return -EINVAL;
}

static unsigned int possible_cpus(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
	char list[4096] = "";
	unsigned int n;

	if (f) {
		if (!fgets(list, sizeof(list), f))
			list[0] = '\0';
		fclose(f);
	}
	n = tm_possible_parse(list);
	return n ? n : 1;
}

static const struct tm_probe_ops *ops_of(enum tm_probe_kind kind)
{
	return kind == TM_PROBE_BPF ? &tm_probe_bpf : &tm_probe_perf;
}

/* From the best kind down; every refusal leaves its reason in why. */
static int choose(struct tm_probe *p, enum tm_probe_kind wanted, char *why, size_t why_size)
{
	enum tm_probe_kind first = wanted == TM_PROBE_AUTO ? TM_PROBE_BPF : wanted;
	enum tm_probe_kind last = wanted == TM_PROBE_AUTO ? TM_PROBE_NONE : wanted;
	unsigned int possible = possible_cpus();
	int error = 0;

	for (int kind = (int)first; kind >= (int)last; kind--) {
		char reason[400] = "";
		size_t used = strlen(why);

		p->kind = (enum tm_probe_kind)kind;
		if (p->kind == TM_PROBE_NONE)
			return 0;
		p->ops = ops_of(p->kind);
		error = p->ops->open(possible, &p->state, &p->in_operation, reason, sizeof(reason));
		if (!error)
			return 0;
		p->ops = NULL;
		snprintf(why + used, why_size - used, "%s%s: %s", used ? "; " : "",
			 kind_names[kind], reason);
	}
	return error;
}

int tm_probe_open(enum tm_probe_kind wanted, struct tm_probe **out, char *why, size_t why_size)
{
	struct tm_probe *p = calloc(1, sizeof(*p));
	int error;

	why[0] = '\0';
	if (!p)
		return -ENOMEM;
	p->shared = mmap(NULL, sizeof(*p->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p->shared == MAP_FAILED) {
		free(p);
		return -ENOMEM;
	}
	p->in_operation = &p->shared->in_operation;
	error = choose(p, wanted, why, why_size);
	if (error) {
		tm_probe_close(p);
		return error;
	}
	*out = p;
	return 0;
}

void tm_probe_close(struct tm_probe *p)
{
	if (!p)
		return;
	if (p->ops)
		p->ops->close(p->state);
	munmap(p->shared, sizeof(*p->shared));
	free(p);
}

enum tm_probe_kind tm_probe_kind(const struct tm_probe *p)
{
	return p->kind;
}

volatile uint32_t *tm_probe_in_operation(struct tm_probe *p)
{
	return p->in_operation;
}

int tm_probe_attach(struct tm_probe *p)
{
	return p->ops ? p->ops->attach(p->state) : 0;
}

void tm_probe_detach(struct tm_probe *p)
{
	if (p->ops)
		p->ops->detach(p->state);
}

int tm_probe_start(struct tm_probe *p, const unsigned int *cpus, unsigned int count)
{
	*p->in_operation = 0;
	return p->ops ? p->ops->start(p->state, cpus, count) : 0;
}

size_t tm_probe_drain(struct tm_probe *p, unsigned int cpu, struct tm_event *events,
		      size_t capacity)
{
	return p->ops ? p->ops->drain(p->state, cpu, events, capacity) : 0;
}

/* All CPUs' counts, before the functions have names. */
struct sum {
	struct tm_probe_counts *counts;
	struct tm_tally_function *function;
	unsigned int functions, room;
	int error;
};

static void add(uint64_t into[2], const __u64 from[2])
{
	into[0] += from[0];
	into[1] += from[1];
}

static void add_function(struct sum *s, const struct tm_tally_function *f)
{
	unsigned int i;

	for (i = 0; i < s->functions; i++)
		if (s->function[i].address == f->address)
			break;
	if (i == s->functions) {
		if (s->functions == s->room) {
			unsigned int room = s->room ? 2 * s->room : TM_TALLY_FUNCTIONS;
			void *more = realloc(s->function, room * sizeof(*s->function));

			if (!more) {
				s->error = -ENOMEM;
				return;
			}
			s->function = more;
			s->room = room;
		}
		s->functions++;
		s->function[i] = (struct tm_tally_function){.address = f->address};
	}
	s->function[i].calls[0] += f->calls[0];
	s->function[i].calls[1] += f->calls[1];
}

static void add_tally(struct sum *s, const struct tm_tally *t)
{
	struct tm_probe_counts *c = s->counts;

	for (unsigned int i = 0; i < TM_FLUSH_REASONS; i++)
		add(c->flush[i], t->flush[i]);
	for (unsigned int i = 0; i < TM_FLUSH_RANGES; i++)
		add(c->range[i], t->range[i]);
	add(c->full, t->full);
	add(c->sends_full, t->sends_full);
	add(c->handlers, t->handlers);
	for (unsigned int i = 0; i < TM_CAUSES; i++)
		add(c->cause[i], t->cause[i]);
	add(c->function_other, t->function_other);
	for (unsigned int i = 0; i < TM_TALLY_FUNCTIONS; i++)
		if (t->function[i].calls[0] || t->function[i].calls[1])
			add_function(s, &t->function[i]);
}

static int by_calls(const void *a, const void *b)
{
	const struct tm_tally_function *x = a, *y = b;
	uint64_t n = x->calls[0] + x->calls[1], m = y->calls[0] + y->calls[1];

	return n > m ? -1 : n < m;
}

/* Most frequent first; what does not fit is counted together. */
static void name_functions(struct tm_symbols *symbols, struct sum *s)
{
	uint64_t addresses[TM_PROBE_FUNCTIONS];
	unsigned int n = s->functions;
	FILE *kallsyms = NULL;
	bool known = true;

	if (!n)
		return;
	qsort(s->function, n, sizeof(*s->function), by_calls);
	for (; n > TM_PROBE_FUNCTIONS; n--)
		add(s->counts->function_other, s->function[n - 1].calls);
	for (unsigned int i = 0; i < n; i++) {
		addresses[i] = s->function[i].address;
		known = known && tm_symbols_name(symbols, addresses[i]);
	}
	if (!known) {
		/* a hundred thousand lines: only when there is a new address */
		kallsyms = fopen("/proc/kallsyms", "re");
		tm_symbols_resolve(symbols, kallsyms, addresses, n);
		if (kallsyms)
			fclose(kallsyms);
	}
	for (unsigned int i = 0; i < n; i++) {
		const char *name = tm_symbols_name(symbols, addresses[i]);

		snprintf(s->counts->function[i].name, sizeof(s->counts->function[i].name), "%s",
			 name ? name : "(not resolved)");
		add(s->counts->function[i].calls, s->function[i].calls);
	}
}

/* The sum of all CPUs, and of those that are wanted by themselves as well. */
struct sums {
	struct tm_symbols *symbols;
	struct sum all;
	const unsigned int *cpus;
	unsigned int count;
	struct tm_probe_counts *of_cpu;
	bool functions;
};

static void add_cpu(void *into, unsigned int cpu, const struct tm_tally *t)
{
	struct sums *s = into;

	add_tally(&s->all, t);
	for (unsigned int i = 0; i < s->count; i++) {
		struct sum one = {.counts = &s->of_cpu[i]};

		if (s->cpus[i] != cpu)
			continue;
		add_tally(&one, t);
		s->all.error = s->all.error ? s->all.error : one.error;
		if (s->functions && !one.error)
			name_functions(s->symbols, &one);
		free(one.function);
	}
}

int tm_probe_stop_cpus(struct tm_probe *p, struct tm_probe_counts *out, const unsigned int *cpus,
		       unsigned int count, struct tm_probe_counts *of_cpu)
{
	struct sums s = {.symbols = &p->shared->symbols,
			 .all = {.counts = out},
			 .cpus = cpus,
			 .count = count,
			 .of_cpu = of_cpu};
	struct tm_probe_abilities able;
	int error;

	memset(out, 0, sizeof(*out));
	if (count)
		memset(of_cpu, 0, count * sizeof(*of_cpu));
	*p->in_operation = 0;
	if (!p->ops)
		return 0;
	able = p->ops->abilities(p->state);
	s.functions = able.functions;
	error = p->ops->stop(p->state, add_cpu, &s, &out->events_lost);
	if (!error)
		error = s.all.error;
	if (!error && able.functions)
		name_functions(s.symbols, &s.all);
	free(s.all.function);
	out->has_ranges = 1;
	out->has_functions = able.functions;
	out->has_events = able.events;
	out->has_columns = able.columns;
	return error;
}

int tm_probe_stop(struct tm_probe *p, struct tm_probe_counts *out)
{
	return tm_probe_stop_cpus(p, out, NULL, 0, NULL);
}
