/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The histogram against exact answers, and its text form against HdrHistogram's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../../bench/hist.h"

#define HIGHEST ((UINT64_C(1) << TM_HIST_VALUE_BITS) - 1)

/*
 * The histogram of fill_golden(), as this encoder wrote it. hdr-histogram-js
 * 3.0.1 reads it, gives the count, min, max and percentiles that test_golden
 * expects, and writes the same payload back, byte for byte.
 */
static const char golden[] =
	"HISTFAAAAZF4nOWMr24cMRDG19dVtLpa29F2dBpFo8qKDAwMFiwwsFQDAwODBQGBAYEFBw4ULAg4"
	"cCAgUguiooL2HQrL+jgtL0hm1cC+QT4wf77vN8PHT2+bZvO7+afNc1dN8+Zx1fs/z8ELV/tf/XrV"
	"n227bTv0NEBPW+i13nU8aNw1dK41vsMWz0m3PRJstQa6aAG6gQihbzTgjhE19B1qhAG17rodEImP"
	"CKDbDhkYgQBk7zQIhXJLQC1Ci7rV66Gso7VsUYrzjgUgRsPOOGfZIBlDYJitM2zJIxLLIvLkhGFx"
	"2VmhmOXCm9GKYyx6MlY+GWu89eCM9wzWS8CeGe0akGRuNDHlq1xqGEv0JcUwlzCPeTIxxJBijiXV"
	"KacqWEhpGkdfq4sxxVRqqjmFNAUhJj/FHEIOdZZaUxYghSm6KfrLmGd5kUIo0zjHOpec82UJJY0x"
	"5OWbOqlbtT9KeVD3av9ZHda+XN9KcL2/V0d1c/OglnX48FUJ//Gklju1nNThTrzDUU1/X//8sXns"
	"v6jvF2dPHTlexA==";

/* splitmix64: the same numbers on every machine. */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static struct tm_hist *fresh(unsigned int sub_bits)
{
	struct tm_hist *h = tm_hist_new(sub_bits);

	assert_non_null(h);
	return h;
}

static void fill_golden(struct tm_hist *h)
{
	for (uint64_t i = 0; i < 300; i++)
		tm_hist_record(h, i);
	for (uint64_t i = 0; i < 10000; i++)
		tm_hist_record(h, 1000 + i * i % 9973);
	tm_hist_record_n(h, 123456789, 77);
	tm_hist_record_n(h, HIGHEST, 3);
	tm_hist_record_n(h, 700000, 20000);
}

static void assert_same_slots(const struct tm_hist *a, const struct tm_hist *b)
{
	assert_int_equal(a->sub_bits, b->sub_bits);
	assert_int_equal(a->count, b->count);
	assert_memory_equal(a->slot, b->slot, a->slots * sizeof(a->slot[0]));
}

