/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Real loads, a second each: where they run, what they report, that nothing is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "../../bench/background.h"

enum { MAX_SEEN = 4096 };

static char why[512], temporary[64];

struct seen {
	pid_t pid, parent;
	char name[32], cpus[128];
};

static struct seen seen[MAX_SEEN];
static struct stat output;

static void sleep_ms(unsigned int ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

/* All living processes, into seen[]. */
static size_t look(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	size_t n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) && n < MAX_SEEN) {
		struct seen *s = &seen[n];
		char path[300], line[256], state = 'Z';
		FILE *f;

		memset(s, 0, sizeof(*s));
		s->pid = atoi(entry->d_name);
		snprintf(path, sizeof(path), "/proc/%s/status", entry->d_name);
		f = s->pid ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		while (fgets(line, sizeof(line), f)) {
			sscanf(line, "Name: %31s", s->name);
			sscanf(line, "State: %c", &state);
			sscanf(line, "PPid: %d", &s->parent);
			sscanf(line, "Cpus_allowed_list: %127s", s->cpus);
		}
		fclose(f);
		n += state != 'Z' && state != 'X';
	}
	closedir(dir);
	return n;
}

static int descends(size_t n, pid_t pid, pid_t from)
{
	while (pid > 1 && pid != from) {
		pid_t parent = 0;

		for (size_t i = 0; i < n; i++)
			if (seen[i].pid == pid)
				parent = seen[i].parent;
		pid = parent;
	}
	return pid == from;
}

/* Is it stress-ng's, or a child's of its? They all have its log as their output. */
static int output_of(pid_t pid, struct stat *st)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/1", (int)pid);
	return stat(path, st);
}

/* Notes the log of the load that descends from `from`, so that count_load() knows it. */
static void note_load(pid_t from)
{
	size_t n = look();

	for (size_t i = 0; i < n; i++)
		if (!strncmp(seen[i].name, "stress-ng", 9) && descends(n, seen[i].pid, from) &&
		    !output_of(seen[i].pid, &output))
			return;
	fail_msg("no stress-ng below %d", (int)from);
}

/* Those of the load last noted, orphans too. */
static unsigned int count_load(void)
{
	unsigned int found = 0;
	size_t n = look();

	for (size_t i = 0; i < n; i++) {
		struct stat st;

		if (!output_of(seen[i].pid, &st) && st.st_dev == output.st_dev &&
		    st.st_ino == output.st_ino)
			found++;
	}
	return found;
}

/* Waits until none is left, for at most `ms`. */
static void assert_none_left(unsigned int ms)
{
	glob_t g;
	char pattern[128];

	snprintf(pattern, sizeof(pattern), "%s/*", temporary);
	for (;; ms -= 50, sleep_ms(50)) {
		unsigned int load = count_load();
		int found = glob(pattern, 0, NULL, &g);

		globfree(&g);
		if (!load && found == GLOB_NOMATCH)
			return;
		if (ms < 50)
			fail_msg("%u processes and %s left", load, found ? "nothing" : "files");
	}
}

static unsigned int last_cpu(void)
{
	cpu_set_t set;
	unsigned int cpu = CPU_SETSIZE;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	while (cpu-- && !CPU_ISSET(cpu, &set))
		;
	return cpu;
}

static struct tm_background *start(const char *spec)
{
	unsigned int cpu = last_cpu();
	struct tm_background *b;

	if (tm_background_start(spec, &cpu, 1, &b, why, sizeof(why)))
		fail_msg("%s", why);
	note_load(getpid());
	assert_true(count_load() >= 2); /* stress-ng and a worker */
	return b;
}

/* Every descendant of ours is on that CPU alone, and there are workers among them. */
static void assert_placed(void)
{
	char expect[16];
	unsigned int workers = 0;
	size_t n = look();

	snprintf(expect, sizeof(expect), "%u", last_cpu());
	for (size_t i = 0; i < n; i++) {
		if (seen[i].pid == getpid() || !descends(n, seen[i].pid, getpid()))
			continue;
		assert_string_equal(seen[i].cpus, expect);
		workers += !strncmp(seen[i].name, "stress-ng-", 10);
	}
	assert_true(workers > 0);
}

