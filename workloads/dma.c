// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * dma: memory is mapped for a device, and unmapped. Behind an IOMMU the unmap
 * must invalidate the IOTLB: in strict mode before it returns, in lazy mode
 * later, for many at a time (a flush queue), and in passthrough there is none.
 * Needs the module tlbmark_dma.
 *
 * Timed, in the kernel: dma_map_single(), _page() or _sg() with its
 * dma_mapping_error(), dma_unmap_*(), or both; for coherent memory its
 * allocation and its freeing. --timed says which; the other half is outside
 * the clock. The flush is in the unmap.
 *
 * The IOTLB invalidations of the whole machine are counted beside: the
 * counters `iotlb_invalidations` over `unmaps_watched`. No CPU is interrupted:
 * responders only keep their CPUs busy.
 *
 * No device reads or writes the memory, but for the oracle: it sends bytes through the
 * edu device and back, and has it write to an address that means other memory since.
 * It does not measure what a device pays.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <tlbmark/uapi_dma.h>
#include <tlbmark/workload.h>

#include "iommu.h"
#include "kmod.h"

enum { HOW, BYTES, ENTRIES, DIRECTION, TIMED, MODE, DEVICE, BATCH };

static const char *const hows[] = {"single", "page", "sg", "coherent", NULL};
static const char *const directions[] = {"both", "to-device", "from-device", NULL};
static const char *const times[] = {"both", "map", "unmap", NULL};

enum device { DEVICE_AUTO, DEVICE_SOFTWARE };
static const char *const devices[] = {"auto", "software", NULL};

static const struct tm_param params[] = {
	[HOW] = {.name = "how",
		 .unit = "",
		 .help = "what is mapped",
		 .kind = TM_PARAM_CHOICE,
		 .choices = hows,
		 .def = "single",
		 .full = "single,page,sg,coherent"},
	[BYTES] = {.name = "bytes",
		   .unit = "bytes",
		   .help = "of the buffer, or of each entry",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = TM_DMA_BYTES_MAX,
		   .def = "4096",
		   .full = "64,4096,65536,1048576"},
	[ENTRIES] = {.name = "entries",
		     .unit = "",
		     .help = "of a scatterlist",
		     .kind = TM_PARAM_UINT,
		     .min = 1,
		     .max = TM_DMA_ENTRIES_MAX,
		     .def = "1"},
	[DIRECTION] = {.name = "direction",
		       .unit = "",
		       .help = "that the data would take",
		       .kind = TM_PARAM_CHOICE,
		       .choices = directions,
		       .def = "both"},
	[TIMED] = {.name = "timed",
		   .unit = "",
		   .help = "the half that is timed",
		   .kind = TM_PARAM_CHOICE,
		   .choices = times,
		   .def = "unmap",
		   .full = "map,unmap"},
	[MODE] = {.name = "mode",
		  .unit = "",
		  .help = "of the IOMMU",
		  .kind = TM_PARAM_CHOICE,
		  .choices = iommu_modes,
		  .def = "current",
		  .full = "strict,lazy,passthrough"},
	[DEVICE] = {.name = "device",
		    .unit = "",
		    .help = "an edu device where there is one, or the software one",
		    .kind = TM_PARAM_CHOICE,
		    .choices = devices,
		    .def = "auto"},
	[BATCH] = KMOD_BATCH_PARAM("64"),
	{.name = NULL},
};

enum { UNMAPS_WATCHED, IOTLB_INVALIDATIONS };
static const char *const counters[] = {"unmaps_watched", "iotlb_invalidations", NULL};

struct state {
	int fd;
	struct tm_dma_run request;
	enum tm_dma_domain domain;
	bool edu;
	struct iommu_counter *counter; /* NULL: cannot be counted here */
	pthread_mutex_t lock;	       /* of counted */
	uint64_t counted;	       /* invalidations that a batch was given already */
};

static void find_device(const struct tm_cell_args *c, struct iommu_device *d)
{
	*d = (struct iommu_device){.name = ""};
	if (c->values[DEVICE] == DEVICE_AUTO)
		iommu_find(d);
}

