// SPDX-License-Identifier: GPL-2.0
/*
 * tlbmark_dma: the DMA API, timed. See include/tlbmark/uapi_dma.h.
 *
 * Kernel functions: dma_map_page_attrs(), dma_unmap_page_attrs(), the same of
 * scatterlists, dma_alloc_attrs(), dma_free_attrs() (kernel/dma/mapping.c).
 * Behind an IOMMU an unmap gets to __iommu_dma_unmap(), which invalidates the
 * IOTLB (strict) or queues that (drivers/iommu/dma-iommu.c, queue_iova()).
 */
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <tlbmark/uapi_dma.h>

#include "device.h"
#include "dma.h"

static_assert((int)TM_DMA_BIDIRECTIONAL == DMA_BIDIRECTIONAL &&
	      (int)TM_DMA_TO_DEVICE == DMA_TO_DEVICE && (int)TM_DMA_FROM_DEVICE == DMA_FROM_DEVICE);

/* A descriptor. `device` is stored last, once, and read first. */
struct tm_dma_file {
	struct mutex attaching;
	struct device *device;
	struct tm_edu *edu;		  /* NULL: a software device */
	struct platform_device *software; /* NULL: an edu device */
};

/* What one call maps, again and again. */
struct tm_dma_job {
	struct device *device;
	u32 how, bytes, entries;
	enum dma_data_direction direction;
	void *buffer;	      /* single, page; coherent while mapped */
	struct sg_table list; /* scatterlist; its buffers hang on it */
	dma_addr_t address;
};

#define TM_DMA_GFP (GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

static void tm_dma_free(struct tm_dma_job *job)
{
	struct scatterlist *entry;
	unsigned int i;

	if (job->how == TM_DMA_SG) {
		for_each_sgtable_sg(&job->list, entry, i) if (sg_page(entry))
			free_pages_exact(sg_virt(entry), job->bytes);
		sg_free_table(&job->list);
	} else if (job->buffer) {
		free_pages_exact(job->buffer, job->bytes);
	}
}

static int tm_dma_allocate(struct tm_dma_job *job)
{
	struct scatterlist *entry;
	unsigned int i;
	int error;

	if (job->how == TM_DMA_COHERENT)
		return 0;
	if (job->how != TM_DMA_SG) {
		job->buffer = alloc_pages_exact(job->bytes, TM_DMA_GFP);
		return job->buffer ? 0 : -ENOMEM;
	}
	error = sg_alloc_table(&job->list, job->entries, GFP_KERNEL);
	if (error)
		return error;
	for_each_sgtable_sg(&job->list, entry, i)
	{
		void *buffer = alloc_pages_exact(job->bytes, TM_DMA_GFP);

		if (!buffer) {
			tm_dma_free(job);
			return -ENOMEM;
		}
		sg_set_buf(entry, buffer, job->bytes);
	}
	return 0;
}

static int tm_dma_map(struct tm_dma_job *job)
{
	switch (job->how) {
	case TM_DMA_SINGLE:
		job->address = dma_map_single(job->device, job->buffer, job->bytes, job->direction);
		break;
	case TM_DMA_PAGE:
		job->address = dma_map_page(job->device, virt_to_page(job->buffer), 0, job->bytes,
					    job->direction);
		break;
	case TM_DMA_SG:
		return dma_map_sg(job->device, job->list.sgl, job->list.orig_nents,
				  job->direction) > 0
			       ? 0
			       : -ENOMEM;
	default:
		job->buffer = dma_alloc_coherent(job->device, job->bytes, &job->address,
						 GFP_KERNEL | __GFP_NOWARN);
		return job->buffer ? 0 : -ENOMEM;
	}
	return dma_mapping_error(job->device, job->address) ? -ENOMEM : 0;
}

static void tm_dma_unmap(struct tm_dma_job *job)
{
	switch (job->how) {
	case TM_DMA_SINGLE:
		dma_unmap_single(job->device, job->address, job->bytes, job->direction);
		break;
	case TM_DMA_PAGE:
		dma_unmap_page(job->device, job->address, job->bytes, job->direction);
		break;
	case TM_DMA_SG:
		dma_unmap_sg(job->device, job->list.sgl, job->list.orig_nents, job->direction);
		break;
	default:
		dma_free_coherent(job->device, job->bytes, job->buffer, job->address);
		job->buffer = NULL;
	}
}