static void test_layout(void **unused)
{
	(void)unused;
	for (unsigned int bits = 2; bits <= 16; bits++) {
		struct tm_hist *h = fresh(bits);
		uint64_t expect = 0;

		assert_int_equal(tm_hist_bytes(bits), sizeof(*h) + h->slots * sizeof(uint64_t));
		for (uint32_t i = 0; i < h->slots; i++) {
			uint64_t low = tm_hist_slot_low(h, i), high = tm_hist_slot_high(h, i);

			assert_int_equal(low, expect);
			assert_true(high >= low);
			/* Both ends of the slot are recorded in it, and only there. */
			tm_hist_record(h, low);
			assert_int_equal(h->slot[i], 1);
			tm_hist_record(h, high);
			assert_int_equal(h->slot[i], 2);
			if (low < UINT64_C(1) << bits)
				assert_int_equal(low, high);
			else
				assert_true((high - low + 1) << (bits - 1) <= low);
			expect = high + 1;
		}
		assert_int_equal(expect, HIGHEST + 1);
		assert_int_equal(h->clamped, 0);
		free(h);
	}
	/* What an HdrHistogram of two digits up to 2^44 - 1 has. */
	assert_int_equal(tm_hist_bytes(TM_HIST_FINE), sizeof(struct tm_hist) + 4864 * 8);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void check_against_sorted(unsigned int bits)
{
	enum { N = 1000000 };
	uint64_t *v = malloc(N * sizeof(*v)), state = bits, low_sum = 0;
	struct tm_hist *h = fresh(bits);

	assert_non_null(v);
	for (size_t i = 0; i < N; i++) {
		uint64_t shift = 20 + next(&state) % 40;

		v[i] = next(&state) >> shift;
		low_sum += v[i];
		tm_hist_record(h, v[i]);
	}
	qsort(v, N, sizeof(*v), by_value);
	assert_int_equal(h->count, N);
	assert_int_equal(h->min, v[0]);
	assert_int_equal(h->max, v[N - 1]);
	assert_true(h->sum > (double)low_sum * 0.999999 && h->sum < (double)low_sum * 1.000001);
	for (unsigned int k = 0; k <= 100000; k += k < 99900 ? 100 : 1) {
		size_t rank = k ? (size_t)k * (N / 100000) : 1;
		uint64_t got = tm_hist_quantile(h, k / 100000.0), exact = v[rank - 1];

		/* Never below, above by less than a slot, exact where slots are. */
		assert_true(got >= exact);
		assert_true((got - exact) << (bits - 1) <= exact);
		if (exact < UINT64_C(1) << bits)
			assert_int_equal(got, exact);
	}
	for (unsigned int k = 0; k < 44; k++) {
		uint64_t value = (UINT64_C(1) << k) - 1, above = 0;

		/* 2^k - 1 ends a slot: the answer is exact. */
		for (size_t i = 0; i < N; i++)
			above += v[i] > value;
		assert_int_equal(tm_hist_count_above(h, value), above);
	}
	assert_int_equal(tm_hist_count_above(h, HIGHEST), 0);
	free(v);
	free(h);
}

static void test_error_bound(void **unused)
{
	(void)unused;
	check_against_sorted(TM_HIST_FINE);
	check_against_sorted(TM_HIST_COARSE);
}

static void test_exact_small(void **unused)
{
	struct tm_hist *h = fresh(TM_HIST_FINE);

	(void)unused;
	for (uint64_t v = 0; v < 256; v++)
		tm_hist_record_n(h, v, v + 1);
	for (uint64_t v = 0, seen = 0; v < 256; v++) {
		assert_int_equal(h->slot[v], v + 1);
		seen += v + 1;
		assert_int_equal(tm_hist_quantile(h, (double)seen / (double)h->count), v);
		assert_int_equal(tm_hist_count_above(h, v), h->count - seen);
	}
	free(h);
}

static void test_quantile_edges(void **unused)
{
	struct tm_hist *h = fresh(TM_HIST_FINE);

	(void)unused;
	assert_true(h->min > h->max);
	assert_int_equal(tm_hist_quantile(h, 0), 0);
	assert_int_equal(tm_hist_quantile(h, 1), 0);
	assert_int_equal(tm_hist_count_above(h, 0), 0);
	tm_hist_record_n(h, 77, 0);
	assert_int_equal(h->count, 0);
	assert_true(h->min > h->max);

	/* One value, in a wide slot: known exactly all the same. */
	tm_hist_record(h, 1000001);
	assert_int_equal(tm_hist_quantile(h, 0), 1000001);
	assert_int_equal(tm_hist_quantile(h, 0.5), 1000001);
	assert_int_equal(tm_hist_quantile(h, 1), 1000001);

	/* The first by its exact value, the others never beyond the last. */
	tm_hist_record_n(h, 1000003, 2);
	assert_int_equal(tm_hist_quantile(h, 0.1), 1000001);
	assert_int_equal(tm_hist_quantile(h, 0.5), 1000003);
	assert_int_equal(tm_hist_quantile(h, 1), 1000003);

	tm_hist_init(h, TM_HIST_FINE);
	for (uint64_t v = 1; v <= 100; v++)
		tm_hist_record(h, v);
	assert_int_equal(tm_hist_quantile(h, NAN), 1);
	/* k / 100.0 * 100 is not k for some k: the rank must be k for all. */
	for (unsigned int k = 1; k <= 100; k++)
		assert_int_equal(tm_hist_quantile(h, k / 100.0), k);
	assert_int_equal(tm_hist_quantile(h, 0.501), 51);
	assert_int_equal(tm_hist_quantile(h, -1), 1);
	assert_int_equal(tm_hist_quantile(h, 2), 100);
	free(h);
}

static void test_clamp(void **unused)
{
	struct tm_hist *h = fresh(TM_HIST_FINE);

	(void)unused;
	tm_hist_record(h, HIGHEST);
	assert_int_equal(h->clamped, 0);
	tm_hist_record_n(h, HIGHEST + 1, 2);
	tm_hist_record(h, UINT64_MAX);
	assert_int_equal(h->clamped, 3);
	assert_int_equal(h->count, 4);
	assert_int_equal(h->slot[h->slots - 1], 4);
	assert_true(h->max == UINT64_MAX);
	assert_int_equal(tm_hist_quantile(h, 0.5), HIGHEST);
	assert_true(tm_hist_quantile(h, 1) == UINT64_MAX);
	free(h);
}

static void test_merge(void **unused)
{
	struct tm_hist *all = fresh(TM_HIST_FINE), *a = fresh(TM_HIST_FINE);
	struct tm_hist *b = fresh(TM_HIST_FINE), *coarse = fresh(TM_HIST_COARSE);
	uint64_t state = 3;

	(void)unused;
	for (unsigned int i = 0; i < 10000; i++) {
		uint64_t v = next(&state) >> (10 + i % 50);

		tm_hist_record(all, v);
		tm_hist_record(i % 3 ? a : b, v);
	}
	assert_true(all->clamped > 0);
	assert_int_equal(tm_hist_merge(a, b), 0);
	assert_same_slots(a, all);
	assert_int_equal(a->clamped, all->clamped);
	assert_true(a->min == all->min && a->max == all->max);
	assert_true(a->sum > all->sum * 0.999999 && a->sum < all->sum * 1.000001);

	/* An empty one changes nothing, not even min. */
	tm_hist_init(b, TM_HIST_FINE);
	assert_int_equal(tm_hist_merge(a, b), 0);
	assert_true(a->min == all->min && a->max == all->max);
	assert_same_slots(a, all);

	assert_int_equal(tm_hist_merge(a, coarse), -EINVAL);
	assert_same_slots(a, all);
	errno = 0;
	assert_null(tm_hist_encode(coarse));
	assert_int_equal(errno, EINVAL);
	free(all);
	free(a);
	free(b);
	free(coarse);
}

/* The zlib part of a text, unpacked; an own way back, for comparing two texts. */
static size_t unpack(const char *text, unsigned char *out, size_t room)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char packed[4096];
	uLongf bytes = room;
	uint32_t acc = 0, bits = 0;
	size_t n = 0;

	for (; *text && *text != '='; text++) {
		acc = acc << 6 | (uint32_t)(strchr(digits, *text) - digits);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			assert_true(n < sizeof(packed));
			packed[n++] = (unsigned char)(acc >> bits);
		}
	}
	assert_memory_equal(packed, "\x1c\x84\x93\x14", 4);
	assert_int_equal(uncompress(out, &bytes, packed + 8, n - 8), Z_OK);
	return bytes;
}

