/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the two halves of tlbmark_dma: requests (dma.c), and the driver of
 * QEMU's edu device (dma_edu.c).
 */
#ifndef TLBMARK_KMOD_DMA_H
#define TLBMARK_KMOD_DMA_H

#include <tlbmark/uapi_dma.h>

struct device;
struct tm_edu;

int tm_edu_register(void);
void tm_edu_unregister(void);

/*
 * Binds the driver to the PCI device of that name, or joins those who did; an
 * ERR_PTR: -ENODEV (no such edu device), -EBUSY (another driver has it), -EIO,
 * -EINTR. Every attach has its detach, the last of which unbinds. May sleep.
 */
struct tm_edu *tm_edu_attach(const char *name);
void tm_edu_detach(struct tm_edu *edu);

/* Between the two the device is there: 0, -ENODEV or -EINTR. Not to be nested. */
int tm_edu_enter(struct tm_edu *edu);
void tm_edu_leave(struct tm_edu *edu);
struct device *tm_edu_device(struct tm_edu *edu);

/* The requests of the same names. */
int tm_edu_move(struct tm_edu *edu, struct tm_dma_move *arg);
int tm_edu_window(struct tm_edu *edu, struct tm_dma_window *arg);
int tm_edu_reuse(struct tm_edu *edu, struct tm_dma_reuse *arg);

#endif /* TLBMARK_KMOD_DMA_H */
