// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The second best kind of probe: every hit of a tracepoint as a record in a
 * perf_event ring, counted here. Dearer than BPF (a record a hit) and without
 * columns, since the kernel does not read our word.
 *
 * Rings belong to a phase, not to the probe: the kernel does not let a forked
 * process inherit them. The probe itself keeps one disabled event of each
 * tracepoint, which makes the opening of the others fast.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "probe_internal.h"

enum {
	POINTS = 18,
	RING_BYTES = 512 * 1024, /* of a CPU, at most */
	RING_BYTES_LEAST = 16 * 1024,
	ALL_BYTES = 32 * 1024 * 1024, /* of all CPUs, unless that is below the least */
	RECORD_BYTES = 256,
};

enum action { FLUSH, HANDLER_ENTRY, HANDLER_EXIT, CSD_ENTRY, CSD_EXIT, DISTURB };

/* HANDLER_ENTRY before CSD_ENTRY, which does its work where that is missing. */
static const struct tracepoint {
	const char *path;
	enum action action;
	uint32_t value; /* of DISTURB */
	const char *fields[2];
} tracepoints[POINTS] = {
	{"tlb/tlb_flush", FLUSH, 0, {"reason", "pages"}},
	{"irq_vectors/call_function_entry", HANDLER_ENTRY, 0, {0}},
	{"irq_vectors/call_function_exit", HANDLER_EXIT, 0, {0}},
	{"irq_vectors/call_function_single_entry", HANDLER_ENTRY, 0, {0}},
	{"irq_vectors/call_function_single_exit", HANDLER_EXIT, 0, {0}},
	{"csd/csd_function_entry", CSD_ENTRY, 0, {"func", "csd"}},
	{"csd/csd_function_exit", CSD_EXIT, 0, {"func", "csd"}},
	{"irq_vectors/local_timer_entry", DISTURB, TM_DISTURB_TIMER, {0}},
	{"irq_vectors/reschedule_entry", DISTURB, TM_DISTURB_RESCHEDULE, {0}},
	{"irq_vectors/irq_work_entry", DISTURB, TM_DISTURB_IRQ_WORK, {0}},
	{"irq/irq_handler_entry", DISTURB, TM_DISTURB_DEVICE, {0}},
	{"sched/sched_switch", DISTURB, TM_DISTURB_SWITCH, {0}},
	{"irq_vectors/x86_platform_ipi_entry", DISTURB, TM_DISTURB_OTHER, {0}},
	{"irq_vectors/error_apic_entry", DISTURB, TM_DISTURB_OTHER, {0}},
	{"irq_vectors/spurious_apic_entry", DISTURB, TM_DISTURB_OTHER, {0}},
	{"irq_vectors/thermal_apic_entry", DISTURB, TM_DISTURB_OTHER, {0}},
	{"irq_vectors/threshold_apic_entry", DISTURB, TM_DISTURB_OTHER, {0}},
	{"irq_vectors/deferred_error_apic_entry", DISTURB, TM_DISTURB_OTHER, {0}},
};

/* A tracepoint that this kernel has. */
struct point {
	const struct tracepoint *tracepoint;
	unsigned int id;
	struct {
		unsigned int offset, size;
	} field[2];
	int anchor; /* -1: detached */
};

/* A CPU that takes part in the phase. */
struct cpu {
	unsigned int number;
	int fd[POINTS];
	struct perf_event_mmap_page *ring;
	struct tm_tally tally;
	bool in_handler; /* of a function-call interrupt, as the records go by */
	uint32_t called; /* its callbacks so far */
	uint64_t lost;
};

struct state {
	struct point point[POINTS];
	unsigned int points;
	bool csd, vector;
	struct cpu *cpu;
	unsigned int cpus;
	size_t ring_bytes; /* without the first page */
};

/*
 * A directory fd of tracefs: where it is mounted, else a mount of our own
 * that nobody else sees and that ends with the fd.
 */
