// SPDX-License-Identifier: GPL-3.0-or-later
/* The best kind of probe: BPF programs (tlb.bpf.c) on raw tracepoints. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe_internal.h"
#include "tlb.skel.h"

bool tm_probe_bpf_without_csd;

_Static_assert(sizeof(struct tm_event) == sizeof(struct tm_bpf_event) &&
		       offsetof(struct tm_event, kind) == offsetof(struct tm_bpf_event, kind) &&
		       offsetof(struct tm_event, value) == offsetof(struct tm_bpf_event, value),
	       "the programs write struct tm_event");
_Static_assert((int)TM_EVENT_SEND == (int)TM_BPF_SEND && (int)TM_EVENT_ENTRY == (int)TM_BPF_ENTRY &&
		       (int)TM_EVENT_EXIT == (int)TM_BPF_EXIT &&
		       (int)TM_EVENT_DISTURB == (int)TM_BPF_DISTURB,
	       "the programs write enum tm_event_kind");

enum {
	RING_EVENTS = 8192,	 /* of each of a CPU's rings, at most */
	ALL_EVENTS = 512 * 1024, /* of all CPUs' rings together, at most: 8 MiB */
	LINKS = 32,
};

enum need {
	NEED_ALWAYS,
	NEED_CSD,    /* the callbacks: Linux 6.4 and later */
	NEED_QUEUE,  /* the interrupt with its callbacks: x86 before that, with BTF */
	NEED_VECTOR, /* the interrupt alone: x86 */
	NEED_ALONE,  /* the callbacks in the interrupt's place */
	NEED_OPTIONAL,
};

#define PROGRAM(name) offsetof(struct tlb_bpf, progs.name)

/* In this order: what is hooked decides what else is needed. */
static const struct hook {
	size_t program;
	const char *tracepoint;
	enum need need;
} hooks[] = {
	{PROGRAM(tm_on_flush), "tlb_flush", NEED_ALWAYS},
	{PROGRAM(tm_on_csd), "csd_function_entry", NEED_CSD},
	{PROGRAM(tm_on_queue), "call_function_entry", NEED_QUEUE},
	{PROGRAM(tm_on_queue), "call_function_single_entry", NEED_QUEUE},
	{PROGRAM(tm_on_handler_entry), "call_function_entry", NEED_VECTOR},
	{PROGRAM(tm_on_handler_entry), "call_function_single_entry", NEED_VECTOR},
	{PROGRAM(tm_on_handler_exit), "call_function_exit", NEED_OPTIONAL},
	{PROGRAM(tm_on_handler_exit), "call_function_single_exit", NEED_OPTIONAL},
	{PROGRAM(tm_on_csd_entry), "csd_function_entry", NEED_ALONE},
	{PROGRAM(tm_on_csd_exit), "csd_function_exit", NEED_ALONE},
	{PROGRAM(tm_on_timer), "local_timer_entry", NEED_OPTIONAL},
	{PROGRAM(tm_on_reschedule), "reschedule_entry", NEED_OPTIONAL},
	{PROGRAM(tm_on_irq_work), "irq_work_entry", NEED_OPTIONAL},
	{PROGRAM(tm_on_device), "irq_handler_entry", NEED_OPTIONAL},
	{PROGRAM(tm_on_switch), "sched_switch", NEED_OPTIONAL},
	{PROGRAM(tm_on_other), "x86_platform_ipi_entry", NEED_OPTIONAL},
	{PROGRAM(tm_on_other), "error_apic_entry", NEED_OPTIONAL},
	{PROGRAM(tm_on_other), "spurious_apic_entry", NEED_OPTIONAL},
	{PROGRAM(tm_on_other), "thermal_apic_entry", NEED_OPTIONAL},
	{PROGRAM(tm_on_other), "threshold_apic_entry", NEED_OPTIONAL},
	{PROGRAM(tm_on_other), "deferred_error_apic_entry", NEED_OPTIONAL},
};

struct state {
	struct tlb_bpf *skeleton;
	struct bpf_link *link[LINKS];
	unsigned int links;
	unsigned int possible;
	uint32_t all_events;
	struct tm_bpf_slot *slots;
	struct tm_bpf_event *events;
	bool csd, vector, queue; /* what is hooked */
	uint64_t missed;	 /* at the start of the phase */
};

/* libbpf prints its reasons; the first, which the others follow from, goes into `why` instead. */
static char first_line[200];

static int keep_line(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level == LIBBPF_WARN && !first_line[0]) {
		vsnprintf(first_line, sizeof(first_line), format, arguments);
		first_line[strcspn(first_line, "\n")] = '\0';
	}
	return 0;
}

static struct bpf_program *program(const struct state *st, size_t offset)
{
	return *(struct bpf_program **)((char *)st->skeleton + offset);
}

static size_t slots_bytes(const struct state *st)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (st->possible * sizeof(*st->slots) + page - 1) / page * page;
}

