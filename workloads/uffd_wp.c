// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * uffd_wp: write-protects populated pages through userfaultfd.
 *
 * Timed: one ioctl(UFFDIO_WRITEPROTECT) that protects. The kernel changes the
 * entries in uffd_wp_range() -> change_protection() and flushes in
 * tlb_finish_mmu() -> flush_tlb_mm_range(), as mprotect() does, but without
 * touching the mapping itself: mmap_lock is only read, and no VMA is split.
 * Hugetlb pages are flushed in hugetlb_change_protection(), and then once more.
 * A huge page of shared memory (--kind thp --backing shared) cannot remember
 * the protection: its entry is dropped, flushed in pmdp_huge_clear_flush(), and
 * marked page by page in a new page table.
 *
 * It does not measure ending the protection, nor what a store to a protected
 * page costs: the fault, the message, and whoever answers it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"
#include "uffd.h"
#include "witness.h"
#include "writes.h"

enum { PAGES, KIND, BACKING };

static const struct tm_param params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages, transparent huge pages, or hugetlb pages",
				    pages_kinds, "4k", "4k,thp,hugetlb"),
	[BACKING] = PAGES_CHOICE_PARAM("backing", "private or shared memory", pages_memory_backings,
				       "anon", "anon,shared"),
	{.name = NULL},
};

static enum pages_kind kind_of(const struct tm_cell_args *c)
{
	return (enum pages_kind)c->values[KIND];
}

static enum pages_backing backing_of(const struct tm_cell_args *c)
{
	return (enum pages_backing)c->values[BACKING];
}

/* What the descriptor must be able to do with these pages. */
static uint64_t features(const struct tm_cell_args *c)
{
	uint64_t needed = UFFD_FEATURE_PAGEFAULT_FLAG_WP;

	if (kind_of(c) == PAGES_HUGETLB || backing_of(c) == PAGES_SHARED)
		needed |= UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
	return needed;
}

static int probe(char *why, size_t why_size)
{
	return uffd_check(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS,
			  "UFFDIO_WRITEPROTECT (Linux 5.7; CONFIG_HAVE_ARCH_USERFAULTFD_WP)", why,
			  why_size);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	int rc = uffd_check(features(c),
			    "write protection of shared memory and hugetlb pages (Linux 5.19; "
			    "CONFIG_PTE_MARKER_UFFD_WP)",
			    why, why_size);

	return rc ? rc : pages_check(c, kind_of(c), backing_of(c), c->values[PAGES], why, why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, kind_of(c), backing_of(c), c->values[PAGES], s);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct uffd *u = uffd_of(t, state);
	struct pages *p = u->pages;
	int rc = pages_open(t, p, kind_of(t->cell), backing_of(t->cell), t->cell->values[PAGES]);

	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	rc = rc ? rc : pages_map(t, p, p->at, p->bytes, false);
	rc = rc ? rc : pages_must_be_huge(t, p, p->at, p->bytes);
	if (rc)
		return rc;
	/* A store that must not go through becomes SIGBUS, as the oracle wants it. */
	u->fd = uffd_open(t, features(t->cell) | UFFD_FEATURE_SIGBUS);
	if (u->fd < 0)
		return u->fd;
	return uffd_register(t, u, p->at, p->bytes, UFFDIO_REGISTER_MODE_WP);
}

static int operate(struct tm_thread *t, void *state)
{
	struct uffd *u = uffd_of(t, state);
	struct pages *p = u->pages;
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		rc = uffd_make_writable(t, u);
		/* Memory may have become fragmented since the last batch. */
		if (!rc && !t->count)
			rc = pages_must_be_huge(t, p, p->at, p->bytes);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = uffd_protect(u->fd, p->at, p->bytes, true);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "UFFDIO_WRITEPROTECT of %zu bytes", p->bytes);
	}
	return 0;
}

/* ---- the oracle ---- */

