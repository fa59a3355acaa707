/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sysfile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

enum { SLURP_LIMIT = 16 << 20, SLURP_STEP = 16 << 10 };

/* /dev/kmsg gives a record a read, EPIPE where records were overwritten meanwhile, EAGAIN at the end. */
static ssize_t read_some(int fd, char *buf, size_t size)
{
	ssize_t n;

	do
		n = read(fd, buf, size);
	while (n < 0 && (errno == EINTR || errno == EPIPE));
	return n < 0 && errno == EAGAIN ? 0 : n;
}

static char *read_all(int fd, size_t *length)
{
	size_t size = 0, used = 0;
	char *text = NULL, *more;
	ssize_t n;

	do {
		if (size - used <= SLURP_STEP) {
			size = size ? 2 * size : 2 * SLURP_STEP;
			more = size > SLURP_LIMIT ? NULL : realloc(text, size + 1);
			if (!more) {
				errno = size > SLURP_LIMIT ? EFBIG : ENOMEM;
				goto fail;
			}
			text = more;
		}
		n = read_some(fd, text + used, size - used);
		if (n < 0)
			goto fail;
		used += n;
	} while (n);
	text[used] = '\0';
	*length = used;
	return text;
fail:
	free(text);
	return NULL;
}

static char *inflate_all(char *packed, size_t length)
{
	size_t size = 8 * length + SLURP_STEP;
	char *text = size > SLURP_LIMIT ? NULL : malloc(size + 1);
	z_stream z = {.next_in = (Bytef *)packed, .avail_in = length};
	int rc = Z_MEM_ERROR;

	errno = ENOMEM;
	if (!text || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		goto out;
	do {
		z.next_out = (Bytef *)text + z.total_out;
		z.avail_out = size - z.total_out;
		rc = inflate(&z, Z_NO_FLUSH);
		if (rc == Z_OK && !z.avail_out) {
			char *more = 2 * size > SLURP_LIMIT ? NULL : realloc(text, 2 * size + 1);

			if (!more)
				break;
			text = more;
			size *= 2;
		} else if (rc == Z_OK && !z.avail_in) {
			errno = EBADMSG;
			break;
		}
	} while (rc == Z_OK);
	if (rc == Z_STREAM_END)
		text[z.total_out] = '\0';
	else if (rc != Z_OK)
		errno = EBADMSG;
	inflateEnd(&z);
out:
	free(packed);
	if (rc == Z_STREAM_END)
		return text;
	free(text);
	return NULL;
}

char *tm_sysfile_slurp(const char *root, const char *format, ...)
{
	char path[PATH_MAX], *text;
	size_t length, at;
	va_list args;
	int fd, error;

	at = snprintf(path, sizeof(path), "%s", root);
	if (at >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	va_start(args, format);
	vsnprintf(path + at, sizeof(path) - at, format, args);
	va_end(args);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	text = read_all(fd, &length);
	error = errno;
	close(fd);
	errno = error;
	if (text && length > 2 && !memcmp(text, "\x1f\x8b", 2))
		return inflate_all(text, length);
	return text;
}

bool tm_sysfile_exists(const char *root, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return !access(full, F_OK);
}

ssize_t tm_sysfile_line(const char *root, const char *path, char *buf, size_t size)
{
	char *text = tm_sysfile_slurp(root, "%s", path);
	size_t length;

	if (!text)
		return -errno;
	length = strcspn(text, "\n");
	if (length >= size)
		length = size - 1;
	memcpy(buf, text, length);
	buf[length] = '\0';
	free(text);
	return length;
}

bool tm_sysfile_key(const char *text, const char *key, char *buf, size_t size)
{
	size_t length = strlen(key), end;
	const char *at;

	for (at = text; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
		const char *value = at + length;

		if (strncmp(at, key, length))
			continue;
		value += strspn(value, " \t");
		if (*value != ':' && *value != '=')
			continue;
		value++;
		value += strspn(value, " \t");
		end = strcspn(value, "\n");
		while (end && isspace((unsigned char)value[end - 1]))
			end--;
		snprintf(buf, size, "%.*s", (int)end, value);
		return true;
	}
	return false;
}

void tm_sysfile_chosen(char *text)
{
	size_t open = strcspn(text, "[("), length;

	if (!text[open])
		return;
	length = strcspn(text + open + 1, "])");
	memmove(text, text + open + 1, length);
	text[length] = '\0';
}

unsigned int tm_sysfile_count(const char *list)
{
	unsigned int first, last, count = 0;
	int used;

	while (sscanf(list, "%u%n", &first, &used) == 1) {
		list += used;
		last = first;
		if (sscanf(list, "-%u%n", &last, &used) == 1)
			list += used;
		if (last >= first)
			count += last - first + 1;
		if (*list != ',')
			break;
		list++;
	}
	return count;
}

json_t *tm_json_text(const char *text)
{
	json_t *value;
	char *copy, *c;

	if (!text)
		return json_null();
	value = json_string(text);
	if (value)
		return value;
	copy = strdup(text);
	if (!copy)
		return NULL;
	for (c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	value = json_string(copy);
	free(copy);
	return value;
}

json_t *tm_sysfile_string(const char *root, const char *path)
{
	char line[4096];

	return tm_json_text(tm_sysfile_line(root, path, line, sizeof(line)) < 0 ? NULL : line);
}

json_t *tm_sysfile_choice(const char *root, const char *path)
{
	char line[256];

	if (tm_sysfile_line(root, path, line, sizeof(line)) < 0)
		return json_null();
	tm_sysfile_chosen(line);
	return tm_json_text(line);
}

static json_t *number(const char *text)
{
	long long value;
	char *end;

	errno = 0;
	value = strtoll(text, &end, 0);
	return end == text || errno ? json_null() : json_integer(value);
}

json_t *tm_sysfile_integer(const char *root, const char *path)
{
	char line[64];

	return tm_sysfile_line(root, path, line, sizeof(line)) < 0 ? json_null() : number(line);
}

json_t *tm_json_key_number(const char *text, const char *key)
{
	char value[64];

	return text && tm_sysfile_key(text, key, value, sizeof(value)) ? number(value)
								       : json_null();
}

json_t *tm_json_key_text(const char *text, const char *key)
{
	char value[4096];

	return tm_json_text(text && tm_sysfile_key(text, key, value, sizeof(value)) ? value : NULL);
}

json_t *tm_json_items(const char *list, const char *prefix)
{
	const char *at = list ? strstr(list, prefix) : NULL;
	json_t *items;

	while (at && at > list && at[-1] != ' ')
		at = strstr(at + 1, prefix);
	if (!at)
		return json_null();
	items = json_object();
	at += strlen(prefix);
	while (*at && *at != ' ' && *at != '\n') {
		size_t length = strcspn(at, ", \n"), name = strcspn(at, ":");
		char key[32];

		if (name < length && name < sizeof(key)) {
			snprintf(key, sizeof(key), "%.*s", (int)name, at);
			json_object_set_new(items, key,
					    json_stringn(at + name + 1, length - name - 1));
		}
		at += length + (at[length] == ',');
	}
	return items;
}
