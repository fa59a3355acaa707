// SPDX-License-Identifier: GPL-3.0-or-later
/* One memory access that may fault, without the process dying of it. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

#include "responder.h"

static _Thread_local sigjmp_buf landing;
static _Thread_local volatile sig_atomic_t guarded, caught;

static void on_fault(int signal_number)
{
	if (guarded) {
		caught = signal_number;
		siglongjmp(landing, 1);
	}
	/* A fault of our own: die of it, so that the parent reports it. */
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

void tm_guard_install(void)
{
	struct sigaction sa = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

/* ThreadSanitizer's handler, which calls ours, has every signal blocked. */
#ifdef __SANITIZE_THREAD__
enum { SAVE_MASK = 1 };
#else
enum { SAVE_MASK = 0 };
#endif

/* What came instead of the access. */
static int landed(void)
{
	guarded = 0;
	return caught == SIGBUS ? -EIO : -EFAULT;
}

/*
 * sigsetjmp() without the signal mask: SA_NODEFER leaves nothing to restore,
 * and a system call here would let the responder's TLB be refilled or flushed
 * on the way.
 */
int tm_guarded_peek(const void *address, uint64_t *value)
{
	if (sigsetjmp(landing, SAVE_MASK))
		return landed();
	guarded = 1;
	*value = *(const volatile uint64_t *)address;
	guarded = 0;
	return 0;
}

int tm_guarded_poke(void *address, uint64_t value)
{
	if (sigsetjmp(landing, SAVE_MASK))
		return landed();
	guarded = 1;
	*(volatile uint64_t *)address = value;
	guarded = 0;
	return 0;
}

int tm_guarded_touch(const void *start, size_t bytes, size_t stride)
{
	if (sigsetjmp(landing, SAVE_MASK))
		return landed();
	guarded = 1;
	for (size_t i = 0; i < bytes; i += stride)
		(void)*((const volatile char *)start + i);
	guarded = 0;
	return 0;
}