/* Everybody may store, has stored stamps, and then all is protected. */
static int protect_again(struct oracle *o, const struct uffd *u)
{
	struct pages *p = u->pages;
	int rc = uffd_make_writable(o->t, u);

	if (rc)
		return rc;
	rc = writes_by_all(o, p->at);
	if (rc)
		return tm_fail(o->t, rc, "storing before UFFDIO_WRITEPROTECT");
	oracle_see(o, p->at, ORACLE_STAMP, "before UFFDIO_WRITEPROTECT");
	if (uffd_protect(u->fd, p->at, p->bytes, true))
		return tm_fail(o->t, -errno, "UFFDIO_WRITEPROTECT of %zu bytes", p->bytes);
	return 0;
}

/* Every CPU stores to every page that was picked: none may go through. */
static int check_refusal(struct tm_thread *t, struct uffd *u, struct tm_verdict *v)
{
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};

	while (oracle_next(&o, u->pages->bytes)) {
		int rc = protect_again(&o, u);

		if (rc)
			return rc;
		oracle_cannot_store(&o, u->pages->at, true, "after UFFDIO_WRITEPROTECT");
	}
	return 0;
}

/* Reads the messages, and lets each store go on by ending the page's protection. */
struct handler {
	pthread_t thread;
	int fd, stop;
	size_t page_bytes;
	/* Of the last message; valid once `messages` has counted it. */
	uintptr_t page;
	bool write_protected;
	uint64_t word; /* what the page began with when the message came */
	_Atomic unsigned int messages;
	_Atomic int error;
};

static int handle_one(struct handler *h)
{
	struct uffd_msg m;
	ssize_t n = read(h->fd, &m, sizeof(m));

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n != (ssize_t)sizeof(m))
		return n < 0 ? -errno : -EIO;
	if (m.event != UFFD_EVENT_PAGEFAULT)
		return -EPROTO;
	h->page = m.arg.pagefault.address & ~(uintptr_t)(h->page_bytes - 1);
	h->write_protected = m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP;
	h->word = *(volatile uint64_t *)h->page;
	atomic_fetch_add(&h->messages, 1);
	return uffd_protect(h->fd, (char *)h->page, h->page_bytes, false) ? -errno : 0;
}

static void *handle_all(void *argument)
{
	struct handler *h = argument;
	struct pollfd look[2] = {{.fd = h->fd, .events = POLLIN},
				 {.fd = h->stop, .events = POLLIN}};
	int rc = 0;

	while (!rc) {
		if (poll(look, 2, -1) < 0)
			rc = errno == EINTR ? 0 : -errno;
		else if (look[1].revents)
			return NULL;
		else if (look[0].revents)
			rc = handle_one(h);
	}
	atomic_store(&h->error, rc);
	/* Or those who wait for an answer would wait for ever. */
	close(h->fd);
	return NULL;
}

/*
 * The handler runs where the store comes from: that CPU has nothing to do until
 * the message is answered, while on the initiator's it would have to wait.
 */
static void run_beside(const struct handler *h, struct tm_thread *t, unsigned int witness)
{
	unsigned int cpu = witness ? tm_responder_cpu(t, witness - 1) : t->cpu;
	size_t bytes = CPU_ALLOC_SIZE(cpu + 1);
	cpu_set_t *set = CPU_ALLOC(cpu + 1);

	if (!set)
		return; /* it is slower then */
	CPU_ZERO_S(bytes, set);
	CPU_SET_S(cpu, bytes, set);
	pthread_setaffinity_np(h->thread, bytes, set);
	CPU_FREE(set);
}

