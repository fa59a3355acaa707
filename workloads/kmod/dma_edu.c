// SPDX-License-Identifier: GPL-2.0
/*
 * The driver of QEMU's edu device, the one whose transfers can be made, timed
 * and looked at (docs/specs/edu.rst of QEMU). See dma.h.
 *
 * The driver is registered as long as the module is loaded, but refuses every
 * device that no descriptor asked for. Memory that the device was told of is
 * two pages, kept until the module is unloaded for whoever is next: where a flush of
 * the IOTLB is forgotten, its writes go to one of them all the same. They lie in
 * ZONE_DMA: an edu device that was not told otherwise cuts addresses off at 28
 * bits, and would write to other memory where no IOMMU is in the way. On x86
 * that zone ends below, at 24 bits; on arm64 it does not (up to 32 bits), so
 * without an IOMMU the device must have been given its dma_mask there.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/hrtimer.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

#include "device.h"
#include "dma.h"

#define EDU_VENDOR 0x1234
#define EDU_DEVICE 0x11e8

#define EDU_ID 0x00 /* RRrr00ed: revision */
#define EDU_DMA_FROM 0x80
#define EDU_DMA_TO 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define EDU_RUN 1
#define EDU_TO_MEMORY 2
#define EDU_BUFFER 0x40000 /* the device's own memory, as a transfer names it */

#define EDU_TRANSFER_NS (100 * NSEC_PER_MSEC)
#define EDU_SETTLE_MS 2000 /* then something is wrong with it */

/* All that a device reads and writes. */
struct tm_edu_pages {
	struct list_head list;
	u8 *one, *other;
};

struct tm_edu {
	struct list_head list;
	struct pci_dev *pci;
	void __iomem *io;
	unsigned int users;	      /* descriptors; tm_edu_attaching */
	struct rw_semaphore presence; /* held for reading while it is used */
	bool bound, gone;	      /* gone: unplugged, or it does not answer */
	struct mutex engine;	      /* one transfer at a time; taken before presence */
	struct tm_edu_pages *pages;   /* contents: engine */
	bool loaded;		      /* the pattern is in the device's memory */
};

static DEFINE_MUTEX(tm_edu_attaching);
static LIST_HEAD(tm_edu_list);
static LIST_HEAD(tm_edu_spare);	     /* pages; tm_edu_attaching */
static struct tm_edu *tm_edu_wanted; /* what probe() may take */

static bool tm_edu_is_busy(struct tm_edu *edu)
{
	return readq(edu->io + EDU_DMA_COMMAND) & EDU_RUN;
}

/*
 * Waits for the end of a transfer, uninterruptibly: memory depends on it. A
 * device that does not end is cut off from memory for good.
 */
static int tm_edu_settle(struct tm_edu *edu)
{
	unsigned long limit = jiffies + msecs_to_jiffies(EDU_SETTLE_MS);

	while (tm_edu_is_busy(edu)) {
		if (time_after(jiffies, limit)) {
			pci_clear_master(edu->pci);
			WRITE_ONCE(edu->gone, true);
			return -EIO;
		}
		usleep_range(50, 100);
	}
	return 0;
}

static void tm_edu_start(struct tm_edu *edu, dma_addr_t address, u32 bytes, bool to_memory)
{
	writeq(to_memory ? EDU_BUFFER : address, edu->io + EDU_DMA_FROM);
	writeq(to_memory ? address : EDU_BUFFER, edu->io + EDU_DMA_TO);
	writeq(bytes, edu->io + EDU_DMA_COUNT);
	writeq(EDU_RUN | (to_memory ? EDU_TO_MEMORY : 0), edu->io + EDU_DMA_COMMAND);
}

/*
 * Maps the buffer, has the device read or write it, unmaps. Not begun where a signal
 * waits. As all its mappings are, for both directions: a translation that is left of
 * one would otherwise block another's access, and not lead it astray.
 */