static int tm_dma_once(struct tm_dma_job *job, struct tm_loop *l, u32 timed)
{
	u32 pages = DIV_ROUND_UP(job->bytes, PAGE_SIZE) * job->entries;
	int error;

	if (timed != TM_DMA_TIME_UNMAP)
		tm_loop_begin(l);
	error = tm_dma_map(job);
	if (error)
		return error;
	if (timed == TM_DMA_TIME_MAP)
		tm_loop_end(l, pages);
	else if (timed == TM_DMA_TIME_UNMAP)
		tm_loop_begin(l);
	tm_dma_unmap(job);
	if (timed != TM_DMA_TIME_MAP)
		tm_loop_end(l, pages);
	return 0;
}

static int tm_dma_check(const struct tm_dma_run *arg)
{
	if (arg->how >= TM_DMA_HOWS || arg->timed >= TM_DMA_TIMES ||
	    arg->direction >= TM_DMA_DIRECTIONS || arg->reserved)
		return -EINVAL;
	if (!arg->bytes || !arg->entries || arg->entries > TM_DMA_ENTRIES_MAX ||
	    (u64)arg->bytes * arg->entries > TM_DMA_BYTES_MAX)
		return -EINVAL;
	if (arg->how != TM_DMA_SG && arg->entries != 1)
		return -EINVAL;
	if (arg->how == TM_DMA_COHERENT && arg->direction)
		return -EINVAL;
	return 0;
}

static long tm_dma_run(struct tm_dma_file *f, struct device *device, struct tm_dma_run __user *user)
{
	struct tm_dma_job job = {.device = device};
	struct tm_dma_run arg;
	struct tm_loop loop;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	error = tm_loop_start(&loop, &arg.run);
	if (!error)
		error = tm_dma_check(&arg);
	if (error)
		return error;
	job.how = arg.how;
	job.bytes = arg.bytes;
	job.entries = arg.entries;
	job.direction = (enum dma_data_direction)arg.direction;
	error = tm_dma_allocate(&job);
	if (error)
		return error;
	while (!error && tm_loop_more(&loop)) {
		error = f->edu ? tm_edu_enter(f->edu) : 0;
		if (error)
			break;
		error = tm_dma_once(&job, &loop, arg.timed);
		if (f->edu)
			tm_edu_leave(f->edu);
		if (!error)
			error = tm_loop_next(&loop);
	}
	tm_dma_free(&job);
	return tm_loop_finish(&loop, &user->run.done, error);
}

#ifdef CONFIG_IOMMU_API
static u32 tm_dma_domain(struct device *device)
{
	const struct iommu_domain *domain = iommu_get_domain_for_dev(device);

	if (!domain)
		return TM_DMA_NO_IOMMU;
	switch (domain->type) {
	case IOMMU_DOMAIN_IDENTITY:
		return TM_DMA_PASSTHROUGH;
	case IOMMU_DOMAIN_DMA:
		return TM_DMA_STRICT;
	case IOMMU_DOMAIN_DMA_FQ:
		return TM_DMA_LAZY;
	default:
		return TM_DMA_OTHER;
	}
}
#else
static u32 tm_dma_domain(struct device *device)
{
	return TM_DMA_NO_IOMMU;
}
#endif

static struct platform_device *tm_dma_software(void)
{
	static const struct platform_device_info info = {
		.name = "tlbmark-dma",
		.id = PLATFORM_DEVID_AUTO,
		.dma_mask = DMA_BIT_MASK(64),
	};

	return platform_device_register_full(&info);
}

static int tm_dma_give(struct tm_dma_file *f, const char *name)
{
	struct device *device;

	if (f->device)
		return -EBUSY;
	if (name[0]) {
		struct tm_edu *edu = tm_edu_attach(name);

		if (IS_ERR(edu))
			return PTR_ERR(edu);
		f->edu = edu;
		device = tm_edu_device(edu);
	} else {
		struct platform_device *software = tm_dma_software();

		if (IS_ERR(software))
			return PTR_ERR(software);
		f->software = software;
		device = &software->dev;
		dma_set_max_seg_size(device, UINT_MAX);
	}
	smp_store_release(&f->device, device);
	return 0;
}

