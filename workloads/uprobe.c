// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * uprobe: a breakpoint is put into code that processes have mapped, as perf and
 * bpftrace do to what runs, and is taken out again.
 *
 * Timed: one perf_event_open(2) of the dynamic PMU `uprobe` for this task, which
 * returns with the breakpoint in place (--how set), or the close() of that event
 * (--how clear), which has taken it out when it returns: both change the page
 * themselves, and neither leaves it to a worker. The other half is not timed.
 * The kernel never stores to the page of the file. It puts a private copy with
 * the breakpoint into each process that maps it and that the event is for
 * (uprobe_write_opcode() -> __replace_page() -> ptep_clear_flush()), and when
 * the breakpoint goes, takes the copy away by the same way. Since Linux 6.16 the
 * copy is made by a fault (wp_page_copy() -> ptep_clear_flush()) and changed in
 * place between two more steps, the first of which flushes once more; and it is
 * taken away only where nobody else has a reference to it, otherwise it stays
 * with the old instruction.
 *
 * Nobody runs into the breakpoint, so its trap and the single step behind it
 * are not measured. Nor is this the cost of the flush alone, which is a small part:
 * the event itself is made and freed, and mostly the kernel waits until every CPU
 * has passed through a quiescent state, once or more (dup_mmap_sem for writing,
 * tracepoint_synchronize_unregister(), uprobe_unregister_sync()): milliseconds,
 * which the controls wait as well. Another event, of a place that is not mapped,
 * stays open meanwhile: the first of all patches the kernel's own code, which
 * interrupts every CPU.
 *
 * The wait at the end of a clear sends interrupts of its own on kernels with tasks
 * trace RCU there (trc_read_check_handler(); Linux 6.12 has it, 6.1 not): one or two
 * a CPU, on controls too. The delivered ratio of --how clear is met by those alone;
 * what tells that it was flushed is the kernel's count of flushes, of the probe bpf.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "witness.h"

#define PMU_TYPE "/sys/bus/event_source/devices/uprobe/type"

/*
 * An instruction that does nothing, at the start of a word of 8 bytes whose
 * rest is free, and what stands there when it has a breakpoint. Bytes are in
 * the order of both processors, the lowest first.
 */
#if defined(__x86_64__)
#define INSTRUCTION_BITS 8
#define INSTRUCTION UINT64_C(0x90)
#define BREAKPOINT UINT64_C(0xcc)
#elif defined(__aarch64__)
#define INSTRUCTION_BITS 32
#define INSTRUCTION UINT64_C(0xd503201f)
#define BREAKPOINT UINT64_C(0xd42000a0) /* brk #5, UPROBES_BRK_IMM */
#endif

enum { HOW };
enum { HOW_SET, HOW_CLEAR };
static const char *const hows[] = {"set", "clear", NULL};

static const struct tm_param params[] = {
	[HOW] = {.name = "how",
		 .unit = "",
		 .help = "the half that is timed: the breakpoint is set, or cleared",
		 .kind = TM_PARAM_CHOICE,
		 .choices = hows,
		 .def = "set",
		 .plan = "set,clear"},
	{.name = NULL},
};

struct slot {
	uint32_t type; /* of the PMU */
	size_t page_bytes;
	int file;      /* two pages: the one that is mapped, one for the other event */
	int memory;    /* /proc/self/mem: what the page tables say */
	int anchor;    /* the other event */
	int event;     /* -1: no breakpoint is set */
	char path[32]; /* of the file, which has no name */
	char *page;
};

struct state {
	unsigned int count;
	struct slot slot[];
};

/* Cannot be mistaken for another word: `stamp` stands behind the instruction. */
static uint64_t code(uint64_t stamp)
{
	return stamp << INSTRUCTION_BITS | INSTRUCTION;
}

static uint64_t probed(uint64_t word)
{
	return word - INSTRUCTION + BREAKPOINT;
}

static int write_code(const struct slot *s, size_t offset, uint64_t word)
{
	errno = EIO; /* of a short write */
	return pwrite(s->file, &word, sizeof(word), (off_t)offset) == sizeof(word) ? 0 : -errno;
}

/* ---- the breakpoint ---- */

static struct perf_event_attr event_attr(const struct slot *s, size_t offset)
{
	struct perf_event_attr attr = {.type = s->type, .size = sizeof(attr)};

	attr.uprobe_path = (uintptr_t)s->path;
	attr.probe_offset = offset;
	attr.disabled = 1; /* nothing is to be counted; the breakpoint is there all the same */
	return attr;
}

