/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A log-linear histogram of unsigned 64-bit values (ticks, mostly).
 *
 * Values below 2^(sub_bits) are counted exactly; above, every power of two is
 * cut into 2^(sub_bits - 1) equal slots. A value read back is the slot's
 * highest equivalent value, so the relative error is below 2^-(sub_bits - 1):
 * 0.78% with TM_HIST_FINE, which also is the layout of an HdrHistogram with
 * two significant digits (Gil Tene's HdrHistogram, V2 encoding); 12.5% with
 * TM_HIST_COARSE, for per-CPU summaries.
 *
 * The memory is the caller's (it may be shared between processes: there are
 * no pointers in it). Recording allocates nothing and makes no system call.
 * Values above the highest trackable are counted in the last slot and in
 * `clamped`. One writer at a time; readers after the writer is done.
 */
#ifndef TLBMARK_HIST_H
#define TLBMARK_HIST_H

#include <stddef.h>
#include <stdint.h>

enum {
	TM_HIST_FINE = 8,
	TM_HIST_COARSE = 4,
	TM_HIST_VALUE_BITS = 44, /* highest value 2^44 - 1: hours, in ticks */
};

struct tm_hist {
	uint32_t sub_bits;
	uint32_t slots;
	uint64_t count;
	uint64_t clamped;
	uint64_t min, max; /* exact; min > max while empty */
	double sum;	   /* for a mean that is only ever an aside */
	uint64_t slot[];
};

/* Bytes that a histogram with this many sub_bits (2 .. 16) takes. */
size_t tm_hist_bytes(unsigned int sub_bits);

void tm_hist_init(struct tm_hist *h, unsigned int sub_bits);
/* One on the heap, zeroed; NULL when out of memory. free() ends it. */
struct tm_hist *tm_hist_new(unsigned int sub_bits);

void tm_hist_record_n(struct tm_hist *h, uint64_t value, uint64_t n);
static inline void tm_hist_record(struct tm_hist *h, uint64_t value)
{
	tm_hist_record_n(h, value, 1);
}

/* Adds `from` to `into`; -EINVAL if their sub_bits differ. */
int tm_hist_merge(struct tm_hist *into, const struct tm_hist *from);

/*
 * The smallest recorded value v such that at least ceil(q * count) values are
 * <= v, to the slot's precision and never beyond the exact max. q in 0 .. 1.
 * 0 when empty.
 */
uint64_t tm_hist_quantile(const struct tm_hist *h, double q);

/* Values strictly above `value` (to the slot's precision). */
uint64_t tm_hist_count_above(const struct tm_hist *h, uint64_t value);

/* Walking: lowest and highest value that slot i stands for. */
uint64_t tm_hist_slot_low(const struct tm_hist *h, uint32_t i);
uint64_t tm_hist_slot_high(const struct tm_hist *h, uint32_t i);

/*
 * HdrHistogram V2, zlib-compressed and base64: what HistogramLogReader takes.
 * A fresh string on the heap (free() it) or NULL when out of memory.
 * TM_HIST_FINE only (two significant digits); NULL with errno EINVAL else.
 */
char *tm_hist_encode(const struct tm_hist *h);
/* The reverse: 0, -EINVAL for a damaged text, -ENOMEM. *out by free(). */
int tm_hist_decode(const char *text, struct tm_hist **out);

#endif /* TLBMARK_HIST_H */
