/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Knobs and their journal, on a fixture tree that stands for /proc/sys and
 * /sys; with root also on one real, harmless knob.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "../../bench/sysstate.h"

#define THP "/sys/kernel/mm/transparent_hugepage/enabled"
#define SCAN "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan"
#define OVER "/proc/sys/vm/nr_overcommit_hugepages"
#define CEILING "debugfs:x86/tlb_single_page_flush_ceiling"
#define GROUP "/sys/fs/cgroup/tlbmark"

static char base[64], tree[96], journal[96], why[512];

static void put(const char *path, const char *text)
{
	char name[512];
	FILE *f;

	snprintf(name, sizeof(name), "%s%s", tree, path);
	f = fopen(name, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void assert_knob(const char *path, const char *expect)
{
	char value[4096];

	assert_int_equal(tm_knob_read(path, value, sizeof(value)), strlen(expect));
	assert_string_equal(value, expect);
}

static void run(const char *format, const char *argument)
{
	char command[512];

	snprintf(command, sizeof(command), format, argument);
	assert_int_equal(system(command), 0);
}

static void reset_tree(void)
{
	put(THP, "always [madvise] never\n");
	put(SCAN, "4096\n");
	put(OVER, "0\n");
	put("/sys/kernel/debug/x86/tlb_single_page_flush_ceiling", "33\n");
}

static int make_tree(void **state)
{
	(void)state;
	strcpy(base, "/tmp/tlbmark-test-XXXXXX");
	assert_non_null(mkdtemp(base));
	snprintf(tree, sizeof(tree), "%s/tree", base);
	snprintf(journal, sizeof(journal), "%s/journal", base);
	run("mkdir -p %s/sys/kernel/mm/transparent_hugepage/khugepaged", tree);
	run("mkdir -p %s/proc/sys/vm", tree);
	run("mkdir -p %s/sys/kernel/debug/x86", tree);
	run("mkdir -p %s/sys/fs/cgroup", tree);
	reset_tree();
	tm_sysstate_set_root(tree);
	return 0;
}

static int remove_tree(void **state)
{
	(void)state;
	tm_sysstate_set_root(NULL);
	run("rm -rf %s", base);
	return 0;
}

static struct tm_sysstate *opened(unsigned int expect_recovered)
{
	struct tm_sysstate *s;
	unsigned int recovered;

	assert_int_equal(tm_sysstate_open(journal, &s, &recovered, why, sizeof(why)), 0);
	assert_int_equal(recovered, expect_recovered);
	return s;
}

static void set(struct tm_sysstate *s, const char *path, const char *value)
{
	int rc = tm_sysstate_set(s, path, value, why, sizeof(why));

	if (rc)
		fail_msg("%s", why);
}

static void assert_gone(void)
{
	assert_int_equal(access(journal, F_OK), -1);
	assert_int_equal(errno, ENOENT);
}

/* One line: something in it, no newline. */
static void assert_one_line(const char *must_contain)
{
	assert_true(strlen(why) > 10);
	assert_null(strchr(why, '\n'));
	if (!strstr(why, must_contain))
		fail_msg("\"%s\" lacks \"%s\"", why, must_contain);
}

/* The only file in the journal directory; its text in `text`, its path in `name`. */
static void journal_file(char *name, size_t name_size, char *text, size_t text_size)
{
	char command[256];
	FILE *f;

	snprintf(command, sizeof(command), "ls %s/*", journal);
	f = popen(command, "r");
	assert_non_null(f);
	assert_non_null(fgets(name, (int)name_size, f));
	pclose(f);
	name[strcspn(name, "\n")] = '\0';
	f = fopen(name, "r");
	assert_non_null(f);
	text[fread(text, 1, text_size - 1, f)] = '\0';
	fclose(f);
}

/* What one run needs goes with it; what was set before, and again in it, stays. */
static void test_restore_to_mark(void **unused)
{
	struct tm_sysstate *s = opened(0);
	const void *mark;

	(void)unused;
	mark = tm_sysstate_mark(s);
	set(s, CEILING, "1");
	assert_int_equal(tm_sysstate_restore_to(s, mark), 0);
	assert_knob(CEILING, "33");
	set(s, THP, "never");
	for (int i = 0; i < 3; i++) {
		mark = tm_sysstate_mark(s);
		set(s, SCAN, "17");
		set(s, CEILING, "1");
		set(s, THP, "always");
		assert_knob(SCAN, "17");
		assert_int_equal(tm_sysstate_restore_to(s, mark), 0);
		assert_knob(SCAN, "4096");
		assert_knob(CEILING, "33");
		assert_knob(THP, "always");
	}
	tm_sysstate_close(s);
	assert_knob(THP, "madvise");
	assert_gone();
	reset_tree();
}

static void test_set_and_restore(void **unused)
{
	char name[256], text[2048], expect[256];
	struct tm_sysstate *s = opened(0);

	(void)unused;
	assert_gone(); /* opened, nothing set: nothing on disk */
	assert_knob(THP, "madvise");
	set(s, THP, "never");
	set(s, SCAN, "17");
	set(s, SCAN, "18"); /* the saved value stays 4096 */
	set(s, CEILING, "1");
	put(THP, "x[y]z\n"); /* no list: brackets inside a word */
	assert_knob(THP, "x[y]z");
	assert_knob(SCAN, "18");
	assert_knob(CEILING, "1");
	journal_file(name, sizeof(name), text, sizeof(text));
	snprintf(expect, sizeof(expect), "%s/%d.", journal, (int)getpid());
	assert_int_equal(strncmp(name, expect, strlen(expect)), 0);
	assert_non_null(strstr(text, "\n+ knob " THP " madvise\n+ knob " SCAN
				     " 4096\n+ knob " CEILING " 33\n"));
	assert_int_equal(tm_sysstate_restore(s), 0);
	assert_knob(THP, "madvise");
	assert_knob(SCAN, "4096");
	assert_knob(CEILING, "33");
	assert_gone();
	/* It can go on after a restore, with a new saved value. */
	put(SCAN, "5\n");
	set(s, SCAN, "6");
	tm_sysstate_close(s);
	assert_knob(SCAN, "5");
	assert_gone();
	tm_sysstate_close(NULL);
	reset_tree();
}

static void test_order_and_escapes(void **unused)
{
	static const char odd[] = "4\t4 1\\040 7\x01";
	struct tm_sysstate *s = opened(0);
	char name[256], text[2048];
	pid_t child;

	(void)unused;
	put(SCAN, odd);
	put(OVER, "");
	put("/sys/fs/cgroup/procs", "1\n");
	child = fork();
	if (!child) {
		tm_sysstate_close(s);
		if (tm_sysstate_open(journal, &s, NULL, why, sizeof(why)) ||
		    tm_sysstate_set(s, SCAN, "1", why, sizeof(why)) ||
		    tm_sysstate_set(s, OVER, "2", why, sizeof(why)) ||
		    tm_sysstate_mkdir(s, GROUP, why, sizeof(why)) ||
		    tm_sysstate_mkdir(s, GROUP "/inner", why, sizeof(why)))
			_exit(1);
		raise(SIGKILL);
	}
	waitpid(child, NULL, 0);
	assert_knob(SCAN, "1");
	journal_file(name, sizeof(name), text, sizeof(text));
	assert_non_null(strstr(text, "4\\0114\\0401\\134040\\0407\\001\n"));
	tm_sysstate_close(s);
	/* The inner directory goes first, or the outer one could not. */
	s = opened(4);
	assert_string_equal(why, "");
	assert_knob(SCAN, odd);
	assert_knob(OVER, "");
	snprintf(name, sizeof(name), "%s" GROUP, tree);
	assert_int_equal(access(name, F_OK), -1);
	assert_gone();
	tm_sysstate_close(s);
	reset_tree();
}

static void test_mkdir(void **unused)
{
	struct tm_sysstate *s = opened(0);
	char name[256];

	(void)unused;
	snprintf(name, sizeof(name), "%s" GROUP, tree);
	assert_int_equal(mkdir(name, 0755), 0);
	assert_int_equal(tm_sysstate_mkdir(s, GROUP, why, sizeof(why)), -EEXIST);
	assert_one_line(GROUP);
	assert_gone();
	assert_int_equal(tm_sysstate_mkdir(s, GROUP "/a", why, sizeof(why)), 0);
	assert_int_equal(tm_sysstate_mkdir(s, GROUP "/a", why, sizeof(why)), -EEXIST);
	/* Something is in it: it cannot be removed, and the line stays. */
	snprintf(name, sizeof(name), "%s" GROUP "/a/b", tree);
	assert_int_equal(mkdir(name, 0755), 0);
	set(s, SCAN, "9");
	assert_int_equal(tm_sysstate_restore(s), 1);
	assert_knob(SCAN, "4096");
	assert_int_equal(access(journal, F_OK), 0);
	assert_int_equal(rmdir(name), 0);
	/* What was undone is not undone again, over what another set since. */
	put(SCAN, "77\n");
	assert_int_equal(tm_sysstate_restore(s), 0);
	assert_knob(SCAN, "77");
	assert_gone();
	tm_sysstate_close(s);
	run("rmdir %s" GROUP, tree);
	reset_tree();
}

static void test_refused_paths(void **unused)
{
	static const char *const bad[] = {
		"/etc/passwd",
		"/proc/sys/../../etc/passwd",
		"/sys/",
		"/sys//kernel",
		"/sys/./x",
		"sys/kernel",
		"debugfs:",
		"debugfs:/x",
		"debugfs:a/../../b",
		"tracefs:..",
		"bpffs:x",
		"",
	};
	struct tm_sysstate *s = opened(0);
	char longer[5000];

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(tm_sysstate_set(s, bad[i], "1", why, sizeof(why)), -EINVAL);
		assert_int_equal(tm_sysstate_mkdir(s, bad[i], why, sizeof(why)), -EINVAL);
		assert_int_equal(tm_knob_read(bad[i], longer, sizeof(longer)), -EINVAL);
	}
	assert_int_equal(tm_knob(s, "/sys/kernel/none", "1"), -ENOENT);
	assert_non_null(strstr(tm_sysstate_why(s), "/sys/kernel/none"));
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(tm_sysstate_set(s, SCAN, longer, why, sizeof(why)), -E2BIG);
	memcpy(longer, "/sys/", 5);
	assert_int_equal(tm_sysstate_set(s, longer, "1", why, sizeof(why)), -ENAMETOOLONG);
	put(SCAN, longer); /* too long to save, so not set */
	assert_int_equal(tm_sysstate_set(s, SCAN, "1", why, sizeof(why)), -E2BIG);
	assert_one_line(SCAN);
	assert_int_equal(tm_knob_read(SCAN, longer, 4), -E2BIG);
	tm_sysstate_close(s);
	assert_gone();
	reset_tree();
}

/* A child that sets knobs until it is killed; `ready` is written to once it does. */
static pid_t spawn_setter(int ready)
{
	pid_t child = fork();

	if (child)
		return child;
	for (unsigned int i = 0;; i++) {
		struct tm_sysstate *s;
		char value[16];

		snprintf(value, sizeof(value), "%u", i);
		if (tm_sysstate_open(journal, &s, NULL, why, sizeof(why)) ||
		    tm_sysstate_set(s, THP, "never", why, sizeof(why)) ||
		    tm_sysstate_set(s, SCAN, value, why, sizeof(why)) ||
		    tm_sysstate_mkdir(s, GROUP, why, sizeof(why)) ||
		    tm_sysstate_set(s, OVER, value, why, sizeof(why))) {
			fprintf(stderr, "%s\n", why);
			_exit(1);
		}
		if (!i && write(ready, "x", 1) != 1)
			_exit(2);
		tm_sysstate_close(s);
	}
}

static void test_killed(void **unused)
{
	unsigned int recovered, in_all = 0;

	(void)unused;
	srand(1);
	for (unsigned int round = 0; round < 50; round++) {
		struct timespec pause = {.tv_nsec = rand() % 3000000};
		struct tm_sysstate *s;
		char name[256], c;
		int ready[2], status;
		pid_t child;

		assert_int_equal(pipe(ready), 0);
		child = spawn_setter(ready[1]);
		close(ready[1]);
		assert_int_equal(read(ready[0], &c, 1), 1);
		close(ready[0]);
		nanosleep(&pause, NULL);
		kill(child, SIGKILL);
		/* A zombie is dead as well: recovery does not wait for its parent. */
		if (round % 2)
			waitid(P_PID, (id_t)child, &(siginfo_t){0}, WEXITED | WNOWAIT);
		else
			waitpid(child, &status, 0);
		assert_int_equal(tm_sysstate_open(journal, &s, &recovered, why, sizeof(why)), 0);
		in_all += recovered;
		assert_knob(THP, "madvise");
		assert_knob(SCAN, "4096");
		assert_knob(OVER, "0");
		snprintf(name, sizeof(name), "%s" GROUP, tree);
		assert_int_equal(access(name, F_OK), -1);
		assert_gone();
		tm_sysstate_close(s);
		put(THP, "always [madvise] never\n");
		if (round % 2)
			waitpid(child, &status, 0);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	assert_true(in_all > 10); /* else the killing always missed */
}

static struct tm_sysstate *handled;

static void on_signal(int number)
{
	(void)number;
	if (tm_sysstate_restore(handled))
		_exit(3);
	_exit(0);
}

static void test_signals(void **unused)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM};

	(void)unused;
	for (unsigned int round = 0; round < 24; round++) {
		int number = numbers[round % 4], status;
		pid_t child = fork();

		if (!child) {
			if (tm_sysstate_open(journal, &handled, NULL, why, sizeof(why)))
				_exit(1);
			signal(number, on_signal);
			/* Hit while it sets: another moment each round. */
			for (unsigned int i = 0;; i++) {
				if (i == 2)
					kill(getppid(), SIGUSR1);
				if (tm_sysstate_set(handled, SCAN, "1", why, sizeof(why)) ||
				    tm_sysstate_set(handled, THP, "never", why, sizeof(why)) ||
				    tm_sysstate_restore(handled))
					_exit(2);
			}
		}
		{
			struct timespec pause = {.tv_nsec = 1000000 + 170000 * (long)round};
			sigset_t wait_for;
			const struct timespec limit = {.tv_sec = 10};

			sigemptyset(&wait_for);
			sigaddset(&wait_for, SIGUSR1);
			assert_int_equal(sigtimedwait(&wait_for, NULL, &limit), SIGUSR1);
			nanosleep(&pause, NULL);
		}
		kill(child, number);
		waitpid(child, &status, 0);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		assert_knob(SCAN, "4096");
		assert_knob(THP, "madvise");
		assert_gone();
		reset_tree();
	}
}