static void assert_metrics(char *text, const char *stressor)
{
	json_t *all = json_loads(text ? text : "", 0, NULL), *one;

	if (!all)
		fail_msg("no metrics of %s", stressor);
	assert_int_equal(json_array_size(all), 1);
	one = json_array_get(all, 0);
	assert_string_equal(json_string_value(json_object_get(one, "stressor")), stressor);
	assert_true(json_integer_value(json_object_get(one, "bogo_ops")) > 0);
	assert_true(json_real_value(json_object_get(one, "wall_seconds")) > 0.3);
	assert_true(json_real_value(json_object_get(one, "bogo_ops_per_second")) > 0);
	assert_true(json_is_real(json_object_get(one, "user_seconds")));
	assert_true(json_is_real(json_object_get(one, "system_seconds")));
	json_decref(all);
	free(text);
}

static void test_profiles(void **unused)
{
	static const char *const stressors[] = {"cpu", "stream", "vm", "timer", "fork"};
	static const char *const names[] = {"cpu", "memory", "vm", "interrupts", "fork"};
	const struct tm_background_profile *p = tm_background_profiles;

	(void)unused;
	for (unsigned int i = 0; i < 5; i++, p++) {
		struct tm_background *b;
		char *metrics;

		assert_string_equal(p->name, names[i]);
		assert_true(strlen(p->help) > 10);
		assert_int_equal(tm_background_check(p->name, why, sizeof(why)), 0);
		b = start(p->name);
		assert_placed();
		sleep_ms(600);
		assert_placed();
		assert_int_equal(tm_background_stop(b, &metrics), 0);
		assert_metrics(metrics, stressors[i]);
		assert_none_left(0);
	}
	assert_null(p->name);
}

static void test_own_arguments(void **unused)
{
	struct tm_background *b;
	char *metrics;

	(void)unused;
	/* Quotes and backslashes as in a shell; no shell expands anything. */
	b = start("--cpu 1\t--cpu-method 'mat'r\"ix\"p\\rod ");
	sleep_ms(500);
	assert_int_equal(tm_background_stop(b, &metrics), 0);
	assert_metrics(metrics, "cpu");
	/* Ended by itself: said, and its metrics are there. */
	b = start("--cpu 1 --timeout 1");
	sleep_ms(2500);
	assert_int_equal(tm_background_stop(b, &metrics), -ECANCELED);
	assert_metrics(metrics, "cpu");
	assert_int_equal(tm_background_stop(start("cpu"), NULL), 0);
	assert_int_equal(tm_background_stop(NULL, NULL), 0);
	assert_none_left(0);
}

static void refused(const char *spec, int error, const char *in_why)
{
	unsigned int cpu = last_cpu();
	struct tm_background *b;

	for (unsigned int i = 0; i < 2; i++) {
		int rc;

		strcpy(why, "unchanged");
		rc = i ? tm_background_start(spec, &cpu, 1, &b, why, sizeof(why))
		       : tm_background_check(spec, why, sizeof(why));
		assert_int_equal(rc, error);
		assert_null(strchr(why, '\n'));
		if (!strstr(why, in_why))
			fail_msg("\"%s\" lacks \"%s\"", why, in_why);
		if (i)
			assert_null(b);
	}
	assert_none_left(0);
}

static void test_bad(void **unused)
{
	unsigned int cpu = last_cpu(), none = 8191;
	struct tm_background *b;
	const char *search = getenv("PATH");
	char *path = strdup(search ? search : "/usr/bin:/bin"), many[4096] = "--cpu 1";

	(void)unused;
	assert_non_null(path);
	refused("turbo", -EINVAL, "turbo");
	refused("", -EINVAL, "own arguments");
	refused("-c 1", -EINVAL, "-c 1");
	refused("--nosuch 1", -EINVAL, "nosuch");
	refused("--cpu 1 --cpu-method nosuch", -EINVAL, "cpu-method");
	refused("--cpu 'a", -EINVAL, "quote");
	refused("--cpu $(touch /tmp/x)", -EINVAL, "");
	for (unsigned int i = 0; i < 200; i++)
		strcat(many, " --verify");
	refused(many, -E2BIG, "too many");
	assert_int_equal(tm_background_start("cpu", &cpu, 0, &b, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "CPU"));
	assert_int_equal(tm_background_start("cpu", &none, 1, &b, why, sizeof(why)), -EINVAL);
	assert_null(b);
	setenv("PATH", "", 1);
	refused("cpu", -ENOENT, "apt-get install stress-ng");
	setenv("PATH", "/nonexistent:/:/etc", 1);
	refused("--cpu 1", -ENOENT, "apt-get install stress-ng");
	unsetenv("PATH");
	refused("vm", -ENOENT, "apt-get install stress-ng");
	setenv("PATH", path, 1);
	free(path);
}