static int probe(char *why, size_t why_size)
{
	return kmod_probe("dma", why, why_size);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	struct iommu_device d;
	const char *reason = NULL;

	if (c->values[HOW] != TM_DMA_SG && c->values[ENTRIES] != 1)
		reason = "only a scatterlist has entries: --how sg";
	else if (c->values[BYTES] * c->values[ENTRIES] > TM_DMA_BYTES_MAX)
		reason = "at most 4 MiB of all entries together";
	else if (c->values[HOW] == TM_DMA_COHERENT && c->values[DIRECTION])
		reason = "coherent memory has no direction: --direction both";
	if (reason) {
		snprintf(why, why_size, "%s", reason);
		return -ENOTSUP;
	}
	find_device(c, &d);
	return iommu_probe(&d, (enum iommu_mode)c->values[MODE], why, why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	struct iommu_device d;

	find_device(c, &d);
	return iommu_knob(&d, (enum iommu_mode)c->values[MODE], s);
}

static int setup(struct tm_thread *t, void **state)
{
	const uint64_t *value = t->cell->values;
	struct state *s = calloc(1, sizeof(*s));
	struct iommu_device d;
	int rc;

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	pthread_mutex_init(&s->lock, NULL);
	s->fd = kmod_open(t, "dma");
	if (s->fd < 0)
		return s->fd;
	find_device(t->cell, &d);
	s->edu = d.name[0];
	rc = iommu_attach(t, s->fd, &d, (enum iommu_mode)value[MODE], &s->domain);
	if (rc)
		return rc;
	s->request.how = (uint32_t)value[HOW];
	s->request.timed = (uint32_t)value[TIMED];
	s->request.direction = (uint32_t)value[DIRECTION];
	s->request.bytes = (uint32_t)value[BYTES];
	s->request.entries = (uint32_t)value[ENTRIES];
	s->counter = iommu_counter_open();
	if (s->counter)
		s->counted = iommu_counter_read(s->counter);
	return 0;
}

/* Those since whoever counted last: each is counted once, whichever thread's it was. */
static uint64_t invalidations(struct state *s)
{
	uint64_t now, n;

	pthread_mutex_lock(&s->lock);
	now = iommu_counter_read(s->counter);
	n = now - s->counted;
	s->counted = now;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct tm_dma_run request = s->request;
	int rc = kmod_operate(t, s->fd, TM_DMA_RUN, &request.run, (uint32_t)t->cell->values[BATCH]);

	if (!rc && s->counter) {
		tm_count(t, UNMAPS_WATCHED, t->count);
		tm_count(t, IOTLB_INVALIDATIONS, invalidations(s));
	}
	return rc;
}

/* From the unmap to the device's write. */
enum { SHORT_NS = 3000000, LONG_NS = 40000000 };

/*
 * An address that is mapped again means what it is mapped to now, also for a write that
 * the edu device had under way. Where nothing translates there is nothing to check,
 * nor where the address does not come back in time. 200 ms a look, and 100 more once.
 *
 * Strict, because the IOTLB was told of the unmap, and lazy, because the address is not
 * given again before it was. The module fills the queue, so that it is; where it came
 * back too early, a timer's flush after 10 ms would hide that. So the write comes sooner,
 * as a rule: some 400 maps fit into 3 ms, and into 40 on the slowest machine.
 */
static int verify_reuse(struct tm_thread *t, int fd, enum tm_dma_domain domain,
			struct tm_verdict *v)
{
	bool late = false;

	if (domain != TM_DMA_STRICT && domain != TM_DMA_LAZY)
		return 0;
	for (uint64_t i = 0; i < 1 + v->rounds / 8; i++) {
		struct tm_dma_reuse reuse = {
			.bytes = 1 + (uint32_t)(tm_random(t) % TM_DMA_TRANSFER_MAX),
			.lead_ns = (1 + (uint32_t)(tm_random(t) % 3)) * SHORT_NS,
			.maps_most = TM_DMA_REUSE_MAPS_MAX,
		};

		if (late || !(tm_random(t) % 8))
			reuse.lead_ns = LONG_NS;
		if (ioctl(fd, TM_DMA_REUSE, &reuse)) {
			if (errno == EOPNOTSUPP)
				return 0; /* bounce buffers */
			return tm_fail(t, -errno, "a write of %u bytes", reuse.bytes);
		}
		late = reuse.outcome == TM_DMA_EARLY;
		if (late)
			continue;
		tm_check(v, reuse.outcome == TM_DMA_LANDED,
			 "%u bytes that the device wrote to an address arrived %s, the address "
			 "given again by map %u after its unmap",
			 reuse.bytes,
			 reuse.outcome == TM_DMA_BLOCKED ? "nowhere" : "where it had led before",
			 reuse.maps);
	}
	return 0;
}

static int verify_moves(struct tm_thread *t, int fd, uint64_t moves, struct tm_verdict *v)
{
	while (moves--) {
		struct tm_dma_move move = {
			.seed = tm_random(t),
			.bytes = 1 + (uint32_t)(tm_random(t) % TM_DMA_TRANSFER_MAX),
		};

		if (ioctl(fd, TM_DMA_MOVE, &move))
			return tm_fail(t, -errno, "moving %u bytes", move.bytes);
		tm_check(v, !move.wrong_bytes, "%u of %u bytes came back from the device as others",
			 move.wrong_bytes, move.bytes);
	}
	return 0;
}

/* A transfer takes 100 ms: fewer rounds than memory is worth, and of a few none is moved. */
static int verify_device(struct tm_thread *t, int fd, enum tm_dma_domain domain,
			 struct tm_verdict *v)
{
	uint64_t before = v->checks;
	int rc = verify_reuse(t, fd, domain, v);

	return rc ? rc : verify_moves(t, fd, v->rounds / 8 + (v->checks == before), v);
}

/* Strict: not an unmap without its invalidation. Others' devices may add to them. */
static int verify_strict(struct tm_thread *t, struct state *s, struct tm_verdict *v)
{
	struct tm_dma_run request = s->request;
	uint64_t seen;

	request.run.operations = (uint32_t)(1 + v->rounds);
	invalidations(s);
	if (ioctl(s->fd, TM_DMA_RUN, &request))
		return tm_fail(t, -errno, "unmapping");
	seen = invalidations(s);
	tm_check(v, seen >= request.run.done, "%llu invalidations of the IOTLB for %u unmaps",
		 (unsigned long long)seen, request.run.done);
	return 0;
}

/* The edu device, where the software one is measured: as its IOMMU is. */
static int verify_other(struct tm_thread *t, struct tm_verdict *v)
{
	enum tm_dma_domain domain;
	struct iommu_device d;
	char why[192];
	int fd, rc;

	iommu_find(&d);
	if (!d.name[0] || iommu_probe(&d, IOMMU_CURRENT, why, sizeof(why)))
		return 0;
	fd = kmod_open(t, "dma");
	if (fd < 0)
		return fd;
	rc = iommu_attach(t, fd, &d, IOMMU_CURRENT, &domain);
	if (!rc)
		rc = verify_device(t, fd, domain, v);
	close(fd);
	return rc;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;
	int rc = 0;

	if (s->domain == TM_DMA_STRICT && s->counter)
		rc = verify_strict(t, s, v);
	if (rc)
		return rc;
	return s->edu ? verify_device(t, s->fd, s->domain, v) : verify_other(t, v);
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	iommu_counter_close(s->counter);
	if (s->fd >= 0)
		close(s->fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

const struct tm_workload tm_workload_dma = {
	.name = "dma",
	.summary = "memory mapped for a device, and unmapped",
	.op = "dma_map, dma_unmap, or both",
	.flushes = "__iommu_dma_unmap",
	.needs = TM_NEEDS_ROOT | TM_NEEDS_KMOD,
	.gate = TM_GATE_NONE,
	.no_control = true, /* no CPU is interrupted */
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
