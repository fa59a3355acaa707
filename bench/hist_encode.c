/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * HdrHistogram's V2 text form of a histogram, written and read.
 *
 * Inner (big-endian): cookie, payload bytes, normalising offset (0), digits
 * (2), lowest discernible (1), highest trackable, ratio (1.0), then the slots
 * up to the last one used as ZigZag LEB128 numbers, a run of n > 1 empty
 * slots as -n. Outer: cookie, bytes of zlib data, zlib data; all in base64.
 * The form has no exact min, max, sum and no `clamped`: a decoded histogram
 * has them to the slots' precision, and clamped 0.
 *
 * Source: the format notes in HdrHistogram's EncodableHistogram and
 * ZigZagEncoding (http://hdrhistogram.org).
 */
#include "hist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
	COOKIE_INNER = 0x1c849303 | 0x10, /* V2, counts of any width by LEB128 */
	COOKIE_OUTER = 0x1c849304 | 0x10,
	INNER_HEADER = 40,
	OUTER_HEADER = 8,
	DIGITS = 2,
	LEB_MAX = 9, /* HdrHistogram's ninth byte has eight bits of its own */
};

#define HIGHEST ((UINT64_C(1) << TM_HIST_VALUE_BITS) - 1)
#define RATIO_ONE UINT64_C(0x3ff0000000000000) /* 1.0, IEEE 754 */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_be(unsigned char *p, uint64_t v, unsigned int bytes)
{
	while (bytes--) {
		p[bytes] = (unsigned char)v;
		v >>= 8;
	}
}

