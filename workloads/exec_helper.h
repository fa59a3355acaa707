/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What tlbmark-exec-helper tells the workload exec_args: written by the
 * helper, with one pwrite() to the descriptor whose decimal number is its
 * argv[0].
 */
#ifndef TLBMARK_EXEC_HELPER_H
#define TLBMARK_EXEC_HELPER_H

#include <stdint.h>

struct tm_exec_report {
	uint64_t stamp_ticks; /* the counter at the program's first instruction */
	uint64_t hash;	      /* tm_exec_hash_*() over argc, argv and envp */
	uint64_t strings;     /* in argv and envp */
	uint64_t stack;	      /* the stack pointer at the first instruction */
};

#define TM_EXEC_HASH_START UINT64_C(0xcbf29ce484222325)

/* FNV-1a, 64 bits (RFC 9923): one byte at a time, so both sides agree on any alignment. */
static inline uint64_t tm_exec_hash_byte(uint64_t hash, unsigned char byte)
{
	return (hash ^ byte) * UINT64_C(0x100000001b3);
}

/* The strings up to the NULL, each with its NUL, and their number to *strings. */
static inline uint64_t tm_exec_hash_strings(uint64_t hash, char *const *list, uint64_t *strings)
{
	for (; *list; list++, ++*strings) {
		const unsigned char *at = (const unsigned char *)*list;

		do
			hash = tm_exec_hash_byte(hash, *at);
		while (*at++);
	}
	return hash;
}

/* Over argc, argv and envp, so that a string that changes lists changes the hash. */
static inline uint64_t tm_exec_hash(uint64_t argc, char *const *argv, char *const *envp,
				    uint64_t *strings)
{
	uint64_t hash = TM_EXEC_HASH_START;

	for (int shift = 0; shift < 64; shift += 8)
		hash = tm_exec_hash_byte(hash, (unsigned char)(argc >> shift));
	*strings = 0;
	hash = tm_exec_hash_strings(hash, argv, strings);
	return tm_exec_hash_strings(hash, envp, strings);
}

#endif /* TLBMARK_EXEC_HELPER_H */
