/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Being asked to end: whoever set something up has to put it back first. */
#ifndef TLBMARK_SIGNALS_H
#define TLBMARK_SIGNALS_H

#include <signal.h>

/* The signal that asked for the end, 0: none; and whether one did, for tm_run(). */
extern volatile sig_atomic_t tm_caught;
extern volatile int tm_cancel;

/* Signals that would end the process set these; and end it again. */
void tm_signals_catch(void);
void tm_signals_release(void);

#endif /* TLBMARK_SIGNALS_H */
