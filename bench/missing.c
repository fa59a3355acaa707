// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Who takes part and is not there any more: a process that was killed, a thread
 * whose CPU was taken away (hotplug, a cpuset) and that the kernel moved to
 * another. See responder.h and engine.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine.h"
#include "responder.h"

enum { CPU_SETS = 8 }; /* of 1,024 CPUs; the kernel wants room for all that there may be */

/* tid 0: the caller. Where the kernel does not tell it counts as there. */
static bool is_on(pid_t tid, unsigned int cpu)
{
	cpu_set_t sets[CPU_SETS];

	CPU_ZERO_S(sizeof(sets), sets);
	if (sched_getaffinity(tid, sizeof(sets), sets))
		return true;
	return CPU_COUNT_S(sizeof(sets), sets) == 1 && CPU_ISSET_S(cpu, sizeof(sets), sets);
}

/* The initiator's, which itself goes to another CPU where a workload wants it there. */
static bool is_offline(unsigned int cpu)
{
	char path[64], state = '1';
	int fd;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, &state, 1) != 1)
		state = '1';
	close(fd);
	return state == '0';
}

static int moved(const char *who, unsigned int cpu, char *why, size_t why_size)
{
	snprintf(why, why_size, "CPU %u was taken away from %s (offline, or not allowed any more)",
		 cpu, who);
	return -ECHILD;
}

int tm_responders_missing(const struct tm_responders *rs, char *why, size_t why_size)
{
	char who[32];

	for (unsigned int i = 0; i < rs->count; i++) {
		const struct tm_responder *r = &rs->r[i];
		siginfo_t info = {.si_pid = 0};

		if (r->process > 0 &&
		    !waitid(P_PID, (id_t)r->process, &info, WEXITED | WNOHANG | WNOWAIT) &&
		    info.si_pid) {
			if (info.si_code == CLD_EXITED)
				snprintf(why, why_size,
					 "the process of responder %u ended with status %d", i,
					 info.si_status);
			else
				snprintf(why, why_size,
					 "the process of responder %u died of signal %d (%s)", i,
					 info.si_status, strsignal(info.si_status));
			return -ECHILD;
		}
		snprintf(who, sizeof(who), "responder %u", i);
		if (!is_on(r->tid, r->cpu))
			return moved(who, r->cpu, why, why_size);
	}
	return rs->caller_pinned && is_offline(rs->caller_cpu)
		       ? moved("the initiator", rs->caller_cpu, why, why_size)
		       : 0;
}

void tm_responders_note_caller(struct tm_responders *rs)
{
	int cpu = sched_getcpu();

	rs->caller_cpu = cpu < 0 ? 0 : (unsigned int)cpu;
	rs->caller_pinned = cpu >= 0 && is_on(0, rs->caller_cpu);
}

bool tm_engine_lost_one(struct tm_engine *e)
{
	char why[sizeof(e->r->why)];

	if (!tm_responders_missing(&e->responders, why, sizeof(why)))
		return false;
	tm_fail(&e->initiator[0].t, -ECHILD, "%s", why);
	/* Nobody is waited for any more: a batch may have a thousand operations. */
	e->arm_timeout_ticks = 0;
	return true;
}
