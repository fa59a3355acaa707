// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * dma_window: how long a device can still write to memory that was unmapped.
 * In lazy mode an IOMMU's IOTLB keeps a translation until the flush queue is
 * flushed: when it is full (256 unmaps on a CPU), or by a timer of 10 ms, rounded
 * up to ticks and one more. Needs the module tlbmark_dma and an edu device.
 *
 * One operation: the device is told to write, which it does 100 ms later, and
 * the buffer is unmapped shortly before. Timed is that dma_unmap_single(). What
 * became of the write is one look at the dead translation: it landed, so the
 * translation was still used that long after the unmap; or it was blocked. How
 * long before is another each time, so that the looks make a curve: the share
 * of translations that are stale at time t.
 *
 * A look's age is known to about 0.1 ms: landed writes count with the least,
 * blocked ones with the most that it can have been. The buffer is the module's
 * own until the device has ended, so nothing is harmed.
 *
 * It does not tell how long a translation stays in an IOTLB that needs its
 * place: the device uses one only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <tlbmark/uapi_dma.h>
#include <tlbmark/workload.h>

#include "iommu.h"
#include "kmod.h"

enum { MODE, LEAD, OTHERS, BYTES };
/* For the interrupt of a fault: as long as the device needs for a write. */
enum { FAULT_PAUSE_NS = 1000000, FAULT_PAUSES = 100 };
enum { MOST_LATE = 4 }; /* looks of a verification that were too late for the write */

static const struct tm_param params[] = {
	[MODE] = {.name = "mode",
		  .unit = "",
		  .help = "of the IOMMU",
		  .kind = TM_PARAM_CHOICE,
		  .choices = iommu_modes,
		  .def = "current",
		  .full = "strict,lazy,passthrough"},
	[LEAD] = {.name = "lead",
		  .unit = "us",
		  .help = "unmapped up to so long before the write, another time each",
		  .kind = TM_PARAM_UINT,
		  .min = 1,
		  .max = TM_DMA_LEAD_MAX_NS / 1000,
		  .def = "20000"},
	[OTHERS] = {.name = "others",
		    .unit = "unmaps",
		    .help = "of other memory right after, which fill the flush queue",
		    .kind = TM_PARAM_UINT,
		    .min = 0,
		    .max = TM_DMA_OTHERS_MAX,
		    .def = "0",
		    .full = "0,1024"},
	/* Eight are one access, and one fault where they are blocked. */
	[BYTES] = {.name = "bytes",
		   .unit = "bytes",
		   .help = "that the device writes",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = TM_DMA_TRANSFER_MAX,
		   .def = "8"},
	{.name = NULL},
};

enum { EARLY, LANDED, BLOCKED, BLOCKED_WATCHED, FAULT_INTERRUPTS };
static const char *const counters[] = {"early",		  "landed",	      "blocked",
				       "blocked_watched", "fault_interrupts", NULL};

struct state {
	int fd;
	enum tm_dma_domain domain;
	bool watched;  /* interrupts of faults can be counted here */
	uint64_t lead; /* of the next look, in 2^-64 of the longest */
};

/*
 * Steps of the golden ratio from where the seed begins: no pattern, and yet the
 * leads of a few looks lie well spread.
 */
static uint32_t next_lead_ns(struct state *s, uint64_t longest_us)
{
	s->lead += 0x9e3779b97f4a7c15ull;
	return (uint32_t)((s->lead >> 32) * (longest_us * 1000) >> 32);
}

static int probe(char *why, size_t why_size)
{
	return kmod_probe("dma", why, why_size);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	struct iommu_device d;
	const char *reason = NULL;

	iommu_find(&d);
	if (!d.name[0])
		reason = "no edu device here, whose transfers could be watched: 'tlbmark lab run "
			 "--iommu lazy' has one";
	else if (c->initiators > 1)
		reason = "the device does one transfer at a time: --initiators 1";
	if (!reason)
		return iommu_probe(&d, (enum iommu_mode)c->values[MODE], why, why_size);
	snprintf(why, why_size, "%s", reason);
	return -ENOTSUP;
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	struct iommu_device d;

	iommu_find(&d);
	return iommu_knob(&d, (enum iommu_mode)c->values[MODE], s);
}

static int setup(struct tm_thread *t, void **state)
{
	struct state *s = calloc(1, sizeof(*s));
	struct iommu_device d;
	uint64_t faults;

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->fd = kmod_open(t, "dma");
	if (s->fd < 0)
		return s->fd;
	s->watched = !iommu_faults(&faults);
	s->lead = tm_random(t);
	iommu_find(&d);
	return iommu_attach(t, s->fd, &d, (enum iommu_mode)t->cell->values[MODE], &s->domain);
}

/* `v` is NULL while it measures. */
static int look(struct tm_thread *t, const struct state *s, struct tm_dma_window *w,
		struct tm_verdict *v)
{
	static const char astray[] =
		"the device wrote where its address had led before it was mapped";