static void test_golden(void **unused)
{
	unsigned char inner[8192], golden_inner[8192];
	struct tm_hist *h = fresh(TM_HIST_FINE), *back;
	char *text;
	size_t n;

	(void)unused;
	fill_golden(h);
	/* zlib may pack differently one day; what is packed may not differ. */
	text = tm_hist_encode(h);
	assert_non_null(text);
	n = unpack(golden, golden_inner, sizeof(golden_inner));
	assert_int_equal(unpack(text, inner, sizeof(inner)), n);
	assert_memory_equal(inner, golden_inner, n);
	free(text);

	assert_int_equal(tm_hist_decode(golden, &back), 0);
	assert_same_slots(back, h);
	assert_int_equal(back->count, 30380);
	assert_int_equal(back->min, 0);
	assert_int_equal(back->max, UINT64_C(17592186044415));
	assert_int_equal(tm_hist_quantile(back, 0.25), UINT64_C(8319));
	assert_int_equal(tm_hist_quantile(back, 0.5), UINT64_C(700415));
	assert_int_equal(tm_hist_quantile(back, 0.9), UINT64_C(700415));
	assert_int_equal(tm_hist_quantile(back, 0.99), UINT64_C(700415));
	assert_int_equal(tm_hist_quantile(back, 0.999), UINT64_C(123731967));
	assert_int_equal(tm_hist_quantile(back, 0.9999), UINT64_C(123731967));
	free(back);
	free(h);
}

