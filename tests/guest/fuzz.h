/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The requests of all our devices, as the fuzzer knows them: what is in each
 * struct, so that a call can be right in all fields but one. A new module, or a
 * new request, is one entry in fuzz_requests.c.
 */
#ifndef TLBMARK_TESTS_GUEST_FUZZ_H
#define TLBMARK_TESTS_GUEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_kind {
	FIELD_NUMBER,	  /* low .. high */
	FIELD_OPERATIONS, /* the same; how long the call lasts */
	FIELD_ZERO,	  /* out, or reserved */
	FIELD_POINTER,	  /* to memory that is written, or 0 */
	FIELD_MASK,	  /* to a bitmap of CPUs, or 0 */
	FIELD_PAGE,	  /* an address where a page begins, or 0 */
	FIELD_TEXT,	  /* bytes with a NUL; empty is fine */
	FIELD_OUT,	  /* never read */
};

struct field {
	enum field_kind kind;
	size_t offset, bytes;
	uint64_t low, high;
};

enum { FIELDS_MAX = 16, REQUESTS_MAX = 8, DEVICES = 4, STRUCT_MAX = 128 };

struct request {
	const char *name;
	unsigned long number;
	size_t bytes;
	enum {
		REQUEST_QUICK,
		REQUEST_SLOW, /* does much: most often asked for what must be refused */
		REQUEST_RARE, /* the same, and takes a device, or time, that a guest may not have */
	} how;
	bool timed; /* begins with struct tm_kmod_run */
	struct field field[FIELDS_MAX];
};

struct device {
	const char *name; /* /dev/tlbmark-NAME, tlbmark_NAME.ko */
	/* Asked once of a new descriptor, with a struct of zeros, so that others can succeed; 0. */
	unsigned long first;
	struct request request[REQUESTS_MAX]; /* ends with a NULL name */
};

extern const struct device fuzz_device[DEVICES];

/* xorshift64*; the state is never 0. */
static inline uint64_t fuzz_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static inline uint64_t fuzz_below(uint64_t *state, uint64_t n)
{
	return n ? fuzz_random(state) % n : fuzz_random(state);
}

/* Memory of all kinds for a struct's pointers; the same in all threads. */
struct arena {
	char *written; /* ARENA_BYTES, readable and writable, and nothing behind them */
	char *mask;    /* a page: the bitmap of some CPUs */
	char *fixed;   /* a page that can only be read */
	char *none;    /* one that can't be accessed */
	size_t page_bytes;
};
enum { ARENA_BYTES = 16 << 12 };

int arena_make(struct arena *a);

enum fuzz_mode { FUZZ_VALID, FUZZ_ONE, FUZZ_WILD };

/* Fills `bytes` (STRUCT_MAX of them) with a request's struct. */
void fuzz_fill(const struct request *r, const struct arena *a, enum fuzz_mode mode,
	       uint64_t *random, void *bytes);
/*
 * Puts one number of it out of its range, where it has one that can be; then the
 * request must be refused. The field, or NULL.
 */
const struct field *fuzz_break(const struct request *r, uint64_t *random, void *bytes);
/* A pointer that may be no good at all. */
uint64_t fuzz_pointer(const struct arena *a, uint64_t *random);

/* Opens a device, and `ready` does what it wants first; a descriptor or -errno. */
int fuzz_open(const struct device *d, bool ready);

/*
 * fuzz_modules.c: each prints a line, and returns 0 or, where that failed, 1.
 * The modules are FOLDER/tlbmark_*.ko.
 */
int modules_load(const char *folder, uint64_t rounds);
int modules_open(void);
int modules_kill(uint64_t rounds, uint64_t seed);
int modules_unload(const char *folder);

/* Free memory and what is mapped for the kernel, with the modules loaded and idle. */
struct memory {
	long free_kib, vmalloc_kib, percpu_kib;
};
int memory_read(struct memory *m);
int memory_compare(const struct memory *before);
/* What the kernel complained of since it booted. */
int kernel_complaints(void);

#endif /* TLBMARK_TESTS_GUEST_FUZZ_H */
