// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * pkey_mprotect: gives populated pages a memory protection key.
 *
 * Timed: one pkey_mprotect() that leaves the permissions as they are and changes
 * the key, from the key that everybody may use to one whose access is denied in
 * every thread (--change key), or back (--change back). The key is part of each
 * page table entry, so the kernel writes them all in change_protection() and
 * flushes in tlb_finish_mmu() -> flush_tlb_mm_range(): by range up to the
 * ceiling (33 strides on x86), the whole TLB beyond; hugetlb pages are flushed
 * in hugetlb_change_protection().
 *
 * It does not measure what keys are for: denying by a write to the processor's
 * own register (PKRU on x86), which flushes nothing and interrupts nobody. Nor
 * a change of permission on the way, which is the workload mprotect.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

enum { PAGES, KIND, BACKING, CHANGE };
enum { CHANGE_KEY, CHANGE_BACK };
enum { KEY_OF_ALL }; /* the one that pages have from the beginning */

static const char *const changes[] = {"key", "back", NULL};

static const struct tm_param pkey_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages, transparent huge pages, or hugetlb pages",
				    pages_kinds, "4k", "4k,thp,hugetlb"),
	[BACKING] = PAGES_CHOICE_PARAM("backing", "private or shared memory", pages_memory_backings,
				       "anon", "anon,shared"),
	[CHANGE] = PAGES_CHOICE_PARAM("change", "to a key that denies access, or back from it",
				      changes, "key", "key,back"),
	{.name = NULL},
};

struct state {
	void *set; /* of pages */
	int key;   /* -1: none */
};

static int pkey_probe(char *why, size_t why_size)
{
	int key = pkey_alloc(0, PKEY_DISABLE_ACCESS);

	if (key >= 0) {
		pkey_free(key);
		return 0;
	}
	snprintf(why, why_size, "%s",
		 errno == ENOSYS
			 ? "this kernel has no memory protection keys "
			   "(CONFIG_X86_INTEL_MEMORY_PROTECTION_KEYS)"
			 : "this processor has no memory protection keys (PKU), or none is free");
	return -ENOTSUP;
}

static int pkey_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, c->values[KIND], c->values[BACKING], c->values[PAGES], why, why_size);
}

static int pkey_knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, c->values[KIND], c->values[BACKING], c->values[PAGES], s);
}

/*
 * Before there are responders: they inherit that the key denies. It stays so
 * when a fault takes them out of a signal's handler, where the kernel denies
 * every key but the first.
 */
static int pkey_setup(struct tm_thread *t, void **out)
{
	struct state *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for the state");
	s->key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
	rc = s->key < 0 ? tm_fail(t, -ENOTSUP, "no memory protection key is free")
			: pages_set_new(t, &s->set);
	*out = s;
	return rc;
}

static int set_key(struct tm_thread *t, const struct pages *p, int key)
{
	if (!pkey_mprotect(p->at, p->bytes, PROT_READ | PROT_WRITE, key))
		return 0;
	return tm_fail(t, -errno, "pkey_mprotect of %zu bytes to key %d", p->bytes, key);
}

static int pkey_prepare(struct tm_thread *t, void *state)
{
	const uint64_t *value = t->cell->values;
	struct pages *p = pages_of(t, ((struct state *)state)->set);
	int rc = pages_open(t, p, value[KIND], value[BACKING], value[PAGES]);

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc)
		rc = pages_must_be_huge(t, p, p->at, p->bytes);
	return rc;
}

/* The keys before and after one operation. */
struct keys {
	int from, to;
};

static struct keys keys_of(const struct tm_thread *t, const struct state *s)
{
	if (t->cell->values[CHANGE] == CHANGE_BACK)
		return (struct keys){.from = s->key, .to = KEY_OF_ALL};
	return (struct keys){.from = KEY_OF_ALL, .to = s->key};
}

static int pkey_operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	struct keys keys = keys_of(t, s);
	int rc;

	while (tm_more(t)) {
		/* Used by this CPU, so that entries are young; the key then changes. */
		rc = set_key(t, p, KEY_OF_ALL);
		for (size_t i = 0; !rc && i < p->bytes; i += p->page_bytes)
			*(volatile uint64_t *)(p->at + i) = 1;
		if (!rc && keys.from != KEY_OF_ALL)
			rc = set_key(t, p, keys.from);
		if (rc)
			return rc;
		if (keys.from == KEY_OF_ALL)
			pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = pkey_mprotect(p->at, p->bytes, PROT_READ | PROT_WRITE, keys.to);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "pkey_mprotect of %zu bytes", p->bytes);
	}
	/* Armed once more, responders would read what is denied. */
	tm_publish(t, NULL, 0, 0);
	return 0;
}

/*
 * After return a load and a store are denied, and with the old key everything
 * is as it was. Without the flush a responder's access would go through by the
 * key that its TLB remembers. (The other way round a forgotten flush denies what
 * is allowed: seen where a TLB keeps entries that were refused.)
 */
static int pkey_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc;

	while (oracle_next(&o, p->bytes)) {
		rc = set_key(t, p, KEY_OF_ALL);
		if (rc)
			return rc;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before the key was changed");
		rc = set_key(t, p, s->key);
		if (rc)
			return rc;
		oracle_cannot_store(&o, p->at, false, "after the key was changed");
		oracle_see(&o, p->at, ORACLE_FAULT, "after the key was changed");
		rc = set_key(t, p, KEY_OF_ALL);
		if (rc)
			return rc;
		oracle_see(&o, p->at, ORACLE_STAMP, "after the key was changed back");
	}
	return 0;
}

static void pkey_teardown(void *state)
{
	struct state *s = state;

	if (s->set)
		pages_set_free(s->set);
	if (s->key >= 0)
		pkey_free(s->key);
	free(s);
}

const struct tm_workload tm_workload_pkey_mprotect = {
	.name = "pkey_mprotect",
	.summary = "giving pages a protection key that denies access",
	.op = "one pkey_mprotect() of --pages pages",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.params = pkey_params,
	.probe = pkey_probe,
	.probe_cell = pkey_probe_cell,
	.knobs = pkey_knobs,
	.setup = pkey_setup,
	.prepare = pkey_prepare,
	.operate = pkey_operate,
	.verify = pkey_verify,
	.teardown = pkey_teardown,
};