static void test_round_trip(void **unused)
{
	struct tm_hist *h = fresh(TM_HIST_FINE), *back;
	uint64_t state = 11;

	(void)unused;
	for (unsigned int round = 0; round < 200; round++) {
		unsigned int values = round ? (unsigned int)(next(&state) % 500) : 0;
		char *text;

		tm_hist_init(h, TM_HIST_FINE);
		for (unsigned int i = 0; i < values; i++) {
			uint64_t v = next(&state) >> (20 + next(&state) % 44);

			/* Counts of 1 to 9 bytes in the encoding. */
			tm_hist_record_n(h, v, next(&state) >> (10 + next(&state) % 54));
		}
		text = tm_hist_encode(h);
		assert_non_null(text);
		assert_int_equal(tm_hist_decode(text, &back), 0);
		assert_same_slots(back, h);
		assert_int_equal(back->clamped, 0);
		assert_true(unpack(text, (unsigned char[65536]){0}, 65536) > 40);
		if (h->count) {
			assert_true(back->min <= h->min && back->max >= h->max);
			assert_true((h->min - back->min) << 7 <= h->min);
			assert_true((back->max - h->max) << 7 <= h->max);
			assert_true(back->sum > h->sum * 0.99 && back->sum < h->sum * 1.01);
		} else {
			assert_true(back->min > back->max);
		}
		free(back);
		free(text);
	}
	/* A count that needs all of the ninth byte. */
	tm_hist_init(h, TM_HIST_FINE);
	tm_hist_record_n(h, 9, INT64_MAX);
	{
		char *text = tm_hist_encode(h);

		assert_non_null(text);
		assert_int_equal(tm_hist_decode(text, &back), 0);
		assert_true(back->slot[9] == INT64_MAX);
		free(back);
		free(text);
	}
	free(h);
}

/* Packs a hand-made inner part, `junk` bytes behind it; decode's answer. */
static int decode_inner(const unsigned char *inner, size_t bytes, size_t junk, int length_error,
			struct tm_hist **out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char outer[1026] = {0x1c, 0x84, 0x93, 0x14};
	char text[2048];
	uLongf packed = 1000;
	size_t n = 0;

	assert_int_equal(compress(outer + 8, &packed, inner, bytes), Z_OK);
	packed += junk;
	outer[6] = (unsigned char)((packed + (size_t)length_error) >> 8);
	outer[7] = (unsigned char)(packed + (size_t)length_error);
	for (size_t i = 0; i < packed + 8; i += 3) {
		size_t left = packed + 8 - i;

		text[n++] = digits[outer[i] >> 2];
		text[n++] = digits[(outer[i] & 3) << 4 | (left > 1 ? outer[i + 1] >> 4 : 0)];
		text[n++] = left > 1 ? digits[(outer[i + 1] & 15) << 2 |
					      (left > 2 ? outer[i + 2] >> 6 : 0)]
				     : '=';
		text[n++] = left > 2 ? digits[outer[i + 2] & 63] : '=';
	}
	text[n] = '\0';
	return tm_hist_decode(text, out);
}

