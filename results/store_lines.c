// SPDX-License-Identifier: GPL-3.0-or-later
/* Records as lines of JSON: the way out when the store fails, and back in. */
#include "store_sql.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *bytes, size_t n)
{
	while (n) {
		ssize_t done = write(fd, bytes, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		bytes += done;
		n -= (size_t)done;
	}
	return 0;
}

/* In a directory that others may write to: never through a link of theirs. */
static int append_line(const char *path, const char *line)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;
	int rc;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		rc = -EPERM;
	else
		rc = write_all(fd, line, strlen(line));
	if (!rc && fsync(fd))
		rc = -errno;
	if (close(fd) && !rc)
		rc = -errno;
	return rc;
}

int tm_store_spill(const json_t *record, char *path, size_t path_size, char *why, size_t why_size)
{
	const char *session = json_string_value(json_object_get(record, "session"));
	const char *tmp = getenv("TMPDIR");
	char *text = tm_store_line(record), *line = NULL;
	int rc = -ENOMEM;

	snprintf(path, path_size, "%s/tlbmark-spill-%s.jsonl", tmp && tmp[0] ? tmp : "/tmp",
		 session ? session : "unknown");
	if (text && asprintf(&line, "%s\n", text) >= 0) {
		rc = append_line(path, line);
		free(line);
	}
	free(text);
	return rc ? tm_store_say(rc, why, why_size, "%s: cannot keep the record there: %s", path,
				 strerror(-rc))
		  : 0;
}

static int import_line(struct tm_store *s, const char *line, struct tm_import *done, char *why,
		       size_t why_size)
{
	json_error_t error;
	json_t *record = json_loads(line, 0, &error);
	int rc;

	if (!record)
		return tm_store_say(-EINVAL, why, why_size, "%s", error.text);
	rc = tm_store_add(s, record, why, why_size);
	json_decref(record);
	if (rc == -EEXIST) {
		done->known++;
		return 0;
	}
	done->added += !rc;
	return rc;
}

int tm_store_import(struct tm_store *s, const char *path, struct tm_import *done, char *why,
		    size_t why_size)
{
	unsigned long long number = 0;
	char *line = NULL, detail[512];
	size_t room = 0;
	ssize_t n;
	int rc = 0;
	FILE *f = fopen(path, "re");

	memset(done, 0, sizeof(*done));
	if (!f)
		return tm_store_say(-errno, why, why_size, "%s: %s", path, strerror(errno));
	while (!rc && (n = getline(&line, &room, f)) > 0) {
		number++;
		rc = import_line(s, line, done, detail, sizeof(detail));
		if (rc == -EINVAL && line[n - 1] != '\n') {
			done->torn++;
			rc = 0;
		}
	}
	if (rc)
		tm_store_say(rc, why, why_size, "%s, line %llu: %s", path, number, detail);
	else if (ferror(f))
		rc = tm_store_say(-EIO, why, why_size, "%s: cannot be read", path);
	free(line);
	fclose(f);
	return rc;
}