static int tm_edu_transfer(struct tm_edu *edu, void *buffer, u32 bytes, bool to_memory)
{
	dma_addr_t address;
	int error;

	if (signal_pending(current))
		return -EINTR;
	address = dma_map_single(&edu->pci->dev, buffer, bytes, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(&edu->pci->dev, address))
		return -ENOMEM;
	tm_edu_start(edu, address, bytes, to_memory);
	error = tm_edu_settle(edu);
	dma_unmap_single(&edu->pci->dev, address, bytes, DMA_BIDIRECTIONAL);
	return error;
}

/* The engine, and the device there. */
static int tm_edu_take(struct tm_edu *edu)
{
	int error;

	if (mutex_lock_interruptible(&edu->engine))
		return -EINTR;
	error = tm_edu_enter(edu);
	if (error)
		mutex_unlock(&edu->engine);
	return error;
}

static void tm_edu_give_back(struct tm_edu *edu)
{
	tm_edu_leave(edu);
	mutex_unlock(&edu->engine);
}

int tm_edu_move(struct tm_edu *edu, struct tm_dma_move *arg)
{
	u64 seed = arg->seed;
	int error = tm_edu_take(edu);
	u8 *out = edu->pages->one, *in = edu->pages->other;
	u32 i;

	if (error)
		return error;
	for (i = 0; i < arg->bytes; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		out[i] = seed >> 56;
		in[i] = ~out[i];
	}
	edu->loaded = false;
	error = tm_edu_transfer(edu, out, arg->bytes, false);
	if (!error)
		error = tm_edu_transfer(edu, in, arg->bytes, true);
	for (i = 0; i < arg->bytes; i++)
		arg->wrong_bytes += in[i] != out[i];
	tm_edu_give_back(edu);
	return error;
}

#define EDU_PATTERN 0xa5

/* Loads the device with the pattern, from whichever page it reads, and clears both. */
static int tm_edu_load(struct tm_edu *edu)
{
	int error = 0;

	if (!edu->loaded) {
		memset(edu->pages->one, EDU_PATTERN, PAGE_SIZE);
		memset(edu->pages->other, EDU_PATTERN, PAGE_SIZE);
		error = tm_edu_transfer(edu, edu->pages->one, TM_DMA_TRANSFER_MAX, false);
		edu->loaded = !error;
	}
	memset(edu->pages->one, 0, PAGE_SIZE);
	memset(edu->pages->other, 0, PAGE_SIZE);
	return error;
}

/* The device, and its memory as it is for a look. */
static int tm_edu_ready(struct tm_edu *edu)
{
	int error;

	/* A bounce buffer is somebody else's after the unmap, while the device still writes. */
	if (edu->pci->untrusted || is_swiotlb_force_bounce(&edu->pci->dev))
		return -EOPNOTSUPP;
	error = tm_edu_take(edu);
	if (error)
		return error;
	error = tm_edu_load(edu);
	if (error)
		tm_edu_give_back(edu);
	return error;
}

/*
 * The device writes through the mapping, so that the IOTLB holds it. ASTRAY: to what
 * was mapped there before, which only a flush that is missing explains.
 */
static int tm_edu_warm(struct tm_edu *edu, dma_addr_t address, u32 bytes, u32 *outcome)
{
	struct device *device = &edu->pci->dev;
	bool wrong;
	int error;

	tm_edu_start(edu, address, bytes, true);
	error = tm_edu_settle(edu);
	if (error)
		return error;
	dma_sync_single_for_cpu(device, address, bytes, DMA_BIDIRECTIONAL);
	wrong = memchr_inv(edu->pages->one, EDU_PATTERN, bytes);
	memset(edu->pages->one, 0, bytes);
	dma_sync_single_for_device(device, address, bytes, DMA_BIDIRECTIONAL);
	if (wrong && memchr_inv(edu->pages->other, 0, bytes)) {
		*outcome = TM_DMA_ASTRAY;
		return 0;
	}
	if (wrong)
		return -EIO;
	return signal_pending(current) ? -EINTR : 0;
}

/*
 * Maps the one page, and has the device write there twice: once so that the IOTLB
 * holds the translation, and once more, which is awaited only until so long before
 * the write. 0, and no outcome yet: that is on its way, and *address mapped. A signal
 * ends the waiting, no more.
 */
