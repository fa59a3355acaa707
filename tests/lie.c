// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A preloaded library in whose hands some calls do nothing and say that they
 * did: to whoever looks, as if a translation had survived. LIE names them
 * ("madvise", "mprotect"), LIE_EVERY says each how manieth (1). "kill" kills a
 * child whose death is waited for, a moment before it would exit by itself.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic unsigned long calls;

static bool lies(const char *name)
{
	const char *which = getenv("LIE"), *every = getenv("LIE_EVERY");
	unsigned long n = every ? strtoul(every, NULL, 10) : 1;

	if (!which || !strstr(which, name))
		return false;
	return !((atomic_fetch_add(&calls, 1) + 1) % (n ? n : 1));
}

int madvise(void *at, size_t bytes, int advice)
{
	if (advice == MADV_DONTNEED && lies("madvise"))
		return 0;
	return (int)syscall(SYS_madvise, at, bytes, advice);
}

int mprotect(void *at, size_t bytes, int protection)
{
	if (protection == PROT_READ && lies("mprotect"))
		return 0;
	return (int)syscall(SYS_mprotect, at, bytes, protection);
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	if (!(options & WNOHANG) && lies("kill"))
		kill((pid_t)id, SIGKILL);
	return (int)syscall(SYS_waitid, type, id, info, options, NULL);
}