static size_t events_bytes(const struct state *st)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (st->all_events * sizeof(*st->events) + page - 1) / page * page;
}

static void bpf_detach(void *state)
{
	struct state *st = state;

	while (st->links)
		bpf_link__destroy(st->link[--st->links]);
}

/* 0, -ENOENT where this kernel has no such tracepoint, or another -errno. */
static int hook_up(struct state *st, const struct hook *h)
{
	struct bpf_link *link =
		bpf_program__attach_raw_tracepoint(program(st, h->program), h->tracepoint);

	if (!link)
		return -errno;
	st->link[st->links++] = link;
	return 0;
}

static bool is_wanted(const struct state *st, enum need need)
{
	switch (need) {
	case NEED_CSD:
		return !tm_probe_bpf_without_csd;
	case NEED_QUEUE:
		return !st->csd && bpf_program__autoload(st->skeleton->progs.tm_on_queue);
	case NEED_VECTOR:
		return !st->queue;
	case NEED_ALONE:
		return st->csd && !st->vector;
	default:
		return true;
	}
}

static int bpf_attach(void *state)
{
	struct state *st = state;
	libbpf_print_fn_t print;
	int error = 0;

	if (st->links)
		return 0;
	st->csd = st->vector = st->queue = false;
	print = libbpf_set_print(keep_line);
	for (size_t i = 0; !error && i < sizeof(hooks) / sizeof(*hooks); i++) {
		const struct hook *h = &hooks[i];

		if (!is_wanted(st, h->need))
			continue;
		error = hook_up(st, h);
		if (error == -ENOENT && h->need != NEED_ALWAYS) {
			error = 0;
			continue;
		}
		st->csd = st->csd || h->need == NEED_CSD;
		st->queue = st->queue || h->need == NEED_QUEUE;
		st->vector = st->vector || h->need == NEED_QUEUE || h->need == NEED_VECTOR;
	}
	libbpf_set_print(print);
	if (error)
		bpf_detach(st);
	return error;
}

static void unload(struct state *st)
{
	bpf_detach(st);
	if (st->slots)
		munmap(st->slots, slots_bytes(st));
	if (st->events)
		munmap(st->events, events_bytes(st));
	tlb_bpf__destroy(st->skeleton);
	st->slots = NULL;
	st->events = NULL;
	st->skeleton = NULL;
}

static void bpf_close(void *state)
{
	unload(state);
	free(state);
}

static void *map_memory(const struct bpf_map *map, size_t bytes)
{
	void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return m == MAP_FAILED ? NULL : m;
}

/* A name for what failed, in *what. */
static int load(struct state *st, bool with_queue, const char **what)
{
	int error;

	*what = "loading the programs";
	st->skeleton = tlb_bpf__open();
	if (!st->skeleton)
		return -errno;
	bpf_program__set_autoload(st->skeleton->progs.tm_on_queue, with_queue);
	bpf_map__set_max_entries(st->skeleton->maps.slots, st->possible);
	bpf_map__set_max_entries(st->skeleton->maps.events, st->all_events);
	error = tlb_bpf__load(st->skeleton);
	if (!error) {
		*what = "mapping the counters";
		st->slots = map_memory(st->skeleton->maps.slots, slots_bytes(st));
		st->events = map_memory(st->skeleton->maps.events, events_bytes(st));
		error = st->slots && st->events ? 0 : -ENOMEM;
	}
	if (!error) {
		*what = "hooking into tlb:tlb_flush";
		error = bpf_attach(st);
	}
	if (error)
		unload(st);
	return error;
}

static const char *remedy(int error)
{
	switch (error) {
	case -EPERM:
	case -EACCES:
		return "needs CAP_BPF and CAP_PERFMON, or root";
	case -ENOENT:
		return "this kernel has no tlb:tlb_flush tracepoint";
	case -ENOSYS:
	case -EINVAL:
		return "needs Linux 5.5 with CONFIG_BPF_SYSCALL and CONFIG_BPF_EVENTS";
	case -ENOMEM:
		return "needs memory: raise the memory limit of the cgroup, or ulimit -l";
	default:
		return "see the kernel log";
	}
}

static int bpf_open(unsigned int possible, void **state, volatile uint32_t **word, char *why,
		    size_t why_size)
{
	struct state *st = calloc(1, sizeof(*st));
	libbpf_print_fn_t print;
	const char *what;
	int error;

	if (!st)
		return -ENOMEM;
	st->possible = possible;
	st->all_events = ALL_EVENTS;
	if (possible < ALL_EVENTS / (TM_RINGS * RING_EVENTS))
		st->all_events = possible * TM_RINGS * RING_EVENTS;
	first_line[0] = '\0';
	print = libbpf_set_print(keep_line);
	error = load(st, false, &what);
	if (!error && st->vector && !st->csd) {
		/* not all kernels have BTF: what works without it is kept */
		unload(st);
		if (load(st, true, &what))
			error = load(st, false, &what);
	}
	libbpf_set_print(print);
	if (error) {
		/* without privilege libbpf's guesses only mislead */
		bool tell = first_line[0] && error != -EPERM && error != -EACCES;

		snprintf(why, why_size, "%s: %s (%s%s%s)", what, remedy(error), strerror(-error),
			 tell ? "; " : "", tell ? first_line : "");
		free(st);
		return error;
	}
	*state = st;
	*word = &st->skeleton->bss->in_operation;
	return 0;
}

