/* SPDX-License-Identifier: GPL-2.0 OR GPL-3.0-or-later */
/*
 * What the BPF programs and user space share: the layout of the maps, and the
 * counting itself, so that every kind of probe counts by the same code.
 *
 * A CPU writes only its own slot. Each slot has two rings, since a program in
 * task context can be interrupted by one in interrupt context of the same CPU:
 * with a ring each, no index is ever written from both, and no atomic is
 * needed. For the same reason no counter is incremented in both contexts:
 * TM_REASON_SEND is the only reason traced with interrupts enabled.
 */
#ifndef TLBMARK_TLB_BPF_H
#define TLBMARK_TLB_BPF_H

#include <linux/types.h>

#define TM_INLINE static inline __attribute__((always_inline))

#define TM_TALLY_REASONS 8 /* a power of two, for the programs' bounds checks */
#define TM_TALLY_RANGES 16
#define TM_TALLY_FUNCTIONS 32 /* a power of two */
#define TM_TALLY_TRIES 8
#define TM_TALLY_CAUSES 8 /* a power of two */

/* enum tlb_flush_reason, include/linux/mm_types.h */
#define TM_REASON_REMOTE 1
#define TM_REASON_SEND 4
#define TM_PAGES_FULL (~0ULL)

/* Ring 0 is written with interrupts disabled, ring 1 with them enabled. */
#define TM_RING_INTERRUPT 0
#define TM_RING_SEND 1
#define TM_RINGS 2

/* Counts of one CPU; the second index is 1 inside the timed operation. */
struct tm_tally {
	__u64 flush[TM_TALLY_REASONS][2];
	__u64 range[TM_TALLY_RANGES][2];
	__u64 full[2];
	__u64 sends_full[2];
	__u64 handlers[2];
	__u64 cause[TM_TALLY_CAUSES][2]; /* by TM_DISTURB_* */
	__u64 function_other[2];
	struct tm_tally_function {
		__u64 address; /* 0: free */
		__u64 calls[2];
	} function[TM_TALLY_FUNCTIONS];
};

/* struct tm_event of probe.h */
struct tm_bpf_event {
	__u64 time_ns;
	__u32 kind;
	__u32 value;
};

/* The same numbers as enum tm_event_kind and its values in probe.h. */
enum { TM_BPF_SEND, TM_BPF_ENTRY, TM_BPF_EXIT, TM_BPF_DISTURB };
enum {
	TM_DISTURB_TIMER,
	TM_DISTURB_DEVICE,
	TM_DISTURB_RESCHEDULE,
	TM_DISTURB_SWITCH,
	TM_DISTURB_IRQ_WORK,
	TM_DISTURB_OTHER,
};

/* Addresses that no function has: what a function-call interrupt did without a callback. */
#define TM_FUNCTION_WAKEUP 1 /* woke up tasks */
#define TM_FUNCTION_NONE 2   /* nothing that was told */

struct tm_bpf_ring {
	__u32 base; /* first entry in the map of events */
	__u32 size; /* a power of two */
	__u64 head; /* written by the program: events ever put in */
	__u64 tail; /* written by user space: events ever taken out */
	__u64 lost;
};

/* One per possible CPU; whole cache lines, since neighbours count at the same time. */
struct tm_bpf_slot {
	__u32 active;	  /* this CPU takes part in the phase */
	__u32 in_handler; /* between entry and exit of a function-call interrupt */
	__u32 called;	  /* callbacks that this one told so far */
	struct tm_bpf_ring ring[TM_RINGS];
	struct tm_tally tally;
} __attribute__((aligned(128)));

TM_INLINE __u32 tm_event_pages(__u64 pages)
{
	return pages < ~(__u32)0 ? (__u32)pages : ~(__u32)0;
}

TM_INLINE void tm_tally_flush(struct tm_tally *t, __u32 reason, __u64 pages, __u32 in)
{
	__u32 i;

	t->flush[reason & (TM_TALLY_REASONS - 1)][in]++;
	if (reason == TM_REASON_SEND) {
		if (pages == TM_PAGES_FULL)
			t->sends_full[in]++;
		return;
	}
	if (reason != TM_REASON_REMOTE)
		return;
	if (pages == TM_PAGES_FULL) {
		t->full[in]++;
		return;
	}
	for (i = 0; i < TM_TALLY_RANGES - 1 && pages > 1; i++)
		pages >>= 1;
	t->range[i][in]++;
}

TM_INLINE void tm_tally_function(struct tm_tally *t, __u64 address, __u32 in)
{
	__u32 i;

	for (i = 0; i < TM_TALLY_TRIES; i++) {
		struct tm_tally_function *f =
			&t->function[(address / 16 + i) & (TM_TALLY_FUNCTIONS - 1)];

		if (!f->address)
			f->address = address;
		if (f->address == address) {
			f->calls[in]++;
			return;
		}
	}
	t->function_other[in]++;
}

#endif /* TLBMARK_TLB_BPF_H */
