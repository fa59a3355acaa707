// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <inttypes.h>

#include "witness.h"

int witness_store(struct tm_thread *t, unsigned int witness, volatile uint64_t *word,
		  uint64_t value)
{
	void *at = (void *)(uintptr_t)word;

	return witness ? tm_poke(t, witness - 1, at, value) : tm_self_poke(at, value);
}

int witness_reads(struct tm_thread *t, unsigned int witness, const volatile uint64_t *word,
		  uint64_t expected, const char *when, struct tm_verdict *v)
{
	const void *at = (const void *)(uintptr_t)word;
	uint64_t got = 0;
	int rc = witness ? tm_peek(t, witness - 1, at, &got) : tm_self_peek(at, &got);

	if (rc && rc != -EFAULT)
		return rc;
	tm_check(v, !rc && got == expected,
		 "%s, CPU %u, read %#" PRIx64 "%s at %p %s, not %#" PRIx64,
		 witness ? "a responder" : "the initiator",
		 witness ? tm_responder_cpu(t, witness - 1) : t->cpu, got, rc ? " (a fault)" : "",
		 at, when, expected);
	return 0;
}

int witness_all_read(struct tm_thread *t, const volatile uint64_t *word, uint64_t expected,
		     const char *when, struct tm_verdict *v)
{
	int rc = 0;

	for (unsigned int i = 0; i < witness_count(t) && !rc; i++)
		rc = witness_reads(t, i, word, expected, when, v);
	return rc;
}