static int open_tracefs(void)
{
	static const char *const paths[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
	int fs, mount = -1;

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		int fd = open(paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0 && !faccessat(fd, "events/tlb/tlb_flush/id", R_OK, 0))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	fs = fsopen("tracefs", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	if (!fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mount < 0)
		mount = -errno;
	close(fs);
	return mount;
}

/* The text of events/PATH/NAME; bytes or -errno. */
static int read_event_file(int tracefs, const char *path, const char *name, char *text, size_t size)
{
	char file[128];
	ssize_t n;
	int fd;

	snprintf(file, sizeof(file), "events/%s/%s", path, name);
	fd = openat(tracefs, file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		n = -errno;
	else
		text[n] = '\0';
	close(fd);
	return (int)n;
}

/* 0, or -errno where this kernel lacks it or its fields are not what we know. */
static int find_point(int tracefs, const struct tracepoint *t, struct point *p)
{
	char text[4096];
	int n = read_event_file(tracefs, t->path, "id", text, sizeof(text));

	if (n < 0)
		return n;
	*p = (struct point){.tracepoint = t, .id = (unsigned int)atoi(text), .anchor = -1};
	if (!t->fields[0])
		return 0;
	n = read_event_file(tracefs, t->path, "format", text, sizeof(text));
	for (int i = 0; n >= 0 && i < 2; i++)
		n = tm_format_field(text, t->fields[i], &p->field[i].offset, &p->field[i].size);
	return n < 0 ? n : 0;
}

static int find_points(struct state *st)
{
	int tracefs = open_tracefs(), error = 0;

	if (tracefs < 0)
		return tracefs;
	for (unsigned int i = 0; i < POINTS; i++) {
		const struct tracepoint *t = &tracepoints[i];

		if (t->action == CSD_EXIT && st->vector)
			continue;
		error = find_point(tracefs, t, &st->point[st->points]);
		if (error && t->action == FLUSH)
			break;
		if (error)
			continue;
		st->points++;
		st->csd = st->csd || t->action == CSD_ENTRY;
		st->vector = st->vector || t->action == HANDLER_ENTRY;
	}
	close(tracefs);
	return st->points ? 0 : error;
}

static int open_event(const struct point *p, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = p->id,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
		.read_format = PERF_FORMAT_LOST,
		.disabled = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
		.watermark = 1, /* nobody waits: never wake anyone */
		.wakeup_watermark = UINT32_MAX,
	};
	long fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

static void perf_detach(void *state)
{
	struct state *st = state;

	for (unsigned int i = 0; i < st->points; i++)
		if (st->point[i].anchor >= 0) {
			close(st->point[i].anchor);
			st->point[i].anchor = -1;
		}
}

static int perf_attach(void *state)
{
	struct state *st = state;
	int cpu = sched_getcpu();

	for (unsigned int i = 0; i < st->points; i++) {
		struct point *p = &st->point[i];

		if (p->anchor < 0)
			p->anchor = open_event(p, cpu < 0 ? 0 : cpu);
		if (p->anchor < 0) {
			int error = p->anchor;

			perf_detach(st);
			return error;
		}
	}
	return 0;
}

static void explain(int error, const char *what, char *why, size_t why_size)
{
	const char *remedy = "see the kernel log";

	if (error == -EPERM || error == -EACCES)
		remedy = "needs CAP_PERFMON and readable tracefs, or root";
	else if (error == -ENOENT || error == -ENODEV)
		remedy = "this kernel has no tlb:tlb_flush trace event (CONFIG_FTRACE)";
	else if (error == -ENOSYS || error == -EINVAL)
		remedy = "needs Linux 6.0 with CONFIG_PERF_EVENTS";
	else if (error == -EMFILE)
		remedy = "raise ulimit -n";
	snprintf(why, why_size, "%s: %s (%s)", what, remedy, strerror(-error));
}

static void end_phase(struct state *st)
{
	size_t bytes = st->ring_bytes + (size_t)sysconf(_SC_PAGESIZE);

	for (unsigned int c = 0; c < st->cpus; c++) {
		for (unsigned int i = 0; i < st->points; i++)
			if (st->cpu[c].fd[i] >= 0)
				close(st->cpu[c].fd[i]);
		if (st->cpu[c].ring)
			munmap(st->cpu[c].ring, bytes);
	}
	free(st->cpu);
	st->cpu = NULL;
	st->cpus = 0;
}

static void perf_close(void *state)
{
	end_phase(state);
	perf_detach(state);
	free(state);
}

static int perf_open(unsigned int possible, void **state, volatile uint32_t **word, char *why,
		     size_t why_size)
{
	struct state *st = calloc(1, sizeof(*st));
	int error;

	(void)possible;
	(void)word; /* the one that every probe has will do: nobody reads it */
	if (!st)
		return -ENOMEM;
	error = find_points(st);
	if (error) {
		explain(error, "finding the trace events", why, why_size);
		free(st);
		return error;
	}
	error = perf_attach(st);
	if (error) {
		explain(error, "opening a trace event", why, why_size);
		free(st);
		return error;
	}
	*state = st;
	return 0;
}

/* One ring, written by all events of the CPU. */
static int open_cpu(struct state *st, struct cpu *c)
{
	size_t bytes = st->ring_bytes + (size_t)sysconf(_SC_PAGESIZE);

	for (unsigned int i = 0; i < st->points; i++) {
		c->fd[i] = open_event(&st->point[i], (int)c->number);
		if (c->fd[i] < 0)
			return c->fd[i];
		if (i && ioctl(c->fd[i], PERF_EVENT_IOC_SET_OUTPUT, c->fd[0]))
			return -errno;
		if (i)
			continue;
		c->ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd[0], 0);
		if (c->ring == MAP_FAILED) {
			c->ring = NULL;
			return -errno;
		}
	}
	return 0;
}

/* A descriptor for each event of each CPU can be more than a shell allows. */
static void allow_descriptors(rlim_t wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static uint64_t field(const struct point *p, unsigned int i, const char *raw, unsigned int size)
{
	uint64_t v = 0;

	if (p->field[i].size <= sizeof(v) && p->field[i].offset + p->field[i].size <= size)
		memcpy(&v, raw + p->field[i].offset, p->field[i].size);
	return v;
}

/* Between entry and exit of a function-call interrupt, where that is told at all. */
static bool in_handler(const struct state *st, const struct cpu *c)
{
	return c->in_handler || !st->vector;
}

/* Counts one hit; true if it also is an event for the caller. */
static bool count_hit(const struct state *st, struct cpu *c, const struct point *p, const char *raw,
		      unsigned int size, struct tm_event *e)
{
	uint32_t reason;

	e->value = 0;
	switch (p->tracepoint->action) {
	case FLUSH:
		reason = (uint32_t)field(p, 0, raw, size);
		tm_tally_flush(&c->tally, reason, field(p, 1, raw, size), 1);
		e->kind = TM_EVENT_SEND;
		e->value = tm_event_pages(field(p, 1, raw, size));
		return reason == TM_REASON_SEND;
	case CSD_ENTRY:
		if (!field(p, 1, raw, size) || !in_handler(st, c)) /* not by an interrupt */
			return false;
		tm_tally_function(&c->tally, field(p, 0, raw, size), 1);
		c->called++;
		if (st->vector)
			return false;
		c->tally.handlers[1]++;
		e->kind = TM_EVENT_ENTRY;
		return true;
	case HANDLER_ENTRY:
		c->in_handler = true;
		c->called = 0;
		c->tally.handlers[1]++;
		e->kind = TM_EVENT_ENTRY;
		return true;
	case CSD_EXIT:
		e->kind = TM_EVENT_EXIT;
		return field(p, 1, raw, size);
	case HANDLER_EXIT:
		if (c->in_handler && !c->called)
			tm_tally_function(&c->tally, TM_FUNCTION_NONE, 1);
		c->in_handler = false;
		e->kind = TM_EVENT_EXIT;
		return true;
	case DISTURB:
		c->tally.cause[p->tracepoint->value][1]++;
		e->kind = TM_EVENT_DISTURB;
		e->value = p->tracepoint->value;
		return true;
	}
	return false;
}

/* One record, header first; true if it gave an event. */
static bool take_record(const struct state *st, struct cpu *c, const char *record, size_t size,
			struct tm_event *e)
{
	struct perf_event_header h;
	struct {
		uint64_t time;
		uint32_t raw_size;
		uint16_t id; /* first field of every trace event */
	} s;
	const size_t raw = sizeof(h) + sizeof(s.time) + sizeof(s.raw_size);

	memcpy(&h, record, sizeof(h));
	if (h.type != PERF_RECORD_SAMPLE || size < raw + sizeof(s.id))
		return false;
	memcpy(&s.time, record + sizeof(h), sizeof(s.time));
	memcpy(&s.raw_size, record + sizeof(h) + sizeof(s.time), sizeof(s.raw_size));
	memcpy(&s.id, record + raw, sizeof(s.id));
	if (s.raw_size > size - raw)
		return false;
	e->time_ns = s.time;
	for (unsigned int i = 0; i < st->points; i++)
		if (st->point[i].id == s.id)
			return count_hit(st, c, &st->point[i], record + raw, s.raw_size, e);
	return false;
}

/* Copies out of the ring, around its end. */
static void copy_out(const struct state *st, const struct cpu *c, uint64_t at, void *to, size_t n)
{
	const char *data = (const char *)c->ring + sysconf(_SC_PAGESIZE);
	size_t start = at & (st->ring_bytes - 1);
	size_t first = n < st->ring_bytes - start ? n : st->ring_bytes - start;

	memcpy(to, data + start, first);
	memcpy((char *)to + first, data, n - first);
}

/* events NULL: only counts, all there is. */
static size_t consume(struct state *st, struct cpu *c, struct tm_event *events, size_t capacity)
{
	uint64_t head = __atomic_load_n(&c->ring->data_head, __ATOMIC_ACQUIRE);
	uint64_t tail = c->ring->data_tail;
	char record[RECORD_BYTES];
	size_t n = 0;

	while (tail != head && (!events || n < capacity)) {
		struct perf_event_header h;
		struct tm_event e;

		copy_out(st, c, tail, &h, sizeof(h));
		if (h.size <= sizeof(record)) {
			copy_out(st, c, tail, record, h.size);
			if (take_record(st, c, record, h.size, &e) && events)
				events[n++] = e;
		} else {
			c->lost++;
		}
		tail += h.size;
	}
	__atomic_store_n(&c->ring->data_tail, tail, __ATOMIC_RELEASE);
	return n;
}

static int perf_start(void *state, const unsigned int *cpus, unsigned int count)
{
	struct state *st = state;
	int error = 0;

	end_phase(st);
	st->cpu = calloc(count ? count : 1, sizeof(*st->cpu));
	if (!st->cpu)
		return -ENOMEM;
	st->ring_bytes = RING_BYTES;
	while (st->ring_bytes > RING_BYTES_LEAST && st->ring_bytes * count > ALL_BYTES)
		st->ring_bytes /= 2;
	allow_descriptors((rlim_t)count * st->points + 256);
	for (unsigned int i = 0; i < count; i++) {
		st->cpu[i].number = cpus[i];
		memset(st->cpu[i].fd, -1, sizeof(st->cpu[i].fd));
	}
	st->cpus = count;
	for (unsigned int i = 0; !error && i < count; i++)
		error = open_cpu(st, &st->cpu[i]);
	for (unsigned int i = 0; !error && i < count; i++)
		for (unsigned int p = 0; p < st->points; p++)
			ioctl(st->cpu[i].fd[p], PERF_EVENT_IOC_ENABLE, 0);
	if (error)
		end_phase(st);
	/* Enabling an event interrupts its CPU, which those before tell. */
	for (unsigned int i = 0; i < st->cpus; i++) {
		struct cpu *c = &st->cpu[i];

		consume(st, c, NULL, 0);
		memset(&c->tally, 0, sizeof(c->tally));
		c->in_handler = false;
	}
	return error == -EINVAL || error == -ENODEV ? -ERANGE : error;
}

/* An interrupt between a hit's stamp and its record puts them out of order. */
static void sort_by_time(struct tm_event *events, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct tm_event e = events[i];
		size_t j = i;

		for (; j && events[j - 1].time_ns > e.time_ns; j--)
			events[j] = events[j - 1];
		events[j] = e;
	}
}

static size_t perf_drain(void *state, unsigned int cpu, struct tm_event *events, size_t capacity)
{
	struct state *st = state;

	for (unsigned int i = 0; i < st->cpus; i++)
		if (st->cpu[i].number == cpu) {
			size_t n = consume(st, &st->cpu[i], events, capacity);

			sort_by_time(events, n);
			return n;
		}
	return 0;
}

/* PERF_RECORD_LOST will not do: it waits for the next record that fits. */
static uint64_t lost_hits(int fd)
{
	struct {
		uint64_t value, lost;
	} r;

	return read(fd, &r, sizeof(r)) == sizeof(r) ? r.lost : 0;
}

static int perf_stop(void *state, tm_probe_each *each, void *into, uint64_t *lost)
{
	struct state *st = state;

	/* First: disabling, reading and closing an event interrupts its CPU. */
	for (unsigned int i = 0; i < st->cpus; i++)
		consume(st, &st->cpu[i], NULL, 0);
	for (unsigned int i = 0; i < st->cpus; i++) {
		each(into, st->cpu[i].number, &st->cpu[i].tally);
		*lost += st->cpu[i].lost;
		for (unsigned int p = 0; p < st->points; p++)
			*lost += lost_hits(st->cpu[i].fd[p]);
	}
	end_phase(st);
	return 0;
}

static struct tm_probe_abilities perf_abilities(const void *state)
{
	const struct state *st = state;

	return (struct tm_probe_abilities){
		.functions = st->csd,
		.events = st->csd || st->vector,
		.columns = false,
	};
}

const struct tm_probe_ops tm_probe_perf = {
	.open = perf_open,
	.close = perf_close,
	.attach = perf_attach,
	.detach = perf_detach,
	.start = perf_start,
	.drain = perf_drain,
	.stop = perf_stop,
	.abilities = perf_abilities,
};
