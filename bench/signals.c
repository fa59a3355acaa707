// SPDX-License-Identifier: GPL-3.0-or-later
#include <stdbool.h>
#include <stddef.h>

#include "signals.h"

volatile sig_atomic_t tm_caught;
volatile int tm_cancel;

static void on_signal(int number)
{
	tm_caught = number;
	tm_cancel = 1;
}

/* What the caller's caller ignores (nohup, a shell without job control) stays ignored. */
static bool is_ignored(int number)
{
	struct sigaction now;

	return !sigaction(number, NULL, &now) && now.sa_handler == SIG_IGN;
}

static void handle(void (*handler)(int))
{
	static const int signals[] = {SIGINT,  SIGTERM, SIGHUP,	   SIGQUIT, SIGUSR1,
				      SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU};
	struct sigaction sa = {.sa_handler = handler};

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (!is_ignored(signals[i]))
			sigaction(signals[i], &sa, NULL);
	}
	/* A closed pipe and a full quota are errors of a write, no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

void tm_signals_catch(void)
{
	handle(on_signal);
}

void tm_signals_release(void)
{
	handle(SIG_DFL);
}
