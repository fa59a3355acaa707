// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Hands figures to gnuplot. A picture's data and settings go to its standard
 * input through a memory file, so nothing of ours lies on the disk but the
 * picture, and that under a temporary name until it is known to be whole.
 */
#define _GNU_SOURCE
#include "plot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "figure.h"
#include "results/store.h"

#ifndef TM_PKGDATADIR
#define TM_PKGDATADIR "/usr/local/share/tlbmark"
#endif

static const char *const format_names[] = {"svg", "png"};

/* One picture: some panels of a figure. */
struct picture {
	const struct tm_figure_kind *kind;
	const struct tm_plot_data *data;
	const struct tm_panel *panels;
	size_t count;
	const char *note, *format, *scripts, *path; /* path: where gnuplot writes */
};

/*
 * A gnuplot string. Backquotes would start a command even in one, and octal
 * escapes swallow digits that follow: what is odd is put together by number.
 */
static void put_string(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < ' ' || *s == '`')
			fprintf(f, "\" . sprintf(\"%%c\", %d) . \"", *s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

static void set_string(FILE *f, const char *name, const char *value)
{
	fprintf(f, "%s = ", name);
	put_string(f, value);
	fputc('\n', f);
}

static int put_axis(FILE *f, const char *name, size_t i, const struct tm_axis *a)
{
	char *tics = tm_axis_tics(a), *variable;

	if (!tics || asprintf(&variable, "%stics[%zu]", name, i) < 0) {
		free(tics);
		return -ENOMEM;
	}
	fprintf(f, "%slow[%zu] = %.9g\n%shigh[%zu] = %.9g\n%slog[%zu] = %d\n", name, i, a->low,
		name, i, a->high, name, i, a->log);
	set_string(f, variable, tics);
	free(variable);
	free(tics);
	return 0;
}

/* gnuplot sees an absent block as an error, so none is ever empty. */
static void put_series(FILE *f, const struct tm_series *s)
{
	if (!s->count)
		fputs("nan\tnan\tnan\tnan\n", f);
	for (size_t i = 0; i < s->count; i++) {
		const struct tm_point *p = &s->points[i];

		for (unsigned int k = 0; k < 4; k++)
			fprintf(f, "%s%.9g", k ? "\t" : "", p->v[k]);
		fprintf(f, p->text ? "\t\"%s\"\n" : "\n", p->text);
	}
	fputs("\n\n", f);
}

static int put_panels(FILE *f, const struct picture *p, unsigned int columns)
{
	static const char *const arrays[] = {"heading", "mark",	 "xlow",  "xhigh", "xlog",
					     "xtics",	"ylow",	 "yhigh", "ylog",  "ytics",
					     "zlow",	"zhigh", "zlog",  "ztics"};
	bool present[TM_PANEL_SERIES] = {false};
	int rc = 0;

	for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); i++)
		fprintf(f, "array %s[%zu]\n", arrays[i], p->count);
	for (size_t i = 0; i < p->count && !rc; i++) {
		const struct tm_panel *panel = &p->panels[i];
		/* As many characters as stand above a panel of that width. */
		char *title = tm_plot_shorten(panel->title, 138 / columns);

		if (!title)
			return -ENOMEM;
		fprintf(f, "heading[%zu] = ", i + 1);
		put_string(f, title);
		fprintf(f, "\nmark[%zu] = %.9g\n", i + 1, panel->mark);
		free(title);
		rc = put_axis(f, "x", i + 1, &panel->x);
		if (!rc)
			rc = put_axis(f, "y", i + 1, &panel->y);
		if (!rc)
			rc = put_axis(f, "z", i + 1, &panel->z);
		for (unsigned int s = 0; s < TM_PANEL_SERIES; s++)
			present[s] |= panel->series[s].count > 0;
	}
	fprintf(f, "array present[%d] = [", TM_PANEL_SERIES);
	for (unsigned int s = 0; s < TM_PANEL_SERIES; s++)
		fprintf(f, "%s%d", s ? ", " : "", present[s]);
	fputs("]\n$data << END_OF_DATA\n", f);
	for (size_t i = 0; i < p->count; i++)
		for (unsigned int s = 0; s < TM_PANEL_SERIES; s++)
			put_series(f, &p->panels[i].series[s]);
	fputs("END_OF_DATA\n", f);
	return rc;
}

