// SPDX-License-Identifier: GPL-3.0-or-later
/* A tracefs instance of our own, and what is kept of it. See trace.h. */
#include "trace.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tlbmark/arch.h>

enum {
	RING_KIB = 128, /* a CPU: some thousand events, in a storm a few milliseconds */
	DECISIVE_FLUSHES = 8,
};

struct tm_trace {
	int directory, on, marker;
	bool costly;
	bool has_csd; /* the handlers of cross calls tell whose function it was */
	char clock[16];
};

/* For tm_trace_stop(), in the run processes. */
static struct {
	int on, marker;
	_Atomic bool armed;
	_Atomic uint64_t returned_ticks; /* 0: nobody said */
} stopper = {.on = -1, .marker = -1};

/*
 * What a shootdown consists of. Handlers of cross calls are traced with the
 * function that they call where this kernel can (6.12, not 6.1), else as
 * interrupts. A handler that ran and has no tlb_flush in it found nothing to do:
 * a lazy CPU, or another mm.
 */
static const char *const costly_events[] = {
	"tlb/tlb_flush",     "sched/sched_switch",     "ipi/ipi_send_cpu", "ipi/ipi_send_cpumask",
	"csd/csd_queue_cpu", "csd/csd_function_entry", "ipi/ipi_raise", /* not x86 */
	"ipi/ipi_entry",
};
static const char *const without_csd[] = {
	"irq_vectors/call_function_entry",
	"irq_vectors/call_function_single_entry",
};

/*
 * What names an operation, and what a storm has none of: always there. System
 * calls are not: tracing one makes all of everybody's slower, and which it was the
 * violation says.
 */
static const char *const cheap_events[] = {
	"migrate/mm_migrate_pages",
	"migrate/set_migration_pte",
	"migrate/remove_migration_pte",
	"huge_memory/mm_collapse_huge_page",
	"huge_memory/mm_khugepaged_collapse_file",
	"thp/set_migration_pmd",
	"thp/remove_migration_pmd",
	"ksm/ksm_merge_one_page",
	"ksm/ksm_merge_with_ksm_page",
	"mmap/exit_mmap",
	"vmalloc/purge_vmap_area_lazy",
	"vmalloc/free_vmap_area_noflush",
	"iommu/unmap",
};