static int tm_edu_aim(struct tm_edu *edu, u32 bytes, u32 lead_ns, dma_addr_t *address, u32 *outcome)
{
	struct device *device = &edu->pci->dev;
	ktime_t when;
	int error;

	*address = dma_map_single(device, edu->pages->one, bytes, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(device, *address))
		return -ENOMEM;
	error = tm_edu_warm(edu, *address, bytes, outcome);
	if (error || *outcome) {
		dma_unmap_single(device, *address, bytes, DMA_BIDIRECTIONAL);
		return error;
	}
	when = ktime_add_ns(ktime_get(), EDU_TRANSFER_NS - lead_ns);
	tm_edu_start(edu, *address, bytes, true);
	set_current_state(TASK_INTERRUPTIBLE);
	schedule_hrtimeout(&when, HRTIMER_MODE_ABS);
	return 0;
}

/* Other mappings come and go, which fills a flush queue. */
static int tm_edu_others(struct tm_edu *edu, u32 others)
{
	struct device *device = &edu->pci->dev;

	while (others--) {
		dma_addr_t address =
			dma_map_single(device, edu->pages->other, PAGE_SIZE, DMA_BIDIRECTIONAL);

		if (dma_mapping_error(device, address))
			return -ENOMEM;
		dma_unmap_single(device, address, PAGE_SIZE, DMA_BIDIRECTIONAL);
		cond_resched();
		if (signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/* From the unmap on: when the device ends, and whether it wrote. */
static int tm_edu_outcome(struct tm_edu *edu, u64 unmapped_ns, struct tm_dma_window *arg)
{
	unsigned long limit = jiffies + msecs_to_jiffies(EDU_SETTLE_MS);
	u64 pending_ns = ktime_get_ns();
	int error;

	if (!tm_edu_is_busy(edu)) {
		arg->outcome = TM_DMA_EARLY;
		return 0;
	}
	error = tm_edu_others(edu, arg->others);
	arg->others_ns = ktime_get_ns() - unmapped_ns;
	for (;;) {
		u64 now_ns = ktime_get_ns();

		if (!tm_edu_is_busy(edu) || time_after(jiffies, limit))
			break;
		pending_ns = now_ns;
		usleep_range(20, 50);
	}
	arg->age_least_ns = pending_ns > unmapped_ns ? pending_ns - unmapped_ns : 0;
	arg->age_most_ns = ktime_get_ns() - unmapped_ns;
	arg->outcome = memchr_inv(edu->pages->one, 0, arg->bytes) ? TM_DMA_LANDED : TM_DMA_BLOCKED;
	return error;
}

/* Unmaps before the device writes. */
static int tm_edu_race(struct tm_edu *edu, struct tm_dma_window *arg)
{
	struct tm_loop stamp = {};
	dma_addr_t address;
	int error, settled;

	error = tm_edu_aim(edu, arg->bytes, arg->lead_ns, &address, &arg->outcome);
	if (error || arg->outcome)
		return error;
	tm_loop_begin(&stamp);
	dma_unmap_single(&edu->pci->dev, address, arg->bytes, DMA_BIDIRECTIONAL);
	tm_loop_end(&stamp, 1);
	error = signal_pending(current) ? -EINTR : tm_edu_outcome(edu, ktime_get_ns(), arg);
	arg->unmap = stamp.now;
	settled = tm_edu_settle(edu);
	return settled ? settled : error;
}

int tm_edu_window(struct tm_edu *edu, struct tm_dma_window *arg)
{
	int error = tm_edu_ready(edu);

	if (error)
		return error;
	error = tm_edu_race(edu, arg);
	tm_edu_give_back(edu);
	return error;
}

/*
 * Maps the other page until it is given that address, and unmaps it where it is not,
 * which fills a flush queue, too. 1: it is mapped there; 0: there was no time left;
 * -ENOMEM or -EINTR.
 */
static int tm_edu_map_at(struct tm_edu *edu, dma_addr_t address, struct tm_dma_reuse *arg)
{
	struct device *device = &edu->pci->dev;

	while (arg->maps < arg->maps_most && tm_edu_is_busy(edu)) {
		dma_addr_t now =
			dma_map_single(device, edu->pages->other, arg->bytes, DMA_BIDIRECTIONAL);

		if (dma_mapping_error(device, now))
			return -ENOMEM;
		arg->maps++;
		if (now == address)
			return 1;
		dma_unmap_single(device, now, arg->bytes, DMA_BIDIRECTIONAL);
		cond_resched();
		if (signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/* Unmaps before the device writes, and has the address mean the other page by then. */
static int tm_edu_exchange(struct tm_edu *edu, struct tm_dma_reuse *arg)
{
	struct device *device = &edu->pci->dev;
	dma_addr_t address;
	int error, mapped;
	bool in_time;

	error = tm_edu_aim(edu, arg->bytes, arg->lead_ns, &address, &arg->outcome);
	if (error || arg->outcome)
		return error;
	dma_unmap_single(device, address, arg->bytes, DMA_BIDIRECTIONAL);
	mapped = tm_edu_map_at(edu, address, arg);
	/* What has not ended yet is written after the mapping was made. */
	in_time = tm_edu_is_busy(edu);
	error = tm_edu_settle(edu);
	if (mapped == 1)
		dma_unmap_single(device, address, arg->bytes, DMA_BIDIRECTIONAL);
	if (error || mapped < 0)
		return error ? error : mapped;
	if (!mapped || !in_time)
		arg->outcome = TM_DMA_EARLY;
	else if (memchr_inv(edu->pages->one, 0, arg->bytes))
		arg->outcome = TM_DMA_ASTRAY;
	else if (memchr_inv(edu->pages->other, EDU_PATTERN, arg->bytes))
		arg->outcome = TM_DMA_BLOCKED;
	else
		arg->outcome = TM_DMA_LANDED;
	return 0;
}

int tm_edu_reuse(struct tm_edu *edu, struct tm_dma_reuse *arg)
{
	int error = tm_edu_ready(edu);

	if (error)
		return error;
	error = tm_edu_exchange(edu, arg);
	tm_edu_give_back(edu);
	return error;
}

int tm_edu_enter(struct tm_edu *edu)
{
	if (down_read_killable(&edu->presence))
		return -EINTR;
	if (!READ_ONCE(edu->gone))
		return 0;
	up_read(&edu->presence);
	return -ENODEV;
}

void tm_edu_leave(struct tm_edu *edu)
{
	up_read(&edu->presence);
}

struct device *tm_edu_device(struct tm_edu *edu)
{
	return &edu->pci->dev;
}

/* ---- pages ---- */

static void tm_edu_pages_free(struct tm_edu_pages *pages)
{
	free_page((unsigned long)pages->other);
	free_page((unsigned long)pages->one);
	kfree(pages);
}

static struct tm_edu_pages *tm_edu_pages_take(void)
{
	const gfp_t gfp = GFP_KERNEL | GFP_DMA | __GFP_NOWARN;
	struct tm_edu_pages *pages =
		list_first_entry_or_null(&tm_edu_spare, struct tm_edu_pages, list);

	if (pages) {
		list_del(&pages->list);
		return pages;
	}
	pages = kzalloc(sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;
	pages->one = (u8 *)get_zeroed_page(gfp);
	pages->other = (u8 *)get_zeroed_page(gfp);
	if (pages->one && pages->other)
		return pages;
	tm_edu_pages_free(pages);
	return NULL;
}

/* ---- the driver ---- */

static int tm_edu_probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct tm_edu *edu = READ_ONCE(tm_edu_wanted);
	int error;

	if (!edu || edu->pci != pci)
		return -ENODEV;
	error = pcim_enable_device(pci);
	if (!error)
		error = pcim_iomap_regions(pci, BIT(0), "tlbmark_dma");
	if (!error)
		error = dma_set_mask_and_coherent(&pci->dev, DMA_BIT_MASK(64));
	if (error)
		return error;
	dma_set_max_seg_size(&pci->dev, UINT_MAX);
	edu->io = pcim_iomap_table(pci)[0];
	if ((readl(edu->io + EDU_ID) & 0xff) != 0xed)
		return -ENODEV;
	/* What somebody may have left running must not find memory. */
	error = tm_edu_settle(edu);
	if (error)
		return error;
	pci_set_master(pci);
	pci_set_drvdata(pci, edu);
	edu->bound = true;
	return 0;
}

/* Unplugged, or the last descriptor is closed. */
static void tm_edu_remove(struct pci_dev *pci)
{
	struct tm_edu *edu = pci_get_drvdata(pci);

	down_write(&edu->presence);
	edu->gone = true;
	up_write(&edu->presence);
	pci_clear_master(pci);
}

static const struct pci_device_id tm_edu_ids[] = {{PCI_DEVICE(EDU_VENDOR, EDU_DEVICE)}, {}};

static struct pci_driver tm_edu_driver = {
	.name = "tlbmark_dma",
	.id_table = tm_edu_ids,
	.probe = tm_edu_probe,
	.remove = tm_edu_remove,
	.driver = {.suppress_bind_attrs = true, .probe_type = PROBE_FORCE_SYNCHRONOUS},
};

int tm_edu_register(void)
{
	return pci_register_driver(&tm_edu_driver);
}

void tm_edu_unregister(void)
{
	struct tm_edu_pages *pages, *next;

	pci_unregister_driver(&tm_edu_driver);
	list_for_each_entry_safe(pages, next, &tm_edu_spare, list) tm_edu_pages_free(pages);
}

static struct tm_edu *tm_edu_find(const struct pci_dev *pci)
{
	struct tm_edu *edu;

	list_for_each_entry(edu, &tm_edu_list, list) if (edu->pci == pci) return edu;
	return NULL;
}

/* Binds a device that nobody has attached to. Takes over the reference to it. */
static struct tm_edu *tm_edu_bind(struct pci_dev *pci)
{
	struct tm_edu *edu = kzalloc(sizeof(*edu), GFP_KERNEL_ACCOUNT);
	int error = -ENOMEM;

	if (!edu)
		goto put;
	edu->pages = tm_edu_pages_take();
	if (!edu->pages)
		goto free;
	edu->pci = pci;
	init_rwsem(&edu->presence);
	mutex_init(&edu->engine);
	WRITE_ONCE(tm_edu_wanted, edu);
	error = device_driver_attach(&tm_edu_driver.driver, &pci->dev);
	WRITE_ONCE(tm_edu_wanted, NULL);
	/* Bound while it was wanted, but by a rescan of the bus. */
	if (error && !edu->bound)
		goto spare;
	list_add(&edu->list, &tm_edu_list);
	return edu;
spare:
	list_add(&edu->pages->list, &tm_edu_spare);
free:
	kfree(edu);
put:
	pci_dev_put(pci);
	return ERR_PTR(error);
}

struct tm_edu *tm_edu_attach(const char *name)
{
	struct device *device;
	struct tm_edu *edu;

	if (mutex_lock_interruptible(&tm_edu_attaching))
		return ERR_PTR(-EINTR);
	device = bus_find_device_by_name(&pci_bus_type, NULL, name);
	if (!device || !pci_match_id(tm_edu_ids, to_pci_dev(device))) {
		put_device(device);
		edu = ERR_PTR(-ENODEV);
		goto unlock;
	}
	edu = tm_edu_find(to_pci_dev(device));
	if (edu)
		put_device(device);
	else
		edu = tm_edu_bind(to_pci_dev(device));
	if (!IS_ERR(edu))
		edu->users++;
unlock:
	mutex_unlock(&tm_edu_attaching);
	return edu;
}

void tm_edu_detach(struct tm_edu *edu)
{
	mutex_lock(&tm_edu_attaching);
	if (!--edu->users) {
		list_del(&edu->list);
		device_release_driver(&edu->pci->dev);
		list_add(&edu->pages->list, &tm_edu_spare);
		pci_dev_put(edu->pci);
		kfree(edu);
	}
	mutex_unlock(&tm_edu_attaching);
}