static uint64_t get_be(const unsigned char *p, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

static size_t put_leb(unsigned char *p, int64_t number)
{
	uint64_t v = (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
	size_t n = 0;

	while (v > 0x7f && n < LEB_MAX - 1) {
		p[n++] = (unsigned char)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (unsigned char)v;
	return n;
}

/* Bytes taken, 0 where the text ends inside the number. */
static size_t get_leb(const unsigned char *p, size_t left, int64_t *number)
{
	uint64_t v = 0;
	size_t n = 0;

	for (;;) {
		if (n == left)
			return 0;
		if (n == LEB_MAX - 1) {
			v |= (uint64_t)p[n++] << 56;
			break;
		}
		v |= (uint64_t)(p[n] & 0x7f) << (7 * n);
		if (!(p[n++] & 0x80))
			break;
	}
	*number = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
	return n;
}

static char *base64_encode(const unsigned char *p, size_t n)
{
	char *text = malloc((n + 2) / 3 * 4 + 1), *to = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16;

		if (i + 1 < n)
			v |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < n)
			v |= p[i + 2];
		*to++ = alphabet[v >> 18];
		*to++ = alphabet[v >> 12 & 63];
		*to++ = i + 1 < n ? alphabet[v >> 6 & 63] : '=';
		*to++ = i + 2 < n ? alphabet[v & 63] : '=';
	}
	*to = '\0';
	return text;
}

/* Strict: whole quads, '=' only at the end, no stray bits. 0 or -EINVAL. */
static int base64_decode(const char *text, size_t length, unsigned char *out, size_t *bytes)
{
	unsigned int pad = 0;

	if (!length || length % 4)
		return -EINVAL;
	while (pad < 2 && text[length - 1 - pad] == '=')
		pad++;
	*bytes = 0;
	for (size_t i = 0; i < length; i += 4) {
		unsigned int digits = i + 4 == length ? 4 - pad : 4;
		uint32_t v = 0;

		for (unsigned int k = 0; k < 4; k++) {
			const char *at = k < digits ? strchr(alphabet, text[i + k]) : alphabet;

			if (!at)
				return -EINVAL;
			v = v << 6 | (uint32_t)(at - alphabet);
		}
		if (v & (digits == 2 ? 0xffff : digits == 3 ? 0xff : 0))
			return -EINVAL;
		for (unsigned int k = 0; k + 1 < digits; k++)
			out[(*bytes)++] = (unsigned char)(v >> (16 - 8 * k));
	}
	return 0;
}

/* Returns the bytes written; `p` has room for the header and LEB_MAX a slot. */
static size_t put_inner(const struct tm_hist *h, unsigned char *p)
{
	uint32_t used = h->slots, i = 0;
	size_t n = INNER_HEADER;

	/* Readers expect one slot at least. */
	while (used > 1 && !h->slot[used - 1])
		used--;
	while (i < used) {
		uint32_t zeros = 0;

		while (i + zeros < used && !h->slot[i + zeros])
			zeros++;
		n += put_leb(p + n, zeros > 1 ? -(int64_t)zeros : (int64_t)h->slot[i]);
		i += zeros > 1 ? zeros : 1;
	}
	put_be(p, COOKIE_INNER, 4);
	put_be(p + 4, n - INNER_HEADER, 4);
	put_be(p + 8, 0, 4);
	put_be(p + 12, DIGITS, 4);
	put_be(p + 16, 1, 8);
	put_be(p + 24, HIGHEST, 8);
	put_be(p + 32, RATIO_ONE, 8);
	return n;
}

char *tm_hist_encode(const struct tm_hist *h)
{
	unsigned char *inner, *outer = NULL;
	char *text = NULL;
	uLongf packed;
	size_t n;

	if (h->sub_bits != TM_HIST_FINE) {
		errno = EINVAL;
		return NULL;
	}
	inner = malloc(INNER_HEADER + (size_t)h->slots * LEB_MAX);
	if (!inner)
		return NULL;
	n = put_inner(h, inner);
	packed = compressBound(n);
	outer = malloc(OUTER_HEADER + packed);
	if (!outer || compress(outer + OUTER_HEADER, &packed, inner, n) != Z_OK) {
		errno = ENOMEM;
		goto out;
	}
	put_be(outer, COOKIE_OUTER, 4);
	put_be(outer + 4, packed, 4);
	text = base64_encode(outer, OUTER_HEADER + packed);
out:
	free(outer);
	free(inner);
	return text;
}

static int check_inner(const unsigned char *p, size_t n)
{
	if (n < INNER_HEADER || get_be(p, 4) != COOKIE_INNER ||
	    get_be(p + 4, 4) != n - INNER_HEADER || get_be(p + 8, 4) != 0 ||
	    get_be(p + 12, 4) != DIGITS || get_be(p + 16, 8) != 1 || get_be(p + 24, 8) > HIGHEST ||
	    get_be(p + 32, 8) != RATIO_ONE)
		return -EINVAL;
	return 0;
}

static int add_slots(struct tm_hist *h, const unsigned char *p, size_t left)
{
	uint32_t i = 0;

	while (left) {
		int64_t number;
		size_t n = get_leb(p, left, &number);

		/* Neither more slots than there are nor a count that overflows. */
		if (!n || i >= h->slots || number < -(int64_t)(h->slots - i) ||
		    (number > 0 && (uint64_t)number > INT64_MAX - h->count))
			return -EINVAL;
		p += n;
		left -= n;
		if (number < 0) {
			i += (uint32_t)-number;
			continue;
		}
		if (number > 0) {
			uint64_t low = tm_hist_slot_low(h, i), high = tm_hist_slot_high(h, i);
			uint64_t middle = low + (high - low) / 2;

			if (!h->count)
				h->min = low;
			h->max = high;
			h->slot[i] = (uint64_t)number;
			h->count += (uint64_t)number;
			h->sum += (double)middle * (double)number;
		}
		i++;
	}
	return 0;
}

int tm_hist_decode(const char *text, struct tm_hist **out)
{
	size_t length = strlen(text), bytes;
	struct tm_hist *h = tm_hist_new(TM_HIST_FINE);
	uLongf room = h ? INNER_HEADER + (uLongf)h->slots * LEB_MAX : 0;
	unsigned char *outer = malloc(length / 4 * 3 + 1), *inner = malloc(room + 1);
	uLong taken;
	int rc = -ENOMEM;

	*out = NULL;
	if (!h || !outer || !inner)
		goto out;
	rc = -EINVAL;
	if (base64_decode(text, length, outer, &bytes) || bytes < OUTER_HEADER ||
	    get_be(outer, 4) != COOKIE_OUTER || get_be(outer + 4, 4) != bytes - OUTER_HEADER)
		goto out;
	taken = bytes - OUTER_HEADER;
	if (uncompress2(inner, &room, outer + OUTER_HEADER, &taken) != Z_OK ||
	    taken != bytes - OUTER_HEADER || check_inner(inner, room))
		goto out;
	rc = add_slots(h, inner + INNER_HEADER, room - INNER_HEADER);
	if (!rc) {
		*out = h;
		h = NULL;
	}
out:
	free(inner);
	free(outer);
	free(h);
	return rc;
}