static int put(int directory, const char *file, const char *text)
{
	int fd = openat(directory, file, O_WRONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

/* How many of them this kernel has. */
static unsigned int enable(const struct tm_trace *t, const char *const *events, size_t n, bool on)
{
	unsigned int there = 0;
	char file[96];

	for (size_t i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "events/%s/enable", events[i]);
		there += !put(t->directory, file, on ? "1" : "0");
	}
	return there;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static unsigned int enable_costly(const struct tm_trace *t, bool on)
{
	unsigned int there = enable(t, costly_events, COUNT(costly_events), on);

	return there + (t->has_csd ? 0 : enable(t, without_csd, COUNT(without_csd), on));
}

static int fail(int error, char *why, size_t why_size, const char *what)
{
	snprintf(why, why_size, "%s of the kernel's trace: %s", what, strerror(-error));
	return error;
}

static int set_up(struct tm_trace *t, char *why, size_t why_size)
{
	char kib[16];
	int rc;

	snprintf(kib, sizeof(kib), "%d", RING_KIB);
	rc = put(t->directory, "buffer_size_kb", kib);
	if (rc)
		return fail(rc, why, why_size, "the size");
	snprintf(t->clock, sizeof(t->clock), "x86-tsc");
	if (put(t->directory, "trace_clock", t->clock)) {
		snprintf(t->clock, sizeof(t->clock), "mono");
		rc = put(t->directory, "trace_clock", t->clock);
	}
	if (rc)
		return fail(rc, why, why_size, "the clock");
	t->on = openat(t->directory, "tracing_on", O_RDWR | O_CLOEXEC);
	t->marker = openat(t->directory, "trace_marker", O_WRONLY | O_CLOEXEC);
	if (t->on < 0 || t->marker < 0)
		return fail(-errno, why, why_size, "the switch");
	t->has_csd = !faccessat(t->directory, "events/csd/csd_function_entry", F_OK, 0);
	t->costly = true;
	if (!enable_costly(t, true))
		return fail(-ENOENT, why, why_size, "the events");
	enable(t, cheap_events, COUNT(cheap_events), true);
	return 0;
}

int tm_trace_open(struct tm_sysstate *s, struct tm_trace **out, char *why, size_t why_size)
{
	struct tm_trace *t = calloc(1, sizeof(*t));
	char path[64];
	int rc;

	*out = NULL;
	if (!t)
		return fail(-ENOMEM, why, why_size, "the memory");
	t->directory = t->on = t->marker = -1;
	snprintf(path, sizeof(path), "tracefs:instances/tlbmark-%d", (int)getpid());
	rc = tm_sysstate_mkdir(s, path, why, why_size);
	if (!rc) {
		t->directory = tm_knob_open(path, O_PATH | O_DIRECTORY);
		rc = t->directory < 0 ? fail(t->directory, why, why_size, "the directory")
				      : set_up(t, why, why_size);
	}
	if (rc) {
		tm_trace_close(t);
		return rc;
	}
	stopper.on = t->on;
	stopper.marker = t->marker;
	*out = t;
	return 0;
}

void tm_trace_close(struct tm_trace *t)
{
	if (!t)
		return;
	atomic_store(&stopper.armed, false);
	stopper.on = stopper.marker = -1;
	if (t->on >= 0)
		close(t->on);
	if (t->marker >= 0)
		close(t->marker);
	if (t->directory >= 0)
		close(t->directory);
	free(t);
}

static bool is_on(const struct tm_trace *t)
{
	char c = '1';

	return pread(t->on, &c, 1, 0) == 1 && c == '1';
}

/* Empty again: the file is one that is truncated by opening it. */
static void clear(const struct tm_trace *t)
{
	int fd = openat(t->directory, "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
}

/* Where a trace cannot be had there is none: nobody is told. Async-signal-safe. */
static void say(int fd, const char *text, size_t n)
{
	ssize_t put = write(fd, text, n);

	(void)put;
}

void tm_trace_begin(struct tm_trace *t, const char *what, bool costly)
{
	char text[256];
	int n;

	if (!t)
		return;
	if (t->costly != costly)
		enable_costly(t, costly);
	t->costly = costly;
	if (!is_on(t)) {
		clear(t);
		say(t->on, "1", 1);
	}
	n = snprintf(text, sizeof(text), TM_TRACE_BEGINS "%s\n", what);
	say(t->marker, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
	atomic_store(&stopper.returned_ticks, 0);
	atomic_store(&stopper.armed, costly);
}

void tm_trace_returned(uint64_t ticks)
{
	atomic_store_explicit(&stopper.returned_ticks, ticks, memory_order_relaxed);
}

void tm_trace_stop(void)
{
	uint64_t now = tm_ticks(), returned = atomic_load(&stopper.returned_ticks);
	char text[128];
	int saved_errno = errno, n;

	if (!atomic_exchange(&stopper.armed, false))
		return;
	if (returned)
		n = snprintf(text, sizeof(text), TM_TRACE_SEEN ", %" PRIu64 TM_TRACE_AFTER "\n",
			     now - returned);
	else
		n = snprintf(text, sizeof(text), TM_TRACE_SEEN "\n");
	say(stopper.marker, text, (size_t)n);
	say(stopper.on, "0", 1);
	errno = saved_errno;
}

/* ---- lines ---- */

/* Digits, and where they end: NULL if there are none. */
static const char *number(const char *p, uint64_t *out)
{
	const char *begin = p;

	for (*out = 0; isdigit((unsigned char)*p); p++)
		*out = *out * 10 + (uint64_t)(*p - '0');
	return p == begin ? NULL : p;
}

/* "92935970343737:" or "92935.343737:" and then a blank. */
static const char *stamp(const char *p, struct tm_trace_line *out)
{
	uint64_t fraction, scale = 1000000000;
	const char *end;

	p = number(p, &out->stamp);
	out->is_time = p && *p == '.';
	if (out->is_time) {
		end = number(p + 1, &fraction);
		if (!end || end - p > 10)
			return NULL;
		out->stamp *= scale;
		for (p++; p < end; p++)
			scale /= 10;
		out->stamp += fraction * scale;
	}
	return p && p[0] == ':' && p[1] == ' ' ? p + 2 : NULL;
}

/* From the bracket on: "[001] d..1. STAMP: event". A comm may hold brackets, too. */
static const char *from_cpu(const char *p, struct tm_trace_line *out)
{
	uint64_t cpu;

	p = number(p + 1, &cpu);
	if (!p || p[0] != ']' || p[1] != ' ')
		return NULL;
	out->cpu = (unsigned int)cpu;
	for (p++; *p == ' '; p++)
		;
	p += strcspn(p, " ");
	while (*p == ' ')
		p++;
	return stamp(p, out);
}

int tm_trace_parse(const char *text, struct tm_trace_line *out)
{
	while (*text == ' ')
		text++;
	if (*text == '#')
		return -EINVAL;
	for (const char *p = strchr(text, '['); p; p = strchr(p + 1, '[')) {
		const char *end = p;

		if (p == text || p[-1] != ' ')
			continue;
		out->event = from_cpu(p, out);
		if (!out->event)
			continue;
		while (end > text && end[-1] == ' ')
			end--;
		out->task = text;
		out->task_bytes = (int)(end - text);
		return 0;
	}
	return -EINVAL;
}

static bool concerns(const struct tm_trace_line *l, const unsigned int *cpus, size_t cpu_count)
{
	const size_t own = sizeof(TM_TRACE_TASK) - 1;

	for (size_t i = 0; i < cpu_count; i++) {
		if (l->cpu == cpus[i])
			return true;
	}
	return (size_t)l->task_bytes > own && !memcmp(l->task, TM_TRACE_TASK "-", own + 1);
}

static bool is_marker(const struct tm_trace_line *l, const char *text)
{
	const char *what = strstr(l->event, ": ");

	return what && !strncmp(l->event, "tracing_mark_write", 18) &&
	       !strncmp(what + 2, text, strlen(text));
}

static void forget(struct tm_trace_text *text)
{
	while (text->count)
		free(text->line[--text->count]);
}

/* The ring with its oldest line first: count lines, of which `next` is the oldest. */
static int unroll(struct tm_trace_text *text, size_t next)
{
	char **line = calloc(text->count + 1, sizeof(*line));

	if (!line)
		return -ENOMEM;
	for (size_t i = 0; i < text->count; i++)
		line[i] = text->line[(next + i) % text->count];
	free(text->line);
	text->line = line;
	return 0;
}

int tm_trace_choose(FILE *in, const unsigned int *cpus, size_t cpu_count, struct tm_trace_text *out)
{
	char *text = NULL;
	size_t size = 0, next = 0;
	int rc = 0;

	out->count = 0;
	out->line = calloc(TM_TRACE_LINES, sizeof(*out->line));
	if (!out->line)
		return -ENOMEM;
	while (!rc && getline(&text, &size, in) > 0) {
		struct tm_trace_line l;
		char *copy;

		text[strcspn(text, "\n")] = '\0';
		if (tm_trace_parse(text, &l))
			continue;
		/* What was before is of other bouts. */
		if (is_marker(&l, TM_TRACE_BEGINS)) {
			forget(out);
			next = 0;
		} else if (!is_marker(&l, TM_TRACE_SEEN) && !concerns(&l, cpus, cpu_count)) {
			continue;
		}
		copy = strdup(l.task);
		if (!copy) {
			rc = -ENOMEM;
			break;
		}
		if (out->count == TM_TRACE_LINES)
			free(out->line[next]);
		else
			out->count++;
		out->line[next] = copy;
		next = (next + 1) % TM_TRACE_LINES;
		if (is_marker(&l, TM_TRACE_SEEN))
			break;
	}
	free(text);
	if (!rc)
		rc = unroll(out, out->count == TM_TRACE_LINES ? next : 0);
	if (rc || !out->count)
		tm_trace_text_free(out);
	return rc;
}

void tm_trace_take(const struct tm_trace *t, const unsigned int *cpus, size_t cpu_count,
		   struct tm_trace_text *out)
{
	FILE *in;
	int fd;

	memset(out, 0, sizeof(*out));
	if (!t || !t->costly)
		return;
	/* Who saw it has done so, unless it was judged where no trace can be stopped. */
	say(t->on, "0", 1);
	fd = openat(t->directory, "trace", O_RDONLY | O_CLOEXEC);
	in = fd < 0 ? NULL : fdopen(fd, "r");
	if (!in) {
		if (fd >= 0)
			close(fd);
		return;
	}
	memcpy(out->clock, t->clock, sizeof(out->clock));
	tm_trace_choose(in, cpus, cpu_count, out);
	fclose(in);
}

void tm_trace_text_free(struct tm_trace_text *text)
{
	if (text->line)
		forget(text);
	free(text->line);
	text->line = NULL;
	text->count = 0;
}

/* Does this line tell of a flush, or of what takes pages away? */
static bool tells_of_flush(const char *event)
{
	static const char *const words[] = {"tlb", "migrat", "vmap_area", "collapse", "iommu"};

	for (size_t i = 0; i < COUNT(words); i++) {
		if (strstr(event, words[i]))
			return true;
	}
	return false;
}

/* The last line; then the newest ones that tell of flushes; then the newest of all. */
size_t tm_trace_decisive(const struct tm_trace_text *text, size_t most, size_t *index)
{
	bool *take = calloc(text->count + 1, sizeof(*take));
	size_t taken = 0, n = 0;

	if (!take || !text->count || !most) {
		free(take);
		return 0;
	}
	take[text->count - 1] = ++taken;
	for (int any = 0; any < 2; any++) {
		size_t limit = any || most < DECISIVE_FLUSHES ? most : DECISIVE_FLUSHES;

		for (size_t i = text->count - 1; i-- && taken < limit;) {
			struct tm_trace_line l;

			if (take[i] || tm_trace_parse(text->line[i], &l) ||
			    (!any && !tells_of_flush(l.event)))
				continue;
			take[i] = true;
			taken++;
		}
	}
	for (size_t i = 0; i < text->count; i++) {
		if (take[i])
			index[n++] = i;
	}
	free(take);
	return n;
}

/* How many ticks before the last line the operation had returned; 0: nobody said. */
static uint64_t returned_before(const struct tm_trace_line *last)
{
	static const char seen[] = TM_TRACE_SEEN ", ";
	const char *said = last->is_time ? NULL : strstr(last->event, seen), *end;
	uint64_t ticks;

	end = said ? number(said + sizeof(seen) - 1, &ticks) : NULL;
	return end && !strcmp(end, TM_TRACE_AFTER) ? ticks : 0;
}

void tm_trace_print(FILE *f, const struct tm_trace_text *text)
{
	size_t index[TM_TRACE_DECISIVE], n = tm_trace_decisive(text, TM_TRACE_DECISIVE, index);
	struct tm_trace_line last, l;
	uint64_t returned;

	if (!n || tm_trace_parse(text->line[text->count - 1], &last))
		return;
	returned = returned_before(&last);
	for (size_t i = 0; i < n; i++) {
		int64_t before;

		if (tm_trace_parse(text->line[index[i]], &l))
			continue;
		before = (int64_t)(last.stamp - l.stamp);
		if (returned && before < (int64_t)returned) {
			fprintf(f, "  %12" PRId64 " ticks  the operation had returned\n",
				-(int64_t)returned);
			returned = 0;
		}
		fprintf(f, "  %12" PRId64 " %s  CPU %u  %.*s  %s\n", -before,
			l.is_time ? "ns" : "ticks", l.cpu, l.task_bytes, l.task, l.event);
	}
}
