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

static const struct {
	const char *name, *lines;
} line_groups[TM_LINES] = {
	[TM_LINE_CALL] = {"function_call", "CAL "},
	[TM_LINE_TIMER] = {"timer", "LOC "},
	[TM_LINE_DEVICE] = {"device", ""},
	[TM_LINE_RESCHEDULE] = {"reschedule", "RES "},
	[TM_LINE_IRQ_WORK] = {"irq_work", "IWI "},
	[TM_LINE_NMI] = {"nmi", "NMI "},
	[TM_LINE_OTHER] = {"other", ""},
};

const char *tm_interrupt_line_name(enum tm_interrupt_line l)
{
	return line_groups[l].name;
}

/* "IPI1:  12  34  Function call interrupts": arch/arm64/kernel/smp.c numbers them. */
static enum tm_interrupt_line ipi_line_of(const char *line)
{
	static const struct {
		const char *description;
		enum tm_interrupt_line line;
	} lines[] = {
		{"Function call interrupts", TM_LINE_CALL},
		{"Rescheduling interrupts", TM_LINE_RESCHEDULE},
		{"Timer broadcast interrupts", TM_LINE_TIMER},
		{"IRQ work interrupts", TM_LINE_IRQ_WORK},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (strstr(line, lines[i].description))
			return lines[i].line;
	return TM_LINE_OTHER;
}

/* TM_LINES: counts what another line has already, or no interrupt. */
static enum tm_interrupt_line line_of(const char *name, size_t length)
{
	/* TLB: what function-call interrupts did; CAL has them (arch/x86/kernel/irq.c) */
	static const char no_interrupts[] = "TLB PMI RTR MCP ERR MIS ";
	char key[16];

	snprintf(key, sizeof(key), "%.*s ", (int)length, name);
	if (strstr(no_interrupts, key))
		return TM_LINES;
	if (isdigit((unsigned char)*name))
		return TM_LINE_DEVICE;
	if (!strncmp(name, "IPI", 3))
		return ipi_line_of(name);
	for (int l = 0; l < TM_LINES; l++)
		if (strstr(line_groups[l].lines, key))
			return (enum tm_interrupt_line)l;
	return TM_LINE_OTHER;
}

/* "            CPU0       CPU2": the column of each wanted CPU. 0 or -ENOENT. */
static int find_columns(const char *head, const unsigned int *cpus, unsigned int count,
			unsigned int *column)
{
	unsigned int found = 0;

	for (unsigned int at = 0; (head = strstr(head, "CPU")); at++) {
		unsigned long cpu = strtoul(head + 3, NULL, 10);

		for (unsigned int i = 0; i < count; i++)
			if (cpus[i] == cpu) {
				column[i] = at;
				found++;
			}
		head += 3;
	}
	return found == count ? 0 : -ENOENT;
}

static void add_columns(const char *at, enum tm_interrupt_line l, const unsigned int *column,
			unsigned int count, int sign, int64_t (*lines)[TM_LINES])
{
	char *end;

	for (unsigned int c = 0;; c++, at = end) {
		int64_t n = (int64_t)strtoull(at, &end, 10);

		if (end == at || (*end && !isspace((unsigned char)*end)))
			return;
		for (unsigned int i = 0; i < count; i++)
			if (column[i] == c)
				lines[i][l] += sign * n;
	}
}

int tm_interrupts_parse_cpus(FILE *f, const unsigned int *cpus, unsigned int count, int sign,
			     int64_t (*lines)[TM_LINES])
{
	unsigned int *column = calloc(count + 1, sizeof(*column));
	char *text = NULL;
	size_t size = 0;
	int error = -ENOMEM;

	if (column)
		error = getline(&text, &size, f) > 0 ? find_columns(text, cpus, count, column)
						     : -ENOENT;
	while (!error && getline(&text, &size, f) > 0) {
		const char *name = text + strspn(text, " ");
		size_t length = strcspn(name, ":");
		enum tm_interrupt_line l = line_of(name, length);

		if (name[length] && l != TM_LINES)
			add_columns(name + length + 1, l, column, count, sign, lines);
	}
	free(text);
	free(column);
	return error;
}

int tm_interrupts_of(const unsigned int *cpus, unsigned int count, int sign,
		     int64_t (*lines)[TM_LINES])
{
	FILE *f = fopen("/proc/interrupts", "re");
	int error;

	if (!f)
		return -errno;
	error = tm_interrupts_parse_cpus(f, cpus, count, sign, lines);
	fclose(f);
	return error;
}

const char *tm_symbols_name(const struct tm_symbols *symbols, uint64_t address)
{
	/* what later kernels call it */
	if (address == TM_FUNCTION_WAKEUP)
		return "sched_ttwu_pending";
	if (address == TM_FUNCTION_NONE)
		return "(none told)";
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
