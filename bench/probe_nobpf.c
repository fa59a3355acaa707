// SPDX-License-Identifier: GPL-3.0-or-later
/* Stands for probe_bpf.c in a build without BPF: it refuses, and says why. */
#include <errno.h>
#include <stdio.h>

#include "probe_internal.h"

bool tm_probe_bpf_without_csd;

static int open_nobpf(unsigned int possible, void **state, volatile uint32_t **word, char *why,
		      size_t why_size)
{
	(void)possible;
	(void)state;
	(void)word;
	snprintf(why, why_size,
		 "this tlbmark was built without BPF; install clang, bpftool and libbpf-dev, and "
		 "configure and build it again");
	return -ENOTSUP;
}

/* What only makes sense after open() is never called. */
const struct tm_probe_ops tm_probe_bpf = {.open = open_nobpf};