	w->bytes = (uint32_t)t->cell->values[BYTES];
	if (ioctl(s->fd, TM_DMA_WINDOW, w))
		return tm_fail(t, -errno, "a write of %u bytes by the device", w->bytes);
	if (v)
		tm_check(v, w->outcome != TM_DMA_ASTRAY, astray);
	else if (w->outcome == TM_DMA_ASTRAY)
		return tm_fail(t, -EIO, astray);
	return 0;
}

static void count(struct tm_thread *t, const struct state *s, const struct tm_dma_window *w,
		  uint64_t fault_interrupts)
{
	switch (w->outcome) {
	case TM_DMA_LANDED:
		tm_count(t, LANDED, 1);
		tm_look(t, w->age_least_ns, true);
		break;
	case TM_DMA_BLOCKED:
		tm_count(t, BLOCKED, 1);
		tm_count(t, BLOCKED_WATCHED, s->watched);
		tm_look(t, w->age_most_ns, false);
		break;
	default:
		tm_count(t, EARLY, 1);
	}
	tm_count(t, FAULT_INTERRUPTS, fault_interrupts);
}

/*
 * Fault interrupts since `before`. That of a blocked write comes on its own way,
 * perhaps to another CPU, and may come after the device has said that it is done.
 */
static uint64_t faults_since(const struct state *s, uint64_t before, bool blocked)
{
	const struct timespec pause = {.tv_nsec = FAULT_PAUSE_NS};
	uint64_t now = before;

	iommu_faults(&now);
	for (int i = 0; blocked && s->watched && now == before && i < FAULT_PAUSES; i++) {
		nanosleep(&pause, NULL);
		iommu_faults(&now);
	}
	return now - before;
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	uint64_t before = 0;

	while (tm_more(t)) {
		struct tm_dma_window w = {
			.lead_ns = next_lead_ns(s, t->cell->values[LEAD]),
			.others = (uint32_t)t->cell->values[OTHERS],
		};
		int rc;

		iommu_faults(&before);
		tm_arm(t);
		rc = look(t, s, &w, NULL);
		if (rc)
			return rc;
		tm_commit(t, w.unmap.begin_ticks, w.unmap.begin_ticks + w.unmap.op_ticks,
			  w.unmap.pages);
		count(t, s, &w, faults_since(s, before, w.outcome == TM_DMA_BLOCKED));
	}
	return 0;
}

/* Did the write come late enough to tell whether the translation was dead? */
static bool is_conclusive(const struct state *s, const struct tm_dma_window *w)
{
	if (w->outcome == TM_DMA_EARLY || w->outcome == TM_DMA_ASTRAY)
		return false;
	return s->domain != TM_DMA_LAZY || w->outcome != TM_DMA_LANDED ||
	       w->age_least_ns >= w->others_ns;
}

/*
 * Strict: what is unmapped is dead. Lazy: once more have followed than a flush
 * queue holds, it is flushed. Passthrough, or no IOMMU: nothing is in the way.
 * A look that was too late for the write, or too early to tell, is made again with more time.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	const struct state *s = state;
	bool lazy = s->domain == TM_DMA_LAZY;
	uint64_t looks = 0;
	unsigned int late = 0;

	while (looks < 1 + v->rounds / 8 && late < MOST_LATE) {
		struct tm_dma_window w = {
			.lead_ns = lazy ? 60000000 + late * 10000000 : 5000000u << late,
			.others = lazy ? 1024 : 0,
		};
		int rc = look(t, s, &w, v);

		if (rc)
			return rc;
		if (!is_conclusive(s, &w)) {
			late++;
			continue;
		}
		looks++;
		if (s->domain == TM_DMA_STRICT)
			tm_check(v, w.outcome != TM_DMA_LANDED,
				 "the device wrote %llu ns after a strict unmap had returned",
				 (unsigned long long)w.age_least_ns);
		else if (lazy)
			tm_check(v, w.outcome != TM_DMA_LANDED,
				 "the device wrote %llu ns after an unmap that %u others followed",
				 (unsigned long long)w.age_least_ns, w.others);
		else if (w.outcome == TM_DMA_BLOCKED)
			return tm_fail(t, -EIO, "a write was blocked where no IOMMU translates");
		else
			tm_checked(v, 1);
	}
	if (!looks)
		tm_unchecked(v, "no write of the device came when it could tell");
	return 0;
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

const struct tm_workload tm_workload_dma_window = {
	.name = "dma_window",
	.summary = "how long a device can still write to what was unmapped",
	.op = "dma_unmap of a buffer that the device is about to write to",
	.flushes = "fq_flush_iotlb",
	.needs = TM_NEEDS_ROOT | TM_NEEDS_KMOD,
	.gate = TM_GATE_NONE,
	.no_control = true, /* no CPU is interrupted */
	.switches = true,   /* it waits for the device */
	.params = params,
	.counters = counters,
	.probe = probe,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = setup,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
