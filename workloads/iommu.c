// SPDX-License-Identifier: GPL-3.0-or-later
/* Devices behind an IOMMU, and their modes. See iommu.h. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "iommu.h"

#define PCI_DEVICES "/sys/bus/pci/devices"

const char *const iommu_modes[] = {"current", "strict", "lazy", "passthrough", NULL};

/* As /sys/kernel/iommu_groups/N/type names them. */
static const char *const types[] = {
	[IOMMU_STRICT] = "DMA",
	[IOMMU_LAZY] = "DMA-FQ",
	[IOMMU_PASSTHROUGH] = "identity",
};

static const enum tm_dma_domain domains[] = {
	[IOMMU_STRICT] = TM_DMA_STRICT,
	[IOMMU_LAZY] = TM_DMA_LAZY,
	[IOMMU_PASSTHROUGH] = TM_DMA_PASSTHROUGH,
};

/* First line of a file without its newline; false: it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool read = f && fgets(line, (int)size, f);

	if (f)
		fclose(f);
	if (read)
		line[strcspn(line, "\n")] = '\0';
	return read;
}

static bool is_edu(const char *name)
{
	char path[320], vendor[16], device[16];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/vendor", name);
	if (!read_line(path, vendor, sizeof(vendor)))
		return false;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/device", name);
	return read_line(path, device, sizeof(device)) && !strcmp(vendor, "0x1234") &&
	       !strcmp(device, "0x11e8");
}

/* The last part of what a symbolic link of the device points to; "" for no link. */
static void follow(const char *name, const char *link, char *out, size_t size)
{
	char path[128], target[256];
	const char *last;
	ssize_t n;

	out[0] = '\0';
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", name, link);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	last = strrchr(target, '/');
	last = last ? last + 1 : target;
	if (strlen(last) < size)
		memcpy(out, last, strlen(last) + 1);
}

void iommu_find(struct iommu_device *d)
{
	DIR *devices = opendir(PCI_DEVICES);
	const struct dirent *e;
	char group[32];

	memset(d, 0, sizeof(*d));
	while (devices && (e = readdir(devices))) {
		if (strlen(e->d_name) >= sizeof(d->name) || !is_edu(e->d_name))
			continue;
		if (!d->name[0] || strcmp(e->d_name, d->name) < 0)
			memcpy(d->name, e->d_name, strlen(e->d_name) + 1);
	}
	if (devices)
		closedir(devices);
	if (!d->name[0])
		return;
	follow(d->name, "driver", d->holder, sizeof(d->holder));
	if (!strcmp(d->holder, "tlbmark_dma"))
		d->holder[0] = '\0';
	follow(d->name, "iommu_group", group, sizeof(group));
	if (group[0])
		snprintf(d->type, sizeof(d->type), "/sys/kernel/iommu_groups/%s/type", group);
}

int iommu_probe(const struct iommu_device *d, enum iommu_mode mode, char *why, size_t why_size)
{
	if (!d->holder[0] && (mode == IOMMU_CURRENT || d->type[0]))
		return 0;
	if (d->holder[0])
		snprintf(why, why_size, "the driver %s has the device %s", d->holder, d->name);
	else if (!d->name[0])
		snprintf(why, why_size,
			 "no edu device here, and no IOMMU before the software one: "
			 "'tlbmark lab run --iommu strict' has both");
	else
		snprintf(why, why_size, "no IOMMU before the device %s: %s", d->name,
			 "'tlbmark lab run --iommu strict' has one");
	return -ENOTSUP;
}

int iommu_knob(const struct iommu_device *d, enum iommu_mode mode, struct tm_sysstate *s)
{
	char now[32];

	/* Setting what is there would make a new, empty domain. */
	if (mode == IOMMU_CURRENT ||
	    (read_line(d->type, now, sizeof(now)) && !strcmp(now, types[mode])))
		return 0;
	return tm_knob(s, d->type, types[mode]);
}

int iommu_attach(struct tm_thread *t, int fd, const struct iommu_device *d, enum iommu_mode mode,
		 enum tm_dma_domain *domain)
{
	struct tm_dma_attach request = {.domain = 0};

	memcpy(request.device, d->name, sizeof(request.device));
	if (ioctl(fd, TM_DMA_ATTACH, &request))
		return tm_fail(t, -errno, "the device %s", d->name[0] ? d->name : "in software");
	*domain = (enum tm_dma_domain)request.domain;
	if (mode != IOMMU_CURRENT && *domain != domains[mode])
		return tm_fail(t, -ENOTSUP, "this IOMMU does not do %s", iommu_modes[mode]);
	return 0;
}

int iommu_faults(uint64_t *count)
{
	FILE *f = fopen("/proc/interrupts", "re");
	char *line = NULL;
	size_t size = 0;
	int rc = -ENOENT;

	*count = 0;
	while (f && getline(&line, &size, f) > 0) {
		char *p = strchr(line, ':');

		if (!p || (!strstr(p, " dmar") && !strstr(p, " AMD-Vi")))
			continue;
		rc = 0;
		for (p++;; *count += strtoull(p, &p, 10)) {
			p += strspn(p, " ");
			if (!isdigit((unsigned char)*p))
				break;
		}
	}
	free(line);
	if (f)
		fclose(f);
	return rc;
}
