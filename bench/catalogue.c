// SPDX-License-Identifier: GPL-3.0-or-later
/* Looking into the catalogue: a workload by name, and whether it can run. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"

const struct tm_workload *tm_workload_find(const char *name)
{
	for (const struct tm_workload *const *w = tm_workloads; *w; w++) {
		if (!strcmp((*w)->name, name))
			return *w;
	}
	return NULL;
}

static bool transparent_hugepages(void)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
	char line[64] = "";
	bool yes = false;

	if (f) {
		yes = fgets(line, sizeof(line), f) && !strstr(line, "[never]");
		fclose(f);
	}
	return yes;
}

int tm_workload_can_run(const struct tm_workload *w, char *why, size_t why_size)
{
	if (w->needs & TM_NEEDS_ROOT && geteuid()) {
		snprintf(why, why_size, "needs root");
		return -EPERM;
	}
	if (w->needs & TM_NEEDS_THP && !transparent_hugepages()) {
		snprintf(why, why_size,
			 "transparent huge pages are off; echo madvise > "
			 "/sys/kernel/mm/transparent_hugepage/enabled");
		return -ENOTSUP;
	}
	return w->probe ? w->probe(why, why_size) : 0;
}