/* Runs that the kernel refused because the same program was running on that CPU. */
static uint64_t missed_runs(const struct state *st)
{
	struct bpf_program *prog;
	uint64_t sum = 0;

	bpf_object__for_each_program(prog, st->skeleton->obj)
	{
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);

		if (bpf_program__fd(prog) >= 0 &&
		    !bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &size))
			sum += info.recursion_misses;
	}
	return sum;
}

static bool took_part(const struct tm_bpf_slot *s)
{
	return s->ring[0].size;
}

static void set_active(struct tm_bpf_slot *s, uint32_t active)
{
	__atomic_store_n(&s->active, active, __ATOMIC_RELEASE);
}

static int bpf_start(void *state, const unsigned int *cpus, unsigned int count)
{
	struct state *st = state;
	uint32_t size = RING_EVENTS, base = 0;
	bool running = false;

	for (unsigned int i = 0; i < count; i++)
		if (cpus[i] >= st->possible)
			return -ERANGE;
	while (count && (uint64_t)size * TM_RINGS * count > st->all_events)
		size /= 2;
	if (!size)
		return -ERANGE;
	for (unsigned int cpu = 0; cpu < st->possible; cpu++) {
		running = running || st->slots[cpu].active;
		set_active(&st->slots[cpu], 0);
	}
	/* a phase whose process died: let programs that still run there end */
	if (running)
		usleep(1000);
	for (unsigned int cpu = 0; cpu < st->possible; cpu++)
		if (took_part(&st->slots[cpu]))
			memset(&st->slots[cpu], 0, sizeof(st->slots[cpu]));
	st->missed = missed_runs(st);
	for (unsigned int i = 0; i < count; i++) {
		struct tm_bpf_slot *s = &st->slots[cpus[i]];

		for (unsigned int r = 0; r < TM_RINGS; r++, base += size) {
			s->ring[r].base = base;
			s->ring[r].size = size;
		}
		set_active(s, 1);
	}
	return 0;
}

/* The oldest event of a ring, NULL if it is empty. */
static const struct tm_bpf_event *oldest(const struct state *st, const struct tm_bpf_ring *r)
{
	if (r->tail == __atomic_load_n(&r->head, __ATOMIC_ACQUIRE))
		return NULL;
	return &st->events[r->base + (r->tail & (r->size - 1))];
}

static size_t bpf_drain(void *state, unsigned int cpu, struct tm_event *events, size_t capacity)
{
	struct state *st = state;
	struct tm_bpf_slot *s;
	size_t n;

	if (cpu >= st->possible || !took_part(&st->slots[cpu]))
		return 0;
	s = &st->slots[cpu];
	for (n = 0; n < capacity; n++) {
		struct tm_bpf_ring *r = &s->ring[TM_RING_INTERRUPT];
		const struct tm_bpf_event *e = oldest(st, r);
		const struct tm_bpf_event *send = oldest(st, &s->ring[TM_RING_SEND]);

		if (!e || (send && send->time_ns < e->time_ns)) {
			r = &s->ring[TM_RING_SEND];
			e = send;
		}
		if (!e)
			break;
		memcpy(&events[n], e, sizeof(*e));
		__atomic_store_n(&r->tail, r->tail + 1, __ATOMIC_RELEASE);
	}
	return n;
}

static int bpf_stop(void *state, tm_probe_each *each, void *into, uint64_t *lost)
{
	struct state *st = state;

	for (unsigned int cpu = 0; cpu < st->possible; cpu++)
		set_active(&st->slots[cpu], 0);
	for (unsigned int cpu = 0; cpu < st->possible; cpu++) {
		const struct tm_bpf_slot *s = &st->slots[cpu];

		if (!took_part(s))
			continue;
		each(into, cpu, &s->tally);
		for (unsigned int r = 0; r < TM_RINGS; r++)
			*lost += s->ring[r].lost;
	}
	*lost += missed_runs(st) - st->missed;
	return 0;
}

static struct tm_probe_abilities bpf_abilities(const void *state)
{
	const struct state *st = state;

	return (struct tm_probe_abilities){
		.functions = st->csd || st->queue,
		.events = st->csd || st->vector,
		.columns = true,
	};
}

const struct tm_probe_ops tm_probe_bpf = {
	.open = bpf_open,
	.close = bpf_close,
	.attach = bpf_attach,
	.detach = bpf_detach,
	.start = bpf_start,
	.drain = bpf_drain,
	.stop = bpf_stop,
	.abilities = bpf_abilities,
};
