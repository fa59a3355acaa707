// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * tlbmark-exec-helper, run from the build folder: its stamp, its hash of what
 * it was given, its status. Cross-built it runs under the emulator that
 * TM_UNIT_WRAPPER names.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <tlbmark/arch.h>

#include "workloads/exec_helper.h"

enum { MOST_STRINGS = 64 };

static const char *helper(void)
{
	const char *named = getenv("TLBMARK_EXEC_HELPER");

	return named ? named : "./tlbmark-exec-helper";
}

/* The emulator's path, or NULL. */
static char *emulator(char *buffer, size_t size)
{
	const char *wrapper = getenv("TM_UNIT_WRAPPER");

	if (!wrapper || !strstr(wrapper, "qemu-"))
		return NULL;
	snprintf(buffer, size, "%.*s", (int)strcspn(wrapper, " "), wrapper);
	return buffer;
}

/* Runs the helper; its wait status. An emulator is told argv[0] by -0. */
static int run(char **argv, char **envp)
{
	char *emulated[MOST_STRINGS + 8], path[256], name[256];
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		snprintf(name, sizeof(name), "%s", helper());
		if (emulator(path, sizeof(path))) {
			size_t n = 0;

			emulated[n++] = path;
			emulated[n++] = (char[]){"-0"};
			emulated[n++] = argv[0];
			emulated[n++] = name;
			for (size_t i = 1; argv[i]; i++)
				emulated[n++] = argv[i];
			emulated[n] = NULL;
			execvpe(path, emulated, envp);
		} else {
			execve(name, argv, envp);
		}
		_exit(126);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int new_report(char *name, size_t size)
{
	int fd = memfd_create("report", 0);

	assert_true(fd >= 0);
	snprintf(name, size, "%d", fd);
	return fd;
}

static void random_strings(char **list, size_t count, char text[][128])
{
	for (size_t i = 0; i < count; i++) {
		size_t length = (size_t)rand() % 127;

		for (size_t c = 0; c < length; c++)
			text[i][c] = (char)(1 + rand() % 255);
		text[i][length] = '\0';
		list[i] = text[i];
	}
	list[count] = NULL;
}

static void reports_what_it_was_given(void **state)
{
	static char argument_text[MOST_STRINGS][128], environment_text[MOST_STRINGS][128];
	char path[256];
	/* An emulator hands on an environment of its own making. */
	bool hands_on = !emulator(path, sizeof(path));
	cpu_set_t here;

	(void)state;
	/* One CPU, so that stamps compare. */
	CPU_ZERO(&here);
	CPU_SET((size_t)sched_getcpu(), &here);
	assert_int_equal(sched_setaffinity(0, sizeof(here), &here), 0);
	srand(45);
	for (size_t round = 0; round < 50; round++) {
		char *argv[MOST_STRINGS + 2], *envp[MOST_STRINGS + 1], name[16];
		size_t argc = 1 + (size_t)rand() % MOST_STRINGS,
		       envc = (size_t)rand() % MOST_STRINGS;
		uint64_t before, after, strings;
		struct tm_exec_report report = {0};
		int fd = new_report(name, sizeof(name));

		random_strings(argv + 1, round ? argc - 1 : 0, argument_text);
		random_strings(envp, round && hands_on ? envc : 0, environment_text);
		argc = round ? argc : 1;
		argv[0] = name;
		before = tm_ticks_end();
		assert_int_equal(run(argv, envp), 0);
		after = tm_ticks_end();
		assert_int_equal(pread(fd, &report, sizeof(report), 0), sizeof(report));
		close(fd);
		assert_int_equal(report.hash, tm_exec_hash(argc, argv, envp, &strings));
		assert_int_equal(report.strings, strings);
		assert_true(report.stamp_ticks > before);
		assert_true(report.stamp_ticks < after);
		assert_int_equal(report.stack % 16, 0);
		assert_true(report.stack > 0);
	}
}

static void says_when_it_cannot_report(void **state)
{
	char name[] = "4242", *argv[] = {name, NULL}, *envp[] = {NULL};
	int status = run(argv, envp);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

static void hash_sees_every_difference(void **state)
{
	char a[] = "one", b[] = "two", changed[] = "twp", joined[] = "onetwo", empty[] = "";
	char *both[] = {a, b, NULL}, *swapped[] = {b, a, NULL}, *first[] = {a, NULL};
	char *second[] = {b, NULL}, *other[] = {a, changed, NULL}, *one[] = {joined, NULL};
	char *longer[] = {a, b, empty, NULL}, *none[] = {NULL};
	uint64_t strings, hash[] = {
				  tm_exec_hash(2, both, none, &strings),
				  tm_exec_hash(2, swapped, none, &strings),
				  tm_exec_hash(1, first, second, &strings),
				  tm_exec_hash(2, other, none, &strings),
				  tm_exec_hash(1, one, none, &strings),
				  tm_exec_hash(3, longer, none, &strings),
			  };

	(void)state;
	assert_int_equal(strings, 3);
	for (size_t i = 0; i < sizeof(hash) / sizeof(hash[0]); i++)
		for (size_t j = 0; j < i; j++)
			assert_true(hash[i] != hash[j]);
	/* The reference value of FNV-1a for "a", without what frames it here. */
	assert_int_equal(tm_exec_hash_byte(TM_EXEC_HASH_START, 'a'), UINT64_C(0xaf63dc4c8601ec8c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reports_what_it_was_given),
		cmocka_unit_test(says_when_it_cannot_report),
		cmocka_unit_test(hash_sees_every_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
