/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Kernel knobs: saved before they are set, restored at the end, on signals,
 * and after a crash by the next start, from a journal on disk that is written
 * (and synced) before the knob is.
 */
#ifndef TLBMARK_SYSSTATE_H
#define TLBMARK_SYSSTATE_H

#include <stddef.h>

struct tm_sysstate;

/*
 * Opens the journal in `directory` (made if missing; NULL: /run/tlbmark for
 * root, else $XDG_RUNTIME_DIR/tlbmark or a directory of the user's in /tmp).
 * First undoes what a dead process left there: `*recovered` tells how many
 * knobs (may be NULL). What an earlier boot left is thrown away. The directory
 * is made with the first knob and removed once it is empty, so that nothing
 * is left where nothing is set. 0 with one line in why ("" if there is nothing to
 * say) where a journal was damaged or a knob could not be undone. Two living processes exclude each other only while one holds knobs
 * of the same path: the second gets -EBUSY from the set.
 */
int tm_sysstate_open(const char *directory, struct tm_sysstate **out, unsigned int *recovered,
		     char *why, size_t why_size);

/*
 * Why the last tm_knob() failed, in one line; "" if none did. Owned by s.
 */
const char *tm_sysstate_why(const struct tm_sysstate *s);

/*
 * For tests: every knob's path, debugfs: and tracefs: ones too, is looked for
 * below this directory, of this process from now on. NULL: the real ones. The
 * text stays the caller's and must live on.
 */
void tm_sysstate_set_root(const char *directory);

/*
 * Saves and sets one knob. `path`: a file below /proc/sys or /sys, or
 * "debugfs:REST" / "tracefs:REST", which is reached even where that file
 * system is not mounted (fsopen, fsmount: nothing is mounted for others).
 * Setting it twice keeps the first saved value. Knobs whose content shows
 * choices ("always [madvise] never") are saved as the chosen word.
 * 0, or -errno with one line in why.
 */
int tm_sysstate_set(struct tm_sysstate *s, const char *path, const char *value, char *why,
		    size_t why_size);

/*
 * Makes a directory: a cgroup, or an instance of tracefs (removed at restore,
 * unless a file of it is open). Same rules.
 */
int tm_sysstate_mkdir(struct tm_sysstate *s, const char *path, char *why, size_t why_size);

/*
 * Undoes everything, last first. Async-signal-safe, so that a handler may
 * call it (signals are blocked in the calling thread while a knob is being
 * set). In a forked child it does nothing. Number of knobs that could not be restored (their lines stay in the journal).
 */
int tm_sysstate_restore(struct tm_sysstate *s);

/*
 * What is set after the one is undone by the other, and what was set before stays: for
 * a knob that would change what others measure. The same number.
 */
const void *tm_sysstate_mark(const struct tm_sysstate *s);
int tm_sysstate_restore_to(struct tm_sysstate *s, const void *mark);

/* Restores and forgets. NULL is ignored. */
void tm_sysstate_close(struct tm_sysstate *s);

/* Reads a knob (same paths) into buf, last newline off; the chosen word alone
 * for lists. Bytes or -errno. */
int tm_knob_read(const char *path, char *buf, size_t size);

/* Opens what is at such a path, a directory too: a file descriptor (O_CLOEXEC), or -errno. */
int tm_knob_open(const char *path, int flags);

#endif /* TLBMARK_SYSSTATE_H */