/* The caller, or the supervisor, dies by kill -9; `fork` has children that leave the session. */
static void killed(int supervisor)
{
	volatile pid_t *shared =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t owner, watcher = 0;
	size_t n;

	assert_true((void *)(uintptr_t)shared != MAP_FAILED);
	owner = fork();
	if (!owner) {
		struct tm_background *b;
		unsigned int cpu = last_cpu();

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		*shared = tm_background_start("fork", &cpu, 1, &b, why, sizeof(why)) ? -1 : 1;
		/* A child that lives on has the pipes open: their end alone tells nothing. */
		if (!fork()) {
			for (unsigned int ms = 0; !shared[1] && ms < 4000; ms += 20)
				sleep_ms(20);
			_exit(0);
		}
		pause();
	}
	for (unsigned int ms = 0; !*shared && ms < 10000; ms += 10)
		sleep_ms(10);
	assert_int_equal(*shared, 1);
	n = look();
	for (size_t i = 0; i < n; i++)
		if (seen[i].parent == owner && !strcmp(seen[i].name, "tlbmark-load"))
			watcher = seen[i].pid;
	assert_true(watcher > 0);
	note_load(owner);
	assert_true(count_load() >= 2);
	if (supervisor) {
		kill(watcher, SIGKILL);
	} else {
		kill(owner, SIGKILL);
		waitpid(owner, NULL, 0);
	}
	for (unsigned int ms = 0; ms < 2000 && count_load(); ms += 20)
		sleep_ms(20);
	assert_int_equal(count_load(), 0);
	if (supervisor) {
		/* The load is gone; its directory nobody could remove. */
		kill(owner, SIGKILL);
		waitpid(owner, NULL, 0);
		assert_int_equal(system("rm -r $TMPDIR/tlbmark-load-*"), 0);
	}
	assert_none_left(1000);
	shared[1] = 1; /* the child may go */
	munmap((void *)(uintptr_t)shared, 4096);
}

static void test_owner_killed(void **unused)
{
	(void)unused;
	killed(0);
}

static void test_supervisor_killed(void **unused)
{
	(void)unused;
	killed(1);
}

/*
 * A load that takes no SIGTERM and has a descendant that left its group, its
 * session and its parent: a script of stress-ng's name.
 */
static void test_stubborn(void **unused)
{
	static const char script[] = "#!/bin/sh\n"
				     "case \" $* \" in *' --dry-run '*) exit 0 ;; esac\n"
				     "trap '' TERM\n"
				     "${0}-busy -c 'while :; do :; done' &\n"
				     "setsid sh -c 'setsid sleep 60 &' &\n"
				     "wait\n";
	char directory[64] = "/tmp/tlbmark-test-bin-XXXXXX", text[256];
	const char *search = getenv("PATH"), *path = search ? search : "/usr/bin:/bin";
	char *both = malloc(strlen(path) + sizeof(directory) + 2), *saved = strdup(path);
	struct tm_background *b;
	char *metrics;
	FILE *f;

	(void)unused;
	assert_non_null(mkdtemp(directory));
	snprintf(text, sizeof(text), "cp /bin/sh %s/stress-ng-busy", directory);
	assert_int_equal(system(text), 0);
	snprintf(text, sizeof(text), "%s/stress-ng", directory);
	f = fopen(text, "w");
	assert_non_null(f);
	fputs(script, f);
	fclose(f);
	assert_int_equal(chmod(text, 0755), 0);
	sprintf(both, "%s:%s", directory, path);
	setenv("PATH", both, 1);
	b = start("cpu");
	sleep_ms(300);
	assert_int_equal(count_load(), 3); /* the script, its worker, the stray */
	assert_int_equal(tm_background_stop(b, &metrics), 0);
	assert_null(metrics);
	assert_none_left(0);
	setenv("PATH", saved, 1);
	snprintf(text, sizeof(text), "rm -r %s", directory);
	assert_int_equal(system(text), 0);
	free(both);
	free(saved);
}

static int make_temporary(void **state)
{
	(void)state;
	strcpy(temporary, "/tmp/tlbmark-test-load-XXXXXX");
	assert_non_null(mkdtemp(temporary));
	return setenv("TMPDIR", temporary, 1);
}

static int remove_temporary(void **state)
{
	(void)state;
	return rmdir(temporary);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_profiles),     cmocka_unit_test(test_own_arguments),
		cmocka_unit_test(test_bad),	     cmocka_unit_test(test_stubborn),
		cmocka_unit_test(test_owner_killed), cmocka_unit_test(test_supervisor_killed),
	};

	return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
