// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <inttypes.h>

#include <tlbmark/arch.h>

#include "witness.h"

int witness_store(struct tm_thread *t, unsigned int witness, volatile uint64_t *word,
		  uint64_t value)
{
	void *at = (void *)(uintptr_t)word;

	return witness ? tm_poke(t, witness - 1, at, value) : tm_self_poke(at, value);
}

static int judge(struct tm_thread *t, unsigned int witness, const struct tm_access *a,
		 uint64_t expected, const char *when, struct tm_verdict *v)
{
	if (a->error && a->error != -EFAULT)
		return a->error;
	tm_check(v, !a->error && a->value == expected,
		 "%s, CPU %u, read %#" PRIx64 "%s at %p %s, not %#" PRIx64,
		 witness ? "a responder" : "the initiator",
		 witness ? tm_responder_cpu(t, witness - 1) : t->cpu, a->value,
		 a->error ? " (a fault)" : "", a->address, when, expected);
	return 0;
}

int witness_reads(struct tm_thread *t, unsigned int witness, const volatile uint64_t *word,
		  uint64_t expected, const char *when, struct tm_verdict *v)
{
	struct tm_access a = {.address = (void *)(uintptr_t)word};

	a.error = witness ? tm_peek(t, witness - 1, a.address, &a.value)
			  : tm_self_peek(a.address, &a.value);
	return judge(t, witness, &a, expected, when, v);
}

int witness_all_read(struct tm_thread *t, const volatile uint64_t *word, uint64_t expected,
		     const char *when, struct tm_verdict *v)
{
	struct tm_access a = {.address = (void *)(uintptr_t)word};
	int rc;

	tm_returned(tm_ticks());
	rc = tm_access_all(t, &a, 1);
	for (unsigned int r = 0; r < t->cell->responders && !rc; r++)
		rc = judge(t, r + 1, tm_accessed(t, r), expected, when, v);
	return rc ? rc : witness_reads(t, 0, word, expected, when, v);
}
