// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uffd.h"

struct uffd_set {
	void *pages;
	unsigned int count;
	struct uffd u[];
};

/* What user mode faults alone ask for is allowed to everybody (Linux 5.11). */
static int new_descriptor(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0 && errno == EINVAL)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int uffd_check(uint64_t features, const char *name, char *why, size_t why_size)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = new_descriptor(), rc = 0;

	if (fd == -ENOSYS)
		snprintf(why, why_size, "this kernel has no userfaultfd(2) (CONFIG_USERFAULTFD)");
	else if (fd == -EPERM)
		snprintf(why, why_size, "userfaultfd(2) is not allowed here: run as root");
	else if (fd < 0)
		snprintf(why, why_size, "userfaultfd(2): %s", strerror(-fd));
	if (fd < 0)
		return -ENOTSUP;
	/* Asked for no feature, it names those it has. */
	if (ioctl(fd, UFFDIO_API, &api)) {
		snprintf(why, why_size, "UFFDIO_API: %s", strerror(errno));
		rc = -ENOTSUP;
	} else if (features & ~api.features) {
		snprintf(why, why_size, "this kernel's userfaultfd has no %s", name);
		rc = -ENOTSUP;
	}
	close(fd);
	return rc;
}

int uffd_set_new(struct tm_thread *t, void **state)
{
	unsigned int n = t->cell->initiators;
	struct uffd_set *set = calloc(1, sizeof(*set) + n * sizeof(set->u[0]));

	if (!set)
		return tm_fail(t, -ENOMEM, "no memory for %u initiators", n);
	set->count = n;
	for (unsigned int i = 0; i < n; i++)
		set->u[i].fd = -1;
	*state = set;
	return pages_set_new(t, &set->pages);
}

void uffd_set_free(void *state)
{
	struct uffd_set *set = state;

	if (!set)
		return;
	for (unsigned int i = 0; i < set->count; i++) {
		if (set->u[i].fd >= 0)
			close(set->u[i].fd);
	}
	if (set->pages)
		pages_set_free(set->pages);
	free(set);
}

struct uffd *uffd_of(struct tm_thread *t, void *state)
{
	struct uffd_set *set = state;
	struct uffd *u = &set->u[t->index];

	u->pages = pages_of(t, set->pages);
	return u;
}

int uffd_open(struct tm_thread *t, uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int fd = new_descriptor();

	if (fd < 0)
		return tm_fail(t, fd, "userfaultfd(2)");
	if (ioctl(fd, UFFDIO_API, &api)) {
		int error = errno;

		close(fd);
		return tm_fail(t, -error, "userfaultfd with features %#llx",
			       (unsigned long long)features);
	}
	return fd;
}

int uffd_register(struct tm_thread *t, const struct uffd *u, char *at, size_t bytes, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = {.start = (uintptr_t)at, .len = bytes},
		.mode = mode,
	};

	if (!ioctl(u->fd, UFFDIO_REGISTER, &reg))
		return 0;
	return tm_fail(t, -errno, "UFFDIO_REGISTER of %zu bytes", bytes);
}

int uffd_unregister(struct tm_thread *t, const struct uffd *u, char *at, size_t bytes)
{
	struct uffdio_range range = {.start = (uintptr_t)at, .len = bytes};

	if (!ioctl(u->fd, UFFDIO_UNREGISTER, &range))
		return 0;
	return tm_fail(t, -errno, "UFFDIO_UNREGISTER of %zu bytes", bytes);
}

int uffd_make_writable(struct tm_thread *t, const struct uffd *u)
{
	struct pages *p = u->pages;
	int rc = 0;

	/*
	 * Protected, a huge page of shared memory is split, and one that was
	 * not written to since is mapped anew as small ones.
	 */
	if (p->kind == PAGES_THP && p->backing == PAGES_SHARED) {
		rc = pages_map(t, p, p->at, p->bytes, true);
		rc = rc ? rc : uffd_register(t, u, p->at, p->bytes, UFFDIO_REGISTER_MODE_WP);
	} else if (uffd_protect(u->fd, p->at, p->bytes, false)) {
		rc = tm_fail(t, -errno, "ending the write protection of %zu bytes", p->bytes);
	}
	/* Without the store an entry may stay read-only, and nothing would be flushed. */
	for (size_t i = 0; !rc && i < p->bytes; i += p->page_bytes)
		*(volatile uint64_t *)(p->at + i) = 1;
	return rc;
}
