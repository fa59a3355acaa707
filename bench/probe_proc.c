// SPDX-License-Identifier: GPL-3.0-or-later
/* What the probe reads as text from the kernel: interrupts, symbols, formats. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "probe_internal.h"

/* How far behind a function's first byte a hook's address may be (ENDBR). */
enum { SYMBOL_SLACK = 16 };

unsigned int tm_possible_parse(const char *list)
{
	unsigned int highest = 0;
	char *end;

	for (; isdigit((unsigned char)*list); list = end) {
		unsigned long n = strtoul(list, &end, 10);

		if (n + 1 > highest)
			highest = (unsigned int)n + 1;
		if (*end == '-' || *end == ',')
			end++;
	}
	return highest;
}

/*
 * "TLB:  12  34   TLB shootdowns": one number a CPU, then words. ERR and MIS
 * have one number only.
 */
int tm_interrupts_parse(FILE *f, const char *line, uint64_t *sum)
{
	size_t length = strlen(line), size = 0;
	char *text = NULL;
	int error = -ENOENT;

	while (error && getline(&text, &size, f) > 0) {
		const char *at = text + strspn(text, " ");
		char *end;

		if (strncmp(at, line, length) || at[length] != ':')
			continue;
		*sum = 0;
		error = 0;
		for (at += length + 1;; at = end) {
			uint64_t n = strtoull(at, &end, 10);

			/* "12 34 3-edge": a number is followed by a blank */
			if (end == at || (*end && !isspace((unsigned char)*end)))
				break;
			*sum += n;
		}
	}
	free(text);
	return error;
}

int tm_interrupts_read(const char *line, uint64_t *sum)
{
	FILE *f = fopen("/proc/interrupts", "re");
	int error;

	if (!f)
		return -errno;
	error = tm_interrupts_parse(f, line, sum);
	fclose(f);
	return error;
}

const char *tm_symbols_name(const struct tm_symbols *symbols, uint64_t address)
{
	for (unsigned int i = 0; i < symbols->count; i++)
		if (symbols->symbol[i].address == address)
			/* Nameless where a run was killed while it looked the name up. */
			return symbols->symbol[i].name[0] ? symbols->symbol[i].name : NULL;
	return NULL;
}

/* "ffffffff81096b20 t flush_tlb_func"; a module's have "\t[module]" behind. */
static bool name_symbols(struct tm_symbols *symbols, unsigned int first, FILE *kallsyms)
{
	uint64_t best[TM_SYMBOLS] = {0};
	char line[512], *end;
	bool told = false;

	while (fgets(line, sizeof(line), kallsyms)) {
		uint64_t address = strtoull(line, &end, 16);

		told = told || address;
		if (!address || end[0] != ' ' || !strchr("tTwW", end[1]))
			continue;
		for (unsigned int i = first; i < symbols->count; i++) {
			uint64_t wanted = symbols->symbol[i].address;

			if (address > wanted || wanted - address > SYMBOL_SLACK ||
			    address <= best[i])
				continue;
			best[i] = address;
			snprintf(symbols->symbol[i].name, TM_SYMBOL_SIZE, "%.*s",
				 (int)strcspn(end + 3, "\t\n"), end + 3);
		}
	}
	return told;
}

void tm_symbols_resolve(struct tm_symbols *symbols, FILE *kallsyms, const uint64_t *addresses,
			unsigned int count)
{
	unsigned int first;
	bool told = true;

	/* What a killed run began and left nameless is begun again. */
	while (symbols->count && !symbols->symbol[symbols->count - 1].name[0])
		symbols->count--;
	first = symbols->count;

	for (unsigned int i = 0; i < count && symbols->count < TM_SYMBOLS; i++)
		if (!tm_symbols_name(symbols, addresses[i])) {
			symbols->symbol[symbols->count].name[0] = '\0';
			symbols->symbol[symbols->count++].address = addresses[i];
		}
	if (symbols->count == first)
		return;
	told = kallsyms && name_symbols(symbols, first, kallsyms);
	for (unsigned int i = first; i < symbols->count; i++) {
		char *name = symbols->symbol[i].name;

		/* where the kernel hides its addresses, a stored record must not tell them */
		if (!told)
			strcpy(name, "(hidden)");
		else if (!name[0])
			snprintf(name, TM_SYMBOL_SIZE, "0x%" PRIx64, symbols->symbol[i].address);
	}
}

/* "	field:unsigned long pages;	offset:16;	size:8;	signed:0;" */
int tm_format_field(const char *format, const char *field, unsigned int *offset, unsigned int *size)
{
	size_t length = strlen(field);

	for (const char *at = format; (at = strstr(at, "field:")); at++) {
		const char *end = strchr(at, ';');

		if (!end)
			break;
		if ((size_t)(end - at) > length && !strncmp(end - length, field, length) &&
		    strchr(" *", end[-(ptrdiff_t)length - 1]) &&
		    sscanf(end, "; offset:%u; size:%u", offset, size) == 2)
			return 0;
	}
	return -ENOENT;
}
