// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

#include "updates.h"

enum { STACK_BYTES = 262144 }; /* PTHREAD_STACK_MIN is 128 KiB on arm64 */

static inline volatile uint64_t *word_at(const struct updates *u, size_t offset)
{
	return (volatile uint64_t *)(u->at + offset + UPDATES_OFFSET);
}

static void *count_always(void *argument)
{
	struct updates *u = argument;

	/* With one CPU it stays here, and is interrupted in between. */
	tm_roam((int)u->not_here);
	do {
		for (size_t i = 0; i < u->bytes; i += u->stride)
			++*word_at(u, i);
		atomic_fetch_add(&u->passes, 1);
	} while (!atomic_load(&u->stop));
	return NULL;
}

/* On a stack that stays where it is; what is known of the thread is there, too. */
static int start_locked(struct updates *u)
{
	pthread_attr_t attributes;
	int rc = -pthread_attr_init(&attributes);

	if (rc)
		return rc;
	u->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_LOCKED, -1, 0);
	if (u->stack == MAP_FAILED) {
		u->stack = NULL;
		rc = -errno;
	}
	rc = rc ? rc : -pthread_attr_setstack(&attributes, u->stack, STACK_BYTES);
	rc = rc ? rc : -pthread_create(&u->thread, &attributes, count_always, u);
	pthread_attr_destroy(&attributes);
	return rc;
}

static void free_stack(struct updates *u)
{
	if (u->stack)
		munmap(u->stack, STACK_BYTES);
	u->stack = NULL;
}

int updates_start(struct tm_thread *t, struct updates *u, char *at, size_t bytes, size_t stride)
{
	int rc;

	u->at = at;
	u->bytes = bytes < UPDATES_PAGES * stride ? bytes : UPDATES_PAGES * stride;
	u->stride = stride;
	u->not_here = t->cpu;
	atomic_store(&u->stop, false);
	atomic_store(&u->passes, 0);
	for (size_t i = 0; i < u->bytes; i += stride)
		*word_at(u, i) = 0;
	rc = u->lock ? start_locked(u) : -pthread_create(&u->thread, NULL, count_always, u);
	if (rc) {
		free_stack(u);
		return tm_fail(t, rc, "starting a thread that counts");
	}
	while (!atomic_load(&u->passes))
		sched_yield();
	return 0;
}

void updates_stop(struct updates *u)
{
	atomic_store(&u->stop, true);
	/* pthread_join() needs a futex, which not all kernels have. */
	while (pthread_tryjoin_np(u->thread, NULL) == EBUSY)
		sched_yield();
	free_stack(u);
}

void updates_check_page(const struct updates *u, size_t page, struct tm_verdict *v)
{
	uint64_t got = *word_at(u, page * u->stride);

	tm_check(v, got == u->passes, "page %zu kept %llu of %llu updates", page,
		 (unsigned long long)got, (unsigned long long)u->passes);
}

void updates_check(const struct updates *u, struct tm_verdict *v)
{
	for (size_t i = 0; i * u->stride < u->bytes; i++)
		updates_check_page(u, i, v);
}