/* Sound zlib data around a payload that lies. */
static void test_lying_payload(void **unused)
{
	unsigned char good[64], bad[64];
	struct tm_hist *out;
	size_t n = unpack(golden, (unsigned char[8192]){0}, 8192);
	/* Each replaces the payload; all must be refused. */
	static const struct {
		unsigned char bytes[24];
		size_t n;
	} lies[] = {
		{{0x80}, 1},					       /* ends inside a number */
		{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8}, /* the same */
		{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 9}, /* -2^63 slots */
		{{0x81, 0x4c}, 2},	 /* 4,865 empty slots of 4,864 */
		{{0xff, 0x4b, 0x02}, 3}, /* 4,864 empty ones, and then one more */
		{{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
		 10}, /* count > 2^63 */
	};
	static const unsigned char head[40] = {0x1c, 0x84, 0x93, 0x13, 0,    0,	   0,	1, 0,
					       0,    0,	   0,	 0,    0,    0,	   2,	0, 0,
					       0,    0,	   0,	 0,    0,    1,	   0,	0, 0x0f,
					       0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xf0};

	(void)unused;
	assert_true(n > 40);
	memcpy(good, head, sizeof(head));
	good[40] = 0x02;
	assert_int_equal(decode_inner(good, 41, 0, 0, &out), 0);
	assert_int_equal(out->slot[0], 1);
	free(out);
	assert_int_equal(decode_inner(good, 41, 1, 0, &out), -EINVAL);
	assert_int_equal(decode_inner(good, 41, 0, 1, &out), -EINVAL);
	assert_int_equal(decode_inner(good, 41, 1, -1, &out), -EINVAL);
	for (size_t i = 0; i < 34; i++) {
		if (i >= 24 && i < 32)
			continue; /* the highest value: any up to ours will do */
		memcpy(bad, good, 41);
		bad[i] ^= 4;
		assert_int_equal(decode_inner(bad, 41, 0, 0, &out), -EINVAL);
		assert_null(out);
	}
	assert_int_equal(decode_inner(good, 39, 0, 0, &out), -EINVAL);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		memcpy(good + 40, lies[i].bytes, lies[i].n);
		good[7] = (unsigned char)lies[i].n;
		assert_int_equal(decode_inner(good, 40 + lies[i].n, 0, 0, &out), -EINVAL);
		assert_null(out);
	}
}

static void test_damaged(void **unused)
{
	static const char *const texts[] = {
		"", "=", "====", "A", "HIST", "HISTFAAAAAA=", "HISTF AA", "HISTFAA="};
	enum { length = sizeof(golden) - 1 };
	char text[length + 8];
	struct tm_hist *h = fresh(TM_HIST_FINE), *out;
	unsigned int changed = 0;
	uint64_t state = 5, sum;

	(void)unused;
	fill_golden(h);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(tm_hist_decode(texts[i], &out), -EINVAL);
	for (size_t cut = 0; cut < length; cut++) {
		memcpy(text, golden, cut);
		text[cut] = '\0';
		assert_int_equal(tm_hist_decode(text, &out), -EINVAL);
		assert_null(out);
	}
	/* A tail is refused as well. */
	memcpy(text, golden, length);
	memcpy(text + length, "AAAA", 5);
	assert_int_equal(tm_hist_decode(text, &out), -EINVAL);

	/* Bits where the padding should have none. */
	memcpy(text, golden, length + 1);
	assert_string_equal(text + length - 2, "==");
	text[length - 3]++;
	assert_int_equal(tm_hist_decode(text, &out), -EINVAL);

	for (unsigned int round = 0; round < 100000; round++) {
		unsigned int edits = 1 + (unsigned int)(next(&state) % 3);

		memcpy(text, golden, length + 1);
		while (edits--) {
			size_t at = next(&state) % length;

			if (next(&state) % 2)
				text[at] = (char)(text[at] ^ 1 << next(&state) % 8);
			else
				text[at] = golden[next(&state) % length];
		}
		if (tm_hist_decode(text, &out)) {
			assert_null(out);
			continue;
		}
		/*
		 * What passes is sound. Nearly always it is an edit that changed
		 * nothing (a character by itself), else one that the checksum of
		 * zlib, an Adler-32, cannot see.
		 */
		sum = 0;
		for (uint32_t i = 0; i < out->slots; i++)
			sum += out->slot[i];
		assert_int_equal(sum, out->count);
		changed += memcmp(out->slot, h->slot, h->slots * sizeof(h->slot[0])) != 0;
		free(out);
	}
	assert_in_range(changed, 0, 10);
	free(h);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),	      cmocka_unit_test(test_exact_small),
		cmocka_unit_test(test_error_bound),   cmocka_unit_test(test_quantile_edges),
		cmocka_unit_test(test_clamp),	      cmocka_unit_test(test_merge),
		cmocka_unit_test(test_golden),	      cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_lying_payload), cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