static void test_two_processes(void **unused)
{
	struct tm_sysstate *s = opened(0);
	int to[2], from[2], status;
	char c;
	pid_t child;

	(void)unused;
	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	set(s, OVER, "5");
	child = fork();
	if (!child) {
		struct tm_sysstate *mine;

		/* An inherited handle is the parent's business. */
		if (tm_sysstate_set(s, SCAN, "1", why, sizeof(why)) != -EPERM)
			_exit(1);
		if (tm_sysstate_open(journal, &mine, NULL, why, sizeof(why)) ||
		    tm_sysstate_set(mine, SCAN, "2", why, sizeof(why)))
			_exit(2);
		/* Nor does it undo what the parent has set. */
		if (tm_sysstate_restore(s) || tm_knob_read(OVER, why, sizeof(why)) != 1 ||
		    why[0] != '5')
			_exit(5);
		if (write(from[1], "x", 1) != 1 || read(to[0], &c, 1) != 1)
			_exit(3);
		tm_sysstate_close(mine);
		tm_sysstate_close(s);
		_exit(0);
	}
	assert_int_equal(read(from[0], &c, 1), 1);
	/* Its knob is respected, by a set and by a recovery; others are free. */
	assert_int_equal(tm_sysstate_set(s, SCAN, "3", why, sizeof(why)), -EBUSY);
	assert_one_line("process");
	assert_int_equal(tm_knob_rely(s, SCAN), -EBUSY);
	assert_non_null(strstr(tm_sysstate_why(s), SCAN));
	assert_int_equal(tm_knob_rely(s, THP), 0);
	assert_int_equal(tm_knob_rely(s, OVER), 0);
	assert_knob(SCAN, "2");
	tm_sysstate_close(s);
	s = opened(0);
	assert_knob(SCAN, "2");
	set(s, THP, "never");
	assert_knob(OVER, "0");
	assert_int_equal(write(to[1], "x", 1), 1);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_knob(SCAN, "4096");
	assert_knob(THP, "never"); /* the child's restore left ours alone */
	assert_int_equal(tm_knob_rely(s, SCAN), 0);
	set(s, SCAN, "3"); /* free now */
	tm_sysstate_close(s);
	assert_knob(SCAN, "4096");
	assert_knob(THP, "madvise");
	assert_gone();
	reset_tree();
	close(to[0]), close(to[1]), close(from[0]), close(from[1]);
}

