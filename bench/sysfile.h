/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading /proc and /sys, or a copy of them below another root, as JSON
 * values. What cannot be read is null.
 */
#ifndef TLBMARK_SYSFILE_H
#define TLBMARK_SYSFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

/* The whole file (also gzip-compressed ones, also /dev/kmsg), NUL-terminated; free(). NULL: errno says why. */
char *tm_sysfile_slurp(const char *root, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

bool tm_sysfile_exists(const char *root, const char *path);

/* A one-line file without its newline into buf. Bytes or -errno. */
ssize_t tm_sysfile_line(const char *root, const char *path, char *buf, size_t size);

/* The value after "KEY:" or "KEY=" at the start of a line of `text`, blanks off; false: no such key. */
bool tm_sysfile_key(const char *text, const char *key, char *buf, size_t size);

/* "a [b] c" or "a (b) c" becomes "b" in place; text without brackets stays. */
void tm_sysfile_chosen(char *text);

/* How many CPUs a list like "0-3,8" names. */
unsigned int tm_sysfile_count(const char *list);

/* New references, never NULL short of out of memory: a string, the chosen word, an integer, or null. */
json_t *tm_sysfile_string(const char *root, const char *path);
json_t *tm_sysfile_choice(const char *root, const char *path);
json_t *tm_sysfile_integer(const char *root, const char *path);
/* text NULL: null. Bytes that are not UTF-8 become '?'. */
json_t *tm_json_text(const char *text);
/* The number at the start of the value of a key, or null. */
json_t *tm_json_key_number(const char *text, const char *key);
json_t *tm_json_key_text(const char *text, const char *key);
/* What follows `prefix` in a blank-separated list, "a:1,b:2", as an object of strings, or null. */
json_t *tm_json_items(const char *list, const char *prefix);

#endif /* TLBMARK_SYSFILE_H */
