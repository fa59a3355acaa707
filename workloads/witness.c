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
	char name[32] = "the initiator";

	if (rc && rc != -EFAULT)
		return rc;
	if (witness)
		snprintf(name, sizeof(name), "responder %u", witness - 1);
	if (rc)
		tm_check(v, false, "%s faulted %s", name, when);
	else
		tm_check(v, got == expected, "%s read %#" PRIx64 " instead of %#" PRIx64 " %s",
			 name, got, expected, when);
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
