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

#define THP_ENABLED "/sys/kernel/mm/transparent_hugepage/enabled"

/* Why there are no transparent huge pages; NULL: there are. */
static const char *no_transparent_hugepages(void)
{
	FILE *f = fopen(THP_ENABLED, "re");
	char line[64] = "";
	bool yes;

	if (!f)
		return "this kernel has no transparent huge pages "
		       "(CONFIG_TRANSPARENT_HUGEPAGE), or no /sys to ask for them";
	yes = fgets(line, sizeof(line), f) && !strstr(line, "[never]");
	fclose(f);
	return yes ? NULL : "transparent huge pages are off; echo madvise > " THP_ENABLED;
}

int tm_workload_can_run(const struct tm_workload *w, char *why, size_t why_size)
{
	if (w->needs & TM_NEEDS_ROOT && geteuid()) {
		snprintf(why, why_size, "needs root");
		return -EPERM;
	}
	if (w->needs & TM_NEEDS_THP && no_transparent_hugepages()) {
		snprintf(why, why_size, "%s", no_transparent_hugepages());
		return -ENOTSUP;
	}
	return w->probe ? w->probe(why, why_size) : 0;
}