static void write_journal(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	assert_true(mkdir(journal, 0700) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s", journal, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void boot(char *head, size_t size, const char *id)
{
	char here[64] = "";
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");

	assert_non_null(f);
	assert_non_null(fgets(here, sizeof(here), f));
	fclose(f);
	here[strcspn(here, "\n")] = '\0';
	snprintf(head, size, "tlbmark-journal 1 %s\n", id ? id : here);
}

/* A journal of a dead process (no process is number 2^22) with this text. */
static void recover(const char *head, const char *lines, unsigned int expect, const char *in_why)
{
	char text[2048];
	struct tm_sysstate *s;

	put(THP, "always madvise [never]\n");
	put(SCAN, "1\n");
	snprintf(text, sizeof(text), "%s%s", head, lines);
	write_journal("4194304.12", text);
	s = opened(expect);
	if (in_why)
		assert_one_line(in_why);
	else
		assert_string_equal(why, "");
	tm_sysstate_close(s);
	assert_gone();
}

static void test_damaged(void **unused)
{
	static const char whole[] = "+ knob " THP " madvise\n+ knob " SCAN " 4096\n";
	char head[128], other[256], text[256];
	struct tm_sysstate *s;

	(void)unused;
	boot(head, sizeof(head), NULL);
	recover(head, whole, 2, NULL);
	assert_knob(THP, "madvise");
	assert_knob(SCAN, "4096");
	/* Cut anywhere: never more than was whole, and the word when a line is not. */
	for (size_t cut = 0; cut < sizeof(whole) - 1; cut++) {
		unsigned int lines = cut >= sizeof("+ knob " THP " madvise\n") - 1;
		int at_end = cut == 0 || whole[cut - 1] == '\n';

		snprintf(text, sizeof(text), "%.*s", (int)cut, whole);
		recover(head, text, lines, at_end ? NULL : "incomplete");
		assert_knob(THP, lines ? "madvise" : "never");
		assert_knob(SCAN, "1");
	}
	/* Lines that are not ours are passed over; the rest is undone. */
	recover(head, "+ knob /etc/passwd x\n+ knob " SCAN " 4096\n", 1, "damaged");
	recover(head, "rubbish\n+ knob " SCAN " 4096\n\n", 1, "damaged");
	recover(head, "+ knob " SCAN " 40\\96\n+ knob " THP " madvise\n", 1, "damaged");
	recover(head, "+ knob " SCAN "\n+ bob " SCAN " 1\n+ knob " SCAN " 1 2\n", 0, "damaged");
	recover(head, "- knob " SCAN " 4096\n", 0, NULL);
	assert_knob(SCAN, "1");
	recover("", "", 0, "incomplete");
	recover("", "what\n+ knob " SCAN " 4096\n", 1, "damaged");
	assert_knob(SCAN, "4096");
	/* A knob that is no more needs no undoing. */
	recover(head, "+ knob /sys/kernel/none 1\n+ dir " GROUP "/none \n", 2, NULL);
	/* After a reboot the knobs are gone, and others may have set them. */
	boot(other, sizeof(other), "3b1d5a3e-0000-4000-8000-000000000000");
	recover(other, whole, 0, NULL);
	assert_knob(SCAN, "1");
	/* Its number is used by another process now. */
	snprintf(text, sizeof(text), "%d.1", (int)getpid());
	put(SCAN, "1\n");
	snprintf(other, sizeof(other), "%s+ knob " SCAN " 4096\n", head);
	write_journal(text, other);
	tm_sysstate_close(opened(1));
	assert_knob(SCAN, "4096");
	assert_gone();
	/* Files that are not journals stay. */
	write_journal("4194304.12x", "mine");
	s = opened(0);
	tm_sysstate_close(s);
	run("rm -r %s", journal);
	reset_tree();
}

static void test_not_undone(void **unused)
{
	struct tm_sysstate *s;
	char head[128], text[512], name[256];

	(void)unused;
	boot(head, sizeof(head), NULL);
	snprintf(text, sizeof(text), "%s+ knob " SCAN " 4096\n+ dir " GROUP " \n", head);
	write_journal("4194304.12", text);
	snprintf(name, sizeof(name), "mkdir -p %%s" GROUP "/busy");
	run(name, tree);
	put(SCAN, "1\n");
	s = opened(1);
	assert_one_line(GROUP);
	tm_sysstate_close(s);
	assert_knob(SCAN, "4096");
	put(SCAN, "2\n");
	run("rmdir %s" GROUP "/busy", tree);
	/* The next start tries what is left, and only that. */
	s = opened(1);
	assert_string_equal(why, "");
	assert_knob(SCAN, "2");
	assert_gone();
	tm_sysstate_close(s);
	reset_tree();
}

static void test_unwritable(void **unused)
{
	struct tm_sysstate *s;
	char elsewhere[128];
	int rc, status;
	pid_t child;

	(void)unused;
	/* A parent that is not there; a file; a link; a directory open to others. */
	snprintf(elsewhere, sizeof(elsewhere), "%s/none/journal", base);
	assert_int_equal(tm_sysstate_open(elsewhere, &s, NULL, why, sizeof(why)), 0);
	assert_int_equal(tm_sysstate_set(s, SCAN, "1", why, sizeof(why)), -ENOENT);
	assert_one_line(elsewhere);
	assert_knob(SCAN, "4096");
	tm_sysstate_close(s);
	run("touch %s", journal);
	assert_int_equal(tm_sysstate_open(journal, &s, NULL, why, sizeof(why)), -ENOTDIR);
	assert_one_line(journal);
	run("rm %s && ln -s /tmp %1$s", journal);
	rc = tm_sysstate_open(journal, &s, NULL, why, sizeof(why));
	assert_true(rc == -ELOOP || rc == -ENOTDIR);
	assert_null(s);
	run("rm %s && mkdir -m 777 %1$s", journal);
	assert_int_equal(tm_sysstate_open(journal, &s, NULL, why, sizeof(why)), -EPERM);
	assert_one_line("chmod");
	run("rmdir %s", journal);

	/* Without privilege: the knob's own permissions, and nothing left behind. */
	run("chmod -R a-w %s/proc/sys/vm", tree);
	run("chmod 755 %s", base);
	child = fork();
	if (!child) {
		if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(1);
		snprintf(journal, sizeof(journal), "/tmp/tlbmark-test-%d", (int)getpid());
		if (tm_sysstate_open(journal, &s, NULL, why, sizeof(why)))
			_exit(2);
		if (tm_sysstate_set(s, OVER, "1", why, sizeof(why)) != -EACCES)
			_exit(3);
		tm_sysstate_close(s);
		_exit(strstr(why, "root") && access(journal, F_OK) ? 0 : 4);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	run("chmod -R u+w %s/proc/sys/vm", tree);
	/* A directory of another user. */
	if (geteuid() == 0) {
		assert_int_equal(mkdir(journal, 0700), 0);
		assert_int_equal(chown(journal, 65534, 65534), 0);
		assert_int_equal(tm_sysstate_open(journal, &s, NULL, why, sizeof(why)), -EPERM);
		assert_one_line("65534");
		run("rmdir %s", journal);
	}
}

enum { NO_MOUNTS = 77 };

/* In a mount namespace of its own, with `journal` on a tmpfs of one page, full or read-only. */
static int on_tiny_disk(unsigned long flags)
{
	struct tm_sysstate *s;
	char name[256] = "";
	int fd, rc;

	/* Not where / is no mount point, as in a chroot. */
	if (unshare(CLONE_NEWNS) || mount("", "/", "", MS_REC | MS_PRIVATE, NULL))
		return NO_MOUNTS;
	if (mkdir(journal, 0700) || mount("tiny", journal, "tmpfs", 0, "size=4096,mode=700"))
		return 10;
	if (flags) {
		if (mount("", journal, "", MS_REMOUNT | flags, NULL))
			return 11;
	} else {
		snprintf(name, sizeof(name), "%s/full", journal);
		fd = open(name, O_WRONLY | O_CREAT, 0600);
		while (write(fd, name, sizeof(name)) > 0)
			;
		close(fd);
	}
	if (tm_sysstate_open(journal, &s, NULL, why, sizeof(why)))
		return 12;
	rc = tm_sysstate_set(s, SCAN, "1", why, sizeof(why));
	if (rc != (flags ? -EROFS : -ENOSPC) || !strstr(why, journal) || strchr(why, '\n'))
		return 13;
	snprintf(name, sizeof(name), "test $(ls %s | grep -vc full) = 0", journal);
	if (system(name))
		return 14;
	if (!flags) {
		/* Room for the first line, not for the second. */
		char value[4051];

		memset(value, 'x', 4050);
		value[4050] = '\0';
		put(OVER, value);
		snprintf(name, sizeof(name), "rm %s/full", journal);
		if (system(name) || tm_sysstate_set(s, SCAN, "1", why, sizeof(why)))
			return 15;
		if (tm_sysstate_set(s, OVER, "1", why, sizeof(why)) != -ENOSPC)
			return 16;
		assert_knob(SCAN, "1");
		assert_knob(OVER, value);
	}
	tm_sysstate_close(s);
	return 0;
}

/* A write that stops half way, in the head and in a second line. */
static int limited(void)
{
	struct rlimit limit = {10, RLIM_INFINITY};
	struct tm_sysstate *s;
	char name[256], text[2048];

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) ||
	    tm_sysstate_open(journal, &s, NULL, why, sizeof(why)))
		return 1;
	if (tm_sysstate_set(s, SCAN, "1", why, sizeof(why)) != -EFBIG || !strstr(why, journal))
		return 2;
	if (!access(journal, F_OK))
		return 3;
	limit.rlim_cur = 160;
	setrlimit(RLIMIT_FSIZE, &limit);
	if (tm_sysstate_set(s, SCAN, "1", why, sizeof(why)) ||
	    tm_sysstate_set(s, THP, "never", why, sizeof(why)) != -EFBIG)
		return 4;
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	journal_file(name, sizeof(name), text, sizeof(text));
	if (strstr(text, THP) || text[strlen(text) - 1] != '\n' ||
	    tm_sysstate_set(s, OVER, "1", why, sizeof(why)))
		return 5;
	tm_sysstate_close(s);
	return access(journal, F_OK) ? 0 : 6;
}

static void test_half_written(void **unused)
{
	pid_t child = fork();
	int status;

	(void)unused;
	if (!child)
		_exit(limited());
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_knob(SCAN, "4096");
	assert_knob(THP, "madvise");
	assert_knob(OVER, "0");
}

static void test_disk(void **unused)
{
	static const unsigned long flags[] = {0, MS_RDONLY};

	(void)unused;
	if (geteuid())
		return; /* takes a mount */
	for (size_t i = 0; i < 2; i++) {
		int status;
		pid_t child = fork();

		if (!child)
			_exit(on_tiny_disk(flags[i]));
		waitpid(child, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == NO_MOUNTS) {
			print_message("no mounts of its own here: not tried\n");
			return;
		}
		assert_int_equal(status, 0);
		assert_knob(SCAN, "4096");
		run("rmdir %s", journal); /* the mount point */
		reset_tree();
	}
}

/* The machine's own knobs; each as it was afterwards. */
static void test_real(void **unused)
{
	static const char *const knobs[] = {OVER, SCAN, CEILING};
	char before[256], after[256];
	int fs;

	(void)unused;
	if (geteuid())
		return;
	tm_sysstate_set_root(NULL);
	/* Where this may be done at all, it is reached without being mounted. */
	fs = fsopen("tracefs", FSOPEN_CLOEXEC);
	if (fs >= 0) {
		close(fs);
		assert_true(tm_knob_read("tracefs:buffer_size_kb", after, sizeof(after)) > 0);
	}
	for (size_t i = 0; i < sizeof(knobs) / sizeof(knobs[0]); i++) {
		struct tm_sysstate *s;
		int status;
		pid_t child;

		if (tm_knob_read(knobs[i], before, sizeof(before)) <= 0)
			continue; /* this kernel has it not */
		child = fork();
		if (!child) {
			if (tm_sysstate_open(journal, &s, NULL, why, sizeof(why)) ||
			    tm_sysstate_set(s, knobs[i], "7", why, sizeof(why))) {
				fprintf(stderr, "%s\n", why);
				_exit(1);
			}
			raise(SIGKILL);
		}
		waitpid(child, &status, 0);
		assert_true(WIFSIGNALED(status));
		assert_knob(knobs[i], "7");
		s = opened(1);
		tm_knob_read(knobs[i], after, sizeof(after));
		assert_string_equal(after, before);
		/* A value that the kernel refuses changes nothing, not even the disk. */
		assert_true(tm_sysstate_set(s, knobs[i], "no number", why, sizeof(why)) < 0);
		assert_one_line(knobs[i]);
		assert_gone();
		set(s, knobs[i], "8");
		assert_knob(knobs[i], "8");
		tm_sysstate_close(s);
		assert_knob(knobs[i], before);
		assert_gone();
	}
	tm_sysstate_set_root(tree);
}

static void test_default_directory(void **unused)
{
	char expect[160];
	int status;
	pid_t child;

	(void)unused;
	put("/sys/fs/cgroup/knob", "1\n");
	run("chmod 666 %s/sys/fs/cgroup/knob", tree);
	child = fork();
	if (!child) {
		struct tm_sysstate *s;

		if (geteuid() == 0 && (chown(base, 65534, 65534) || setgid(65534) || setuid(65534)))
			_exit(1);
		setenv("XDG_RUNTIME_DIR", base, 1);
		snprintf(expect, sizeof(expect), "%s/tlbmark", base);
		if (tm_sysstate_open(NULL, &s, NULL, why, sizeof(why)) ||
		    tm_sysstate_set(s, "/sys/fs/cgroup/knob", "2", why, sizeof(why)) ||
		    access(expect, F_OK))
			_exit(2);
		tm_sysstate_close(s);
		_exit(access(expect, F_OK) ? 0 : 3);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_and_restore),
		cmocka_unit_test(test_restore_to_mark),
		cmocka_unit_test(test_order_and_escapes),
		cmocka_unit_test(test_mkdir),
		cmocka_unit_test(test_refused_paths),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_two_processes),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_not_undone),
		cmocka_unit_test(test_unwritable),
		cmocka_unit_test(test_half_written),
		cmocka_unit_test(test_disk),
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_default_directory),
	};
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGUSR1);
	sigprocmask(SIG_BLOCK, &held, NULL);
	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