/* For this task alone: other processes get no breakpoint. The descriptor, or -1. */
static inline int event_open(struct perf_event_attr *attr)
{
	return (int)syscall(SYS_perf_event_open, attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static int set(struct slot *s, size_t offset)
{
	struct perf_event_attr attr = event_attr(s, offset);

	s->event = event_open(&attr);
	return s->event < 0 ? -errno : 0;
}

static int clear(struct slot *s)
{
	int fd = s->event;

	s->event = -1;
	return close(fd) ? -errno : 0;
}

/*
 * The page of the file again, whatever the last breakpoint left here, and in
 * this CPU's TLB.
 */
static int renew(struct slot *s)
{
	int flags = s->page ? MAP_PRIVATE | MAP_FIXED : MAP_PRIVATE;
	char *got = mmap(s->page, s->page_bytes, PROT_READ | PROT_EXEC, flags, s->file, 0);

	if (got == MAP_FAILED)
		return -errno;
	s->page = got;
	(void)*(volatile char *)s->page;
	return 0;
}

/* ---- the workload ---- */

static void slot_close(struct slot *s)
{
	const int fds[] = {s->event, s->anchor, s->memory, s->file};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (s->page)
		munmap(s->page, s->page_bytes);
}

/* What failed is named in *what; *s can be closed in any case. */
static int slot_open(struct slot *s, const char **what)
{
	struct perf_event_attr attr;
	FILE *f = fopen(PMU_TYPE, "re");
	bool found = f && fscanf(f, "%" SCNu32, &s->type) == 1;
	int rc;

	if (f)
		fclose(f);
	s->file = s->memory = s->anchor = s->event = -1;
	s->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	*what = "no " PMU_TYPE ": needs CONFIG_UPROBE_EVENTS";
	if (!found)
		return -ENOTSUP;
	*what = "a file in memory, needs CONFIG_MEMFD_CREATE";
	s->file = memfd_create("tlbmark", MFD_CLOEXEC);
	if (s->file < 0 || ftruncate(s->file, 2 * (off_t)s->page_bytes))
		return -errno;
	snprintf(s->path, sizeof(s->path), "/proc/self/fd/%d", s->file);
	*what = "writing code to a file";
	rc = write_code(s, 0, code(0));
	rc = rc ? rc : write_code(s, s->page_bytes, code(0));
	if (rc)
		return rc;
	*what = "a uprobe, needs CAP_PERFMON: run as root";
	attr = event_attr(s, s->page_bytes);
	s->anchor = event_open(&attr);
	if (s->anchor < 0)
		return -errno;
	*what = "mapping a file with the permission to execute it";
	return renew(s);
}

/* Tries it: nothing else tells all that may forbid it. */
static int probe(char *why, size_t why_size)
{
	struct slot s = {0};
	const char *what;
	int rc = slot_open(&s, &what);

	if (!rc) {
		what = "a breakpoint in mapped code";
		rc = set(&s, 0);
		if (!rc && *(volatile uint64_t *)s.page != probed(code(0)))
			rc = -ENOTSUP;
	}
	slot_close(&s);
	if (rc == -ENOTSUP)
		snprintf(why, why_size, "%s", what);
	else if (rc)
		snprintf(why, why_size, "%s: %s", what, strerror(-rc));
	return rc ? -ENOTSUP : 0;
}

static int setup(struct tm_thread *t, void **out)
{
	unsigned int n = t->cell->initiators;
	struct state *s = calloc(1, sizeof(*s) + n * sizeof(s->slot[0]));

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for %u initiators", n);
	*out = s;
	for (; s->count < n; s->count++) {
		const char *what;
		int rc = slot_open(&s->slot[s->count], &what);

		if (rc) {
			slot_close(&s->slot[s->count]);
			return tm_fail(t, rc, "%s", what);
		}
	}
	return 0;
}

static int operate_set(struct tm_thread *t, struct slot *s)
{
	struct perf_event_attr attr = event_attr(s, 0);

	while (tm_more(t)) {
		int rc = renew(s);

		if (rc)
			return tm_fail(t, rc, "mapping the code");
		tm_publish(t, s->page, s->page_bytes, s->page_bytes);
		tm_begin(t);
		s->event = event_open(&attr);
		tm_end(t, 1);
		if (s->event < 0)
			return tm_fail(t, -errno, "perf_event_open of a uprobe");
		rc = clear(s);
		if (rc)
			return tm_fail(t, rc, "closing the uprobe");
	}
	return 0;
}

static int operate_clear(struct tm_thread *t, struct slot *s)
{
	while (tm_more(t)) {
		int rc = renew(s);

		rc = rc ? rc : set(s, 0);
		if (rc)
			return tm_fail(t, rc, "setting a uprobe");
		tm_publish(t, s->page, s->page_bytes, s->page_bytes);
		tm_begin(t);
		rc = clear(s);
		tm_end(t, 1);
		if (rc)
			return tm_fail(t, rc, "closing the uprobe");
	}
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct slot *s = &((struct state *)state)->slot[t->index];

	return t->cell->values[HOW] == HOW_CLEAR ? operate_clear(t, s) : operate_set(t, s);
}

/* ---- the oracle ---- */

/* By the page tables: no CPU's translation is asked for. */
static int in_memory(const struct slot *s, const volatile uint64_t *word, uint64_t *value)
{
	errno = EIO;
	return pread(s->memory, value, sizeof(*value), (off_t)(uintptr_t)word) == sizeof(*value)
		       ? 0
		       : -errno;
}

/*
 * The kernel since 6.16 keeps the page while something else has a reference to
 * it, and a list of this CPU's has one: of pages that are new, or that were just
 * found to be in use. After three looks it is known to be in use, and advice
 * on any other page empties the lists. A kernel that knows no such advice may
 * keep the page.
 */
static int settle(const struct slot *s, const volatile uint64_t *word)
{
	uint64_t seen;
	void *other;
	int rc = 0;

	for (int i = 0; i < 3 && !rc; i++)
		rc = in_memory(s, word, &seen);
	if (rc)
		return rc;
	other = mmap(NULL, s->page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (other == MAP_FAILED)
		return -errno;
	madvise(other, s->page_bytes, MADV_COLD);
	return munmap(other, s->page_bytes) ? -errno : 0;
}

/* Is the private copy gone? Then what is written to the file is what all must see. */
static int check_gone(struct tm_thread *t, struct slot *s, const volatile uint64_t *word,
		      struct tm_verdict *v)
{
	uint64_t value = code(tm_random(t)), seen;
	int rc = write_code(s, (size_t)((const volatile char *)word - s->page), value);

	rc = rc ? rc : in_memory(s, word, &seen);
	if (rc)
		return rc;
	if (seen == value)
		return witness_all_read(t, word, value,
					"written to the file after the breakpoint was cleared", v);
	tm_unchecked(v, "whether a cleared page is forgotten: the kernel kept it, with the old "
			"instruction");
	return 0;
}

/* A kernel that did not do it is none that forgot a flush: this fails the run. */
static int must_hold(struct tm_thread *t, const struct slot *s, const volatile uint64_t *word,
		     uint64_t expected, const char *what)
{
	uint64_t seen;
	int rc = in_memory(s, word, &seen);

	if (rc || seen == expected)
		return rc;
	return tm_fail(t, -EIO, "the uprobe was not %s: %#" PRIx64 " and not %#" PRIx64, what, seen,
		       expected);
}

/*
 * All read the page of the file; then the breakpoint is set, and who reads the old
 * instruction has used a translation that is gone. The same when it is cleared; but
 * since Linux 6.16 the page that goes has the old instruction by then, so the
 * file gets another word behind it, which that page has not.
 */
static int check(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	size_t offset = tm_random(t) % (s->page_bytes / sizeof(uint64_t)) * sizeof(uint64_t);
	uint64_t value = code(tm_random(t));
	const volatile uint64_t *word;
	int rc = renew(s);

	word = (const volatile uint64_t *)(s->page + offset);
	rc = rc ? rc : write_code(s, offset, value);
	rc = rc ? rc : witness_all_read(t, word, value, "before the breakpoint was set", v);
	rc = rc ? rc : set(s, offset);
	rc = rc ? rc : must_hold(t, s, word, probed(value), "set");
	rc = rc ? rc : witness_all_read(t, word, probed(value), "after the breakpoint was set", v);
	rc = rc ? rc : settle(s, word);
	rc = rc ? rc : clear(s);
	rc = rc ? rc : must_hold(t, s, word, value, "cleared");
	rc = rc ? rc : witness_all_read(t, word, value, "after the breakpoint was cleared", v);
	return rc ? rc : check_gone(t, s, word, v);
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	struct oracle o = {.t = t, .v = v, .stride = s->page_bytes};
	int rc = 0;

	if (s->memory < 0)
		s->memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	if (s->memory < 0)
		return tm_fail(t, -errno, "opening /proc/self/mem");
	while (!rc && oracle_next(&o, s->page_bytes))
		rc = check(t, s, v);
	return rc ? tm_fail(t, rc, "checking a uprobe") : 0;
}

static void teardown(void *state)
{
	struct state *s = state;

	for (unsigned int i = 0; s && i < s->count; i++)
		slot_close(&s->slot[i]);
	free(s);
}

const struct tm_workload tm_workload_uprobe = {
	.name = "uprobe",
	.summary = "a breakpoint put into running code, and taken out",
	.op = "one uprobe set or cleared",
	.flushes = "uprobe_write_opcode -> ptep_clear_flush",
	.gate = TM_GATE_EVERY,
	.switches = true, /* both halves may wait for all CPUs */
	.params = params,
	.probe = probe,
	.setup = setup,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
