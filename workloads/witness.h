/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For verify() of workloads whose pages stay mapped: every CPU of the cell as
 * a witness of what a word holds. Witness 0 is the calling initiator, witness
 * r + 1 is responder r. 0, or -errno where a witness gave no answer; a SIGSEGV
 * is an answer, and the wrong one; a SIGBUS is none.
 */
#ifndef TLBMARK_WITNESS_H
#define TLBMARK_WITNESS_H

#include <stdint.h>

#include <tlbmark/workload.h>

static inline unsigned int witness_count(const struct tm_thread *t)
{
	return t->cell->responders + 1;
}

/* That one stores `value`. */
int witness_store(struct tm_thread *t, unsigned int witness, volatile uint64_t *word,
		  uint64_t value);

/* That one reads: a check, with `when` in the violation ("after ..."). */
int witness_reads(struct tm_thread *t, unsigned int witness, const volatile uint64_t *word,
		  uint64_t expected, const char *when, struct tm_verdict *v);

/* Each of them reads. */
int witness_all_read(struct tm_thread *t, const volatile uint64_t *word, uint64_t expected,
		     const char *when, struct tm_verdict *v);

#endif /* TLBMARK_WITNESS_H */
