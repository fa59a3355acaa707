/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * userfaultfd(2) for the workloads on it: what this kernel's can, a mapping
 * that is registered with one, and write protection there.
 *
 * One initiator owns one struct uffd. Functions that take a thread say what
 * went wrong with tm_fail() and return -errno.
 *
 * Sources: userfaultfd(2), ioctl_userfaultfd(2),
 * Documentation/admin-guide/mm/userfaultfd.rst.
 */
#ifndef TLBMARK_UFFD_H
#define TLBMARK_UFFD_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include <tlbmark/workload.h>

#include "pages.h"

/* Newer than Debian 12's header (6.1); from include/uapi/linux/userfaultfd.h of Linux 6.12. */
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
struct uffdio_move {
	__u64 dst, src, len, mode;
	__s64 move; /* bytes moved, or -errno where none was */
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#endif

struct uffd {
	struct pages *pages;
	int fd; /* -1: none */
};

/*
 * Has this kernel's userfaultfd all of `features`? 0, or -ENOTSUP with the
 * reason in why, which calls them `name` ("UFFDIO_MOVE (Linux 6.8)").
 */
int uffd_check(uint64_t features, const char *name, char *why, size_t why_size);

/* For setup() and teardown(): the pages of each initiator, and no descriptor yet. */
int uffd_set_new(struct tm_thread *t, void **state);
void uffd_set_free(void *state);
struct uffd *uffd_of(struct tm_thread *t, void *state);

/* A new descriptor with these features, or -errno said. It takes faults from user mode only. */
int uffd_open(struct tm_thread *t, uint64_t features);

/* Faults of these UFFDIO_REGISTER_MODE_* in [at, at + bytes) are u->fd's from now on. */
int uffd_register(struct tm_thread *t, const struct uffd *u, char *at, size_t bytes, uint64_t mode);
/* And no longer: protection is gone too. */
int uffd_unregister(struct tm_thread *t, const struct uffd *u, char *at, size_t bytes);

/* One UFFDIO_WRITEPROTECT, on or off: 0, or -1 with errno. */
static inline int uffd_protect(int fd, char *at, size_t bytes, bool on)
{
	struct uffdio_writeprotect protect = {
		.range = {.start = (uintptr_t)at, .len = bytes},
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &protect);
}

/*
 * All of u->pages, which are registered for write protection, unprotected and
 * with entries that allow stores. Huge pages stay whole, or are made anew.
 */
int uffd_make_writable(struct tm_thread *t, const struct uffd *u);

#endif /* TLBMARK_UFFD_H */
