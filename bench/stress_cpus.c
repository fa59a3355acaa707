// SPDX-License-Identifier: GPL-3.0-or-later
/* CPUs that come and go while a stress run goes on. See stress.h. */
#include <stdio.h>
#include <string.h>

#include "stress.h"

static bool read_now(cpu_set_t *sets, size_t bytes)
{
	memset(sets, 0, bytes);
	return !sched_getaffinity(0, bytes, sets);
}

void tm_stress_cpus_begin(struct tm_stress_cpus *c)
{
	c->known = read_now(c->asked, sizeof(c->asked));
	memcpy(c->now, c->asked, sizeof(c->now));
}

static void list(char *out, size_t size, const cpu_set_t *from, const cpu_set_t *without,
		 size_t bytes)
{
	size_t n = 0;

	out[0] = '\0';
	for (unsigned int i = 0; i < 8 * bytes && n + 8 < size; i++) {
		if (CPU_ISSET_S(i, bytes, from) && !CPU_ISSET_S(i, bytes, without))
			n += (size_t)snprintf(out + n, size - n, "%s%u", n ? ", " : "", i);
	}
}

bool tm_stress_cpus_changed(struct tm_stress_cpus *c, char *what, size_t size)
{
	cpu_set_t now[TM_STRESS_CPU_SETS];
	char gone[128], back[128];

	if (!c->known)
		return false;
	/* Runs were started meanwhile, with the CPUs that there were then. */
	sched_setaffinity(0, sizeof(c->asked), c->asked);
	if (!read_now(now, sizeof(now)) || CPU_EQUAL_S(sizeof(now), now, c->now))
		return false;
	list(gone, sizeof(gone), c->now, now, sizeof(now));
	list(back, sizeof(back), now, c->now, sizeof(now));
	snprintf(what, size, "%s%s%s%s%s", gone[0] ? "CPU " : "", gone,
		 gone[0] ? " was taken away (offline, or not allowed any more)" : "",
		 back[0] ? gone[0] ? ", back is CPU " : "back is CPU " : "", back);
	memcpy(c->now, now, sizeof(now));
	return true;
}
