// SPDX-License-Identifier: GPL-3.0-or-later
/* See progress.h. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clock.h"
#include "progress.h"

enum { BAR = 24 };

void tm_progress_begin(struct tm_progress *p, size_t total, bool quiet)
{
	p->shown = !quiet && isatty(STDERR_FILENO);
	p->done = 0;
	p->total = total;
	p->start_ns = tm_monotonic_ns();
}

static int columns(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) || w.ws_col < 40 ? 80 : w.ws_col;
}

void tm_progress_step(struct tm_progress *p, const char *label)
{
	uint64_t spent = tm_monotonic_ns() - p->start_ns, left = 0;
	size_t full = p->total ? p->done * BAR / p->total : 0;
	char bar[BAR + 1], line[256];
	int width;

	if (p->shown) {
		if (p->done)
			left = spent / p->done * (p->total - p->done) / 1000000000u;
		memset(bar, '.', BAR);
		memset(bar, '#', full);
		bar[BAR] = '\0';
		width = snprintf(line, sizeof(line), "[%s] %zu/%zu  %llu:%02llu left  %s", bar,
				 p->done, p->total, (unsigned long long)left / 60,
				 (unsigned long long)left % 60, label);
		if (width >= columns())
			width = columns() - 1;
		fprintf(stderr, "\r\033[K%.*s", width, line);
		fflush(stderr);
	}
	p->done++;
}

void tm_progress_end(struct tm_progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