/* What gnuplot is to do; scripts/style.gp says what the variables mean. */
static int put_job(FILE *f, const struct picture *p)
{
	unsigned int columns = p->count == 1 ? 1 : p->count <= 4 ? 2 : 3;
	int rc;

	/* A not-a-number that compares unequal to itself. */
	fputs("nan = NaN\n", f);
	set_string(f, "scripts", p->scripts);
	set_string(f, "format", p->format);
	set_string(f, "title", p->kind->title);
	set_string(f, "note", p->note);
	fputs("array caption[2]\n", f);
	set_string(f, "caption[1]", p->data->caption[0]);
	set_string(f, "caption[2]", p->data->caption[1]);
	fprintf(f, "panels = %zu\ncolumns = %u\n", p->count, columns);
	rc = put_panels(f, p, columns);
	if (rc)
		return rc;
	fputs("set output ", f);
	put_string(f, p->path);
	fprintf(f, "\nload scripts . '/%s.gp'\nunset output\n", p->kind->name);
	return 0;
}

/* First line of what gnuplot complained about that is not about its input. */
static void first_complaint(int fd, char *buf, size_t size)
{
	char text[2048], *line, *rest = text;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	snprintf(buf, size, "it did not say why");
	while ((line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t^");
		if (strlen(line) < 4 || !strncmp(line, "gnuplot>", 8) || strstr(line, "warning:"))
			continue;
		snprintf(buf, size, "%s", line);
		return;
	}
}

static int run_gnuplot(int job, char *why, size_t why_size)
{
	/* No start-up files: a user's settings would change the pictures. */
	char *argv[] = {"gnuplot", "--default-settings", NULL};
	int complaints = memfd_create("tlbmark-gnuplot", MFD_CLOEXEC), status = 0, rc;
	posix_spawn_file_actions_t actions;
	char said[200];
	pid_t pid;

	if (complaints < 0) {
		rc = -errno;
		snprintf(why, why_size, "cannot make a memory file: %s", strerror(-rc));
		return rc;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, job, STDIN_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, complaints, STDERR_FILENO);
	rc = -posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (!rc)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	if (rc == -ENOENT) {
		snprintf(why, why_size, "gnuplot is not installed: apt-get install gnuplot-nox");
	} else if (rc) {
		snprintf(why, why_size, "cannot start gnuplot: %s", strerror(-rc));
	} else if (status) {
		rc = -EIO;
		first_complaint(complaints, said, sizeof(said));
		snprintf(why, why_size, "gnuplot failed: %s", said);
	}
	close(complaints);
	return rc;
}

/* Does it end as a file of that format does? A full disk cuts files short. */
static bool is_whole(const char *path, const char *format)
{
	static const unsigned char png[] = {'I', 'E', 'N', 'D', 0xae, 'B', 0x60, 0x82};
	bool svg = !strcmp(format, "svg");
	const void *end = svg ? (const void *)"</svg>" : png;
	size_t size = svg ? strlen("</svg>") : sizeof(png);
	char tail[16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd < 0)
		return false;
	if (lseek(fd, -(off_t)sizeof(tail), SEEK_END) >= 0)
		n = read(fd, tail, sizeof(tail));
	close(fd);
	return n == sizeof(tail) && memmem(tail, sizeof(tail), end, size);
}

/* Draws one picture to p->path. */
static int draw(const struct picture *p, char *why, size_t why_size)
{
	int fd = memfd_create("tlbmark-plot", MFD_CLOEXEC), rc;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (!f) {
		rc = -errno;
		snprintf(why, why_size, "cannot make a memory file: %s", strerror(-rc));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	rc = put_job(f, p);
	if (!rc && (fflush(f) || lseek(fd, 0, SEEK_SET) < 0))
		rc = -errno;
	if (rc)
		snprintf(why, why_size, "cannot write gnuplot's input: %s", strerror(-rc));
	else
		rc = run_gnuplot(fd, why, why_size);
	fclose(f);
	if (!rc && !is_whole(p->path, p->format)) {
		rc = -EIO;
		snprintf(why, why_size, "%s was not written whole: is the disk full?", p->path);
	}
	return rc;
}

/* The same under a temporary name first; `name` is that of the file. */
static int draw_file(struct picture *p, const char *directory, const char *name, char *why,
		     size_t why_size)
{
	char *path = NULL, *hidden = NULL;
	int rc = -ENOMEM;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		path = NULL;
	if (asprintf(&hidden, "%s/.%s.%d", directory, name, (int)getpid()) < 0)
		hidden = NULL;
	if (!path || !hidden) {
		snprintf(why, why_size, "out of memory");
		goto out;
	}
	p->path = hidden;
	rc = draw(p, why, why_size);
	if (!rc && rename(hidden, path)) {
		rc = -errno;
		snprintf(why, why_size, "cannot write %s: %s", path, strerror(-rc));
	}
	if (rc)
		unlink(hidden);
out:
	free(hidden);
	free(path);
	return rc;
}

/* Is `word` in a comma-separated list? */
static bool listed(const char *list, const char *word)
{
	size_t length = strlen(word);

	while (list) {
		if (!strncmp(list, word, length) && (!list[length] || list[length] == ','))
			return true;
		list = strchr(list, ',');
		if (list)
			list++;
	}
	return false;
}

struct drawing {
	const struct tm_plot_data *data;
	const struct tm_plot_options *options;
	const char *scripts, *directory;
	unsigned int drawn;
};

static int draw_page(struct drawing *d, struct picture *p, size_t page, char *why, size_t why_size)
{
	for (unsigned int i = 0; i < 2; i++) {
		char name[64], number[24] = "";
		int rc;

		if (d->options->formats && !listed(d->options->formats, format_names[i]))
			continue;
		if (page)
			snprintf(number, sizeof(number), "-%zu", page + 1);
		snprintf(name, sizeof(name), "%s%s.%s", p->kind->name, number, format_names[i]);
		p->format = format_names[i];
		rc = draw_file(p, d->directory, name, why, why_size);
		if (rc)
			return rc;
		d->drawn++;
	}
	return 0;
}

static int draw_figure(struct drawing *d, const struct tm_figure_kind *kind, char *why,
		       size_t why_size)
{
	struct tm_figure figure = {0};
	size_t pages = 0;
	int rc = kind->build(d->data, &figure);

	if (rc)
		snprintf(why, why_size, "%s: %s", kind->name, strerror(-rc));
	for (; !rc && pages * kind->per_page < figure.count; pages++) {
		size_t first = pages * kind->per_page, rest = figure.count - first;
		struct picture p = {
			.kind = kind,
			.data = d->data,
			.panels = &figure.panels[first],
			.count = rest < kind->per_page ? rest : kind->per_page,
			.note = figure.note,
			.scripts = d->scripts,
		};

		rc = draw_page(d, &p, pages, why, why_size);
	}
	if (!rc && d->options->log) {
		if (pages)
			fprintf(d->options->log, "%-10s %zu picture%s: %s/%s.*\n", kind->name,
				pages, pages > 1 ? "s" : "", d->directory, kind->name);
		else
			fprintf(d->options->log, "%-10s left out: %s\n", kind->name,
				figure.left_out);
	}
	tm_figure_free(&figure);
	return rc;
}

/* Every word of `list` must be among names[0 .. count - 1]. */
static int check_list(const char *what, const char *list, const char *const *names, size_t count,
		      char *why, size_t why_size)
{
	char known[128] = "";
	size_t found = 0, words = 1;

	for (const char *p = list; *p; p++)
		words += *p == ',';
	for (size_t i = 0; i < count; i++) {
		found += listed(list, names[i]);
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 i ? ", " : "", names[i]);
	}
	if (found == words)
		return 0;
	snprintf(why, why_size, "%s \"%s\": give each once, of %s", what, list, known);
	return -EINVAL;
}

static int check_options(const struct tm_plot_options *o, char *why, size_t why_size)
{
	const char *names[16];
	size_t count = 0;
	int rc = 0;

	for (const struct tm_figure_kind *k = tm_figure_kinds; k->name; k++)
		names[count++] = k->name;
	if (o->only)
		rc = check_list("plots", o->only, names, count, why, why_size);
	if (!rc && o->formats)
		rc = check_list("formats", o->formats, format_names, 2, why, why_size);
	return rc;
}

static bool has_scripts(const char *directory)
{
	char *path;
	bool there;

	if (asprintf(&path, "%s/style.gp", directory) < 0)
		return false;
	there = !access(path, R_OK);
	free(path);
	return there;
}

/*
 * The scripts' folder: said by the environment, beside the program (run where
 * it was built), installed, or in the source tree (built outside of it).
 */
static int find_scripts(char *directory, size_t size, char *why, size_t why_size)
{
	const char *given = getenv("TLBMARK_PLOTS");
	ssize_t n = readlink("/proc/self/exe", directory, size - sizeof("/plots"));
	char *slash = n > 0 ? memrchr(directory, '/', (size_t)n) : NULL;

	if (given) {
		snprintf(directory, size, "%s", given);
		if (has_scripts(directory))
			return 0;
		snprintf(why, why_size, "no gnuplot scripts in TLBMARK_PLOTS=%s", given);
		return -ENOENT;
	}
	if (slash) {
		strcpy(slash, "/plots");
		if (has_scripts(directory))
			return 0;
	}
	snprintf(directory, size, "%s", TM_PKGDATADIR "/plots");
	if (has_scripts(directory))
		return 0;
#ifdef TM_PLOTS_DIR
	snprintf(directory, size, "%s", TM_PLOTS_DIR);
	if (has_scripts(directory))
		return 0;
#endif
	snprintf(why, why_size, "no gnuplot scripts in %s: set TLBMARK_PLOTS to their folder",
		 directory);
	return -ENOENT;
}

static int make_directories(const char *path, char *why, size_t why_size)
{
	char *copy = strdup(path);
	int rc = 0;

	if (!copy)
		rc = -ENOMEM;
	for (char *p = copy; !rc && p;) {
		p = strchr(p + 1, '/');
		if (p)
			*p = '\0';
		if (mkdir(copy, 0777) && errno != EEXIST)
			rc = -errno;
		if (p)
			*p = '/';
	}
	if (!rc && access(path, W_OK | X_OK))
		rc = -errno;
	free(copy);
	if (rc)
		snprintf(why, why_size, "cannot write plots into %s: %s", path, strerror(-rc));
	return rc;
}

int tm_plot_records(const json_t *records, const char *out_dir,
		    const struct tm_plot_options *options, unsigned int *drawn, char *why,
		    size_t why_size)
{
	char scripts[4096];
	struct tm_plot_data data = {0};
	struct drawing d = {
		.data = &data,
		.options = options,
		.scripts = scripts,
		.directory = out_dir,
	};
	int rc = check_options(options, why, why_size);

	if (!rc)
		rc = find_scripts(scripts, sizeof(scripts), why, why_size);
	if (!rc)
		rc = tm_plot_data_build(records, &data, why, why_size);
	if (!rc)
		rc = make_directories(out_dir, why, why_size);
	for (const struct tm_figure_kind *k = tm_figure_kinds; !rc && k->name; k++)
		if (!options->only || listed(options->only, k->name))
			rc = draw_figure(&d, k, why, why_size);
	tm_plot_data_free(&data);
	if (drawn)
		*drawn = d.drawn;
	return rc;
}

static int append_record(void *context, const char *id, const char *text)
{
	json_error_t error;

	(void)id;
	return json_array_append_new(context, json_loads(text, 0, &error)) ? -EINVAL : 0;
}

int tm_plot_session(struct tm_store *store, const char *session, const char *out_dir,
		    const struct tm_plot_options *options, unsigned int *drawn, char *why,
		    size_t why_size)
{
	char id[TM_STORE_ID], record[TM_STORE_ID];
	json_t *records = json_array();
	int rc = -ENOMEM;

	snprintf(why, why_size, "out of memory");
	if (records)
		rc = tm_store_find(store, session, id, record, why, why_size);
	if (!rc)
		rc = tm_store_records(store, id, append_record, records, why, why_size);
	if (!rc)
		rc = tm_plot_records(records, out_dir, options, drawn, why, why_size);
	json_decref(records);
	return rc;
}

int tm_plot_directory(const char *given, const char *store_path, const char *session, char *out,
		      size_t size)
{
	const char *slash = strrchr(store_path, '/');
	int n;

	if (given)
		n = snprintf(out, size, "%s", given);
	else
		n = snprintf(out, size, "%.*splots/%.12s",
			     slash ? (int)(slash - store_path) + 1 : 0, store_path, session);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}