/* One store of one CPU: a message comes before it goes through, and then it does. */
static int check_message(struct oracle *o, struct handler *h, char *at, size_t i)
{
	unsigned int witness = (unsigned int)((i + o->rounds) % witness_count(o->t));
	unsigned int before = atomic_load(&h->messages);
	volatile uint64_t *word = (volatile uint64_t *)at;
	uint64_t value = ~oracle_stamp(o, i);
	int rc;

	run_beside(h, o->t, witness);
	rc = witness_store(o->t, witness, word, value);
	rc = rc ? rc : atomic_load(&h->error);
	if (rc)
		return tm_fail(o->t, rc, "a store that userfaultfd answers");
	if (atomic_load(&h->messages) == before) {
		tm_check(o->v, false,
			 "%s %u stored to page %zu after UFFDIO_WRITEPROTECT: no message",
			 witness ? "responder" : "initiator", witness ? witness - 1 : 0,
			 o->offset[i] / o->stride);
		return 0;
	}
	tm_check(o->v, h->page == (uintptr_t)at && h->write_protected,
		 "a store to page %zu was told as one to %#lx", o->offset[i] / o->stride,
		 (unsigned long)h->page);
	tm_check(o->v, h->word == oracle_stamp(o, i),
		 "page %zu held %#llx when its store was told: it had gone through",
		 o->offset[i] / o->stride, (unsigned long long)h->word);
	rc = witness_all_read(o->t, word, value, "after its message was answered", o->v);
	return rc ? tm_fail(o->t, rc, "reading what was stored") : 0;
}

static int check_messages(struct tm_thread *t, struct uffd *u, struct tm_verdict *v,
			  struct handler *h)
{
	struct pages *p = u->pages;
	struct oracle o = {.t = t, .v = v, .stride = p->page_bytes};
	int rc = 0;

	while (!rc && oracle_next(&o, p->bytes)) {
		rc = protect_again(&o, u);
		for (size_t i = 0; !rc && i < o.picks; i++) {
			bool again = false;

			for (size_t k = 0; k < i; k++)
				again |= o.offset[k] == o.offset[i];
			if (!again)
				rc = check_message(&o, h, p->at + o.offset[i], i);
		}
	}
	return rc;
}

/* The same with a descriptor that sends messages, and a thread that answers them. */
static int check_with_handler(struct tm_thread *t, struct uffd *u, struct tm_verdict *v)
{
	struct pages *p = u->pages;
	struct handler h = {.page_bytes = p->page_bytes, .stop = eventfd(0, EFD_CLOEXEC)};
	struct uffd other = {.pages = p, .fd = -1};
	const uint64_t one = 1;
	int rc;

	if (h.stop < 0)
		return tm_fail(t, -errno, "eventfd(2)");
	rc = other.fd = h.fd = uffd_open(t, features(t->cell));
	/* Else it cannot be polled, and the thread would wait in read(). */
	if (rc >= 0 && fcntl(h.fd, F_SETFL, O_NONBLOCK))
		rc = tm_fail(t, -errno, "a userfaultfd that does not block");
	rc = rc < 0 ? rc : uffd_register(t, &other, p->at, p->bytes, UFFDIO_REGISTER_MODE_WP);
	if (rc)
		goto out;
	rc = -pthread_create(&h.thread, NULL, handle_all, &h);
	if (rc) {
		tm_fail(t, rc, "starting a thread that reads messages");
		goto out;
	}
	rc = check_messages(t, &other, v, &h);
	if (write(h.stop, &one, sizeof(one)) != (ssize_t)sizeof(one))
		rc = rc ? rc : tm_fail(t, -EIO, "stopping the thread that reads messages");
	pthread_join(h.thread, NULL);
out:
	/* The thread has closed it where it failed. */
	if (other.fd >= 0 && !atomic_load(&h.error))
		close(other.fd);
	close(h.stop);
	return rc;
}

/*
 * After return no store goes through: it is refused, or is told in a message
 * and waits for the answer. Without the flush a responder would store by the
 * permission that its TLB remembers, and nobody would be told.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct uffd *u = uffd_of(t, state);
	struct pages *p = u->pages;
	int rc = check_refusal(t, u, v);

	rc = rc ? rc : uffd_unregister(t, u, p->at, p->bytes);
	rc = rc ? rc : check_with_handler(t, u, v);
	/* As it was: there may be another call. */
	return rc ? rc : uffd_register(t, u, p->at, p->bytes, UFFDIO_REGISTER_MODE_WP);
}

const struct tm_workload tm_workload_uffd_wp = {
	.name = "uffd_wp",
	.summary = "write protection through userfaultfd",
	.op = "one UFFDIO_WRITEPROTECT of --pages pages",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.params = params,
	.probe = probe,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = uffd_set_new,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = uffd_set_free,
};