static long tm_dma_attach(struct tm_dma_file *f, struct tm_dma_attach __user *user)
{
	struct tm_dma_attach arg;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.domain || arg.reserved || !memchr(arg.device, '\0', sizeof(arg.device)))
		return -EINVAL;
	if (mutex_lock_interruptible(&f->attaching))
		return -EINTR;
	error = tm_dma_give(f, arg.device);
	mutex_unlock(&f->attaching);
	if (!error && f->edu)
		error = tm_edu_enter(f->edu);
	if (error)
		return error;
	arg.domain = tm_dma_domain(f->device);
	if (f->edu)
		tm_edu_leave(f->edu);
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long tm_dma_move(struct tm_dma_file *f, struct tm_dma_move __user *user)
{
	struct tm_dma_move arg;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (!arg.bytes || arg.bytes > TM_DMA_TRANSFER_MAX || arg.wrong_bytes)
		return -EINVAL;
	if (!f->edu)
		return -EOPNOTSUPP;
	error = tm_edu_move(f->edu, &arg);
	if (error)
		return error;
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long tm_dma_window(struct tm_dma_file *f, struct tm_dma_window __user *user)
{
	struct tm_dma_window arg;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (!arg.bytes || arg.bytes > TM_DMA_TRANSFER_MAX || arg.lead_ns > TM_DMA_LEAD_MAX_NS ||
	    arg.others > TM_DMA_OTHERS_MAX || arg.outcome || arg.age_least_ns || arg.age_most_ns ||
	    arg.others_ns || memchr_inv(&arg.unmap, 0, sizeof(arg.unmap)))
		return -EINVAL;
	if (!f->edu)
		return -EOPNOTSUPP;
	error = tm_edu_window(f->edu, &arg);
	if (error)
		return error;
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long tm_dma_reuse(struct tm_dma_file *f, struct tm_dma_reuse __user *user)
{
	struct tm_dma_reuse arg;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (!arg.bytes || arg.bytes > TM_DMA_TRANSFER_MAX || arg.lead_ns > TM_DMA_LEAD_MAX_NS ||
	    !arg.maps_most || arg.maps_most > TM_DMA_REUSE_MAPS_MAX || arg.outcome || arg.maps ||
	    arg.reserved)
		return -EINVAL;
	if (!f->edu)
		return -EOPNOTSUPP;
	error = tm_edu_reuse(f->edu, &arg);
	if (error)
		return error;
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long tm_dma_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	struct tm_dma_file *f = file->private_data;
	struct device *device = smp_load_acquire(&f->device);
	void __user *user = (void __user *)arg;

	switch (request) {
	case TM_KMOD_INFO:
		return tm_device_info(user);
	case TM_DMA_ATTACH:
		return tm_dma_attach(f, user);
	case TM_DMA_RUN:
		return device ? tm_dma_run(f, device, user) : -ENODEV;
	case TM_DMA_MOVE:
		return device ? tm_dma_move(f, user) : -ENODEV;
	case TM_DMA_WINDOW:
		return device ? tm_dma_window(f, user) : -ENODEV;
	case TM_DMA_REUSE:
		return device ? tm_dma_reuse(f, user) : -ENODEV;
	default:
		return -ENOTTY;
	}
}

static int tm_dma_open(struct inode *inode, struct file *file)
{
	int error = tm_device_open(inode, file);
	struct tm_dma_file *f;

	if (error)
		return error;
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	mutex_init(&f->attaching);
	file->private_data = f;
	return 0;
}

static int tm_dma_release(struct inode *inode, struct file *file)
{
	struct tm_dma_file *f = file->private_data;

	if (f->edu)
		tm_edu_detach(f->edu);
	if (f->software)
		platform_device_unregister(f->software);
	kfree(f);
	return 0;
}

static const struct file_operations tm_dma_fops = {
	.owner = THIS_MODULE,
	.open = tm_dma_open,
	.release = tm_dma_release,
	.unlocked_ioctl = tm_dma_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice tm_dma_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tlbmark-dma",
	.mode = 0600,
	.fops = &tm_dma_fops,
};

static int __init tm_dma_init(void)
{
	int error = tm_edu_register();

	if (error)
		return error;
	error = misc_register(&tm_dma_device);
	if (error)
		tm_edu_unregister();
	return error;
}

static void __exit tm_dma_exit(void)
{
	misc_deregister(&tm_dma_device);
	tm_edu_unregister();
}

module_init(tm_dma_init);
module_exit(tm_dma_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("tlbmark: DMA mappings and transfers");
MODULE_VERSION(TM_VERSION);
