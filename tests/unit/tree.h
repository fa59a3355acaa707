/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For unit tests: a root directory of its own, filled from a file of
 * tests/fixtures/environment, and the environment read from it.
 */
#ifndef TLBMARK_TEST_TREE_H
#define TLBMARK_TEST_TREE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../bench/environment.h"

static char root[] = "/tmp/tlbmark-environment-XXXXXX";
static bool have_root;

static inline int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
	(void)s;
	(void)type;
	(void)f;
	return remove(path);
}

static inline void remove_root(void)
{
	if (have_root)
		nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	have_root = false;
}

static inline int teardown(void **state)
{
	(void)state;
	remove_root();
	return 0;
}

static inline void make_root(void)
{
	remove_root();
	strcpy(root + strlen(root) - 6, "XXXXXX");
	assert_non_null(mkdtemp(root));
	have_root = true;
}

/* Opens a file of the tree for writing, with the directories above it. */
static inline FILE *create(const char *path)
{
	char full[PATH_MAX], *slash;
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (slash = full + strlen(root); (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		assert_true(!mkdir(full, 0755) || errno == EEXIST);
		*slash = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	return f;
}

static inline void write_file(const char *path, const char *content)
{
	FILE *f = create(path);

	fputs(content, f);
	fclose(f);
}

static inline void unpack(const char *name)
{
	const char *srcdir = getenv("srcdir");
	char path[PATH_MAX], line[4096];
	FILE *in, *out = NULL;

	make_root();
	snprintf(path, sizeof(path), "%s/tests/fixtures/environment/%s.tree", srcdir ? srcdir : ".",
		 name);
	in = fopen(path, "r");
	if (!in)
		print_error("%s: %s\n", path, strerror(errno));
	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		if (!strncmp(line, "==> ", 4)) {
			if (out)
				fclose(out);
			line[strcspn(line, "\n")] = '\0';
			out = create(line + 4);
		} else if (out) {
			fputs(line, out);
		}
	}
	fclose(in);
	assert_non_null(out);
	fclose(out);
}

static inline json_t *environment(const char *release, const char *machine,
				  const struct tm_cpuid *cpuid)
{
	struct tm_environment_source s = {
		.root = root,
		.release = release,
		.version = "#1 SMP",
		.machine = machine,
		.cpuid = cpuid,
	};
	json_t *e = tm_environment_from(&s);

	assert_non_null(e);
	return e;
}

static inline const json_t *at(const json_t *e, const char *path)
{
	char copy[256], *key, *save;

	snprintf(copy, sizeof(copy), "%s", path);
	for (key = strtok_r(copy, "/", &save); key; key = strtok_r(NULL, "/", &save)) {
		e = json_object_get(e, key);
		if (!e)
			fail_msg("no member %s (%s)", path, key);
	}
	return e;
}

#endif /* TLBMARK_TEST_TREE_H */
