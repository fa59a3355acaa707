/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Between probe.c and the kinds of probe. Nothing else includes this, but the
 * probe's own tests.
 */
#ifndef TLBMARK_PROBE_INTERNAL_H
#define TLBMARK_PROBE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "probe.h"
#include "tlb_bpf.h"

enum { TM_SYMBOL_SIZE = 48, TM_SYMBOLS = 128 };

/* Names of kernel functions, found once and kept for every later phase. */
struct tm_symbols {
	unsigned int count;
	struct {
		uint64_t address;
		char name[TM_SYMBOL_SIZE];
	} symbol[TM_SYMBOLS];
};

/* What one kind can tell about a phase. */
struct tm_probe_abilities {
	bool functions, events, columns;
};

/* Takes the counts of one CPU that took part. */
typedef void tm_probe_each(void *into, unsigned int cpu, const struct tm_tally *tally);

/*
 * One kind of probe. `state` is what open() made; it is inherited by forked
 * processes, so whatever a phase changes is either in shared memory, or made
 * by start() and ended by stop() in the same process.
 */
struct tm_probe_ops {
	/* Opens and attaches. *word: shared memory, as tm_probe_in_operation(). */
	int (*open)(unsigned int possible, void **state, volatile uint32_t **word, char *why,
		    size_t why_size);
	void (*close)(void *state);
	int (*attach)(void *state);
	void (*detach)(void *state);
	int (*start)(void *state, const unsigned int *cpus, unsigned int count);
	size_t (*drain)(void *state, unsigned int cpu, struct tm_event *events, size_t capacity);
	/*
	 * Ends the phase. Calls each() with the counts of every CPU that took
	 * part, adds to *lost.
	 */
	int (*stop)(void *state, tm_probe_each *each, void *into, uint64_t *lost);
	struct tm_probe_abilities (*abilities)(const void *state);
};

extern const struct tm_probe_ops tm_probe_bpf, tm_probe_perf;

/* For tests: hook as on a kernel before 6.4, which has no csd tracepoints. */
extern bool tm_probe_bpf_without_csd;

/* Highest CPU number of a list such as "0-3,8" plus one; 0 for no list. */
unsigned int tm_possible_parse(const char *list);
/* tm_interrupts_read() and tm_interrupts_of() of an open file. */
int tm_interrupts_parse(FILE *f, const char *line, uint64_t *sum);
int tm_interrupts_parse_cpus(FILE *f, const unsigned int *cpus, unsigned int count, int sign,
			     int64_t (*lines)[TM_LINES]);
/*
 * Names the `count` addresses in `symbols` that are not there yet, from a file
 * like /proc/kallsyms (NULL: no such file). An address is a function's first
 * byte, or a few bytes behind it.
 */
void tm_symbols_resolve(struct tm_symbols *symbols, FILE *kallsyms, const uint64_t *addresses,
			unsigned int count);
/* The name; "(hidden)" where the kernel does not tell, "0xADDR" where it has none. */
const char *tm_symbols_name(const struct tm_symbols *symbols, uint64_t address);

/* Offset and size of a field in the `format` text of a trace event; -ENOENT. */
int tm_format_field(const char *format, const char *field, unsigned int *offset,
		    unsigned int *size);

#endif /* TLBMARK_PROBE_INTERNAL_H */
