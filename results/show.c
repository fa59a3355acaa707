// SPDX-License-Identifier: GPL-3.0-or-later
/* `tlbmark show`: what is in the store. */
#include "bench/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "show_record.h"
#include "store.h"
#include "table.h"

enum { OPT_TABLE, OPT_JSON, OPT_CSV, OPT_LIST, OPT_FULL, OPT_IMPORT, OPT_STORE };
static const struct tm_option options[] = {
	[OPT_TABLE] = {.name = "table", .help = "the table, of a single record too"},
	[OPT_JSON] = {.name = "json", .help = "the records as they are stored, one a line"},
	[OPT_CSV] = {.name = "csv", .help = "the table as CSV"},
	[OPT_LIST] = {.name = "list", .letter = 'l', .help = "the sessions in the store"},
	[OPT_FULL] = {.name = "full", .help = "of a record: the whole environment"},
	[OPT_IMPORT] = {.name = "import",
			.argument = "FILE",
			.help = "first add the records of FILE, one JSON object a line"},
	[OPT_STORE] = {.name = "store", .argument = "PATH", .help = "the store to read"},
	{.name = NULL},
};

/* What the command line said; -1: no format. */
struct request {
	int format;
	bool full;
	const char *name, *import, *path;
};

static int say(int rc, const char *why)
{
	tm_error("%s", why);
	return rc == -EINVAL || rc == -ENOENT ? TM_EXIT_USAGE : TM_EXIT_CANNOT;
}

static int set_format(struct request *r, int format)
{
	if (r->format >= 0 && r->format != format) {
		tm_error("show: --%s and --%s cannot go together", options[r->format].name,
			 options[format].name);
		return TM_EXIT_USAGE;
	}
	r->format = format;
	return TM_EXIT_OK;
}

/* TM_EXIT_OK, or what to end with; *done where there is nothing left to do. */
static int parse(struct tm_walk *w, struct request *r, bool *done)
{
	int option, rc = TM_EXIT_OK;

	while (!rc && (option = tm_walk_next(w)) != TM_OPT_END) {
		if (option == TM_OPT_BAD)
			return TM_EXIT_USAGE;
		if (option == TM_OPT_HELP) {
			tm_command_help(w->command, stdout);
			*done = true;
			return TM_EXIT_OK;
		}
		if (option == OPT_FULL) {
			r->full = true;
		} else if (option == OPT_IMPORT) {
			r->import = w->value;
		} else if (option == OPT_STORE) {
			r->path = w->value;
		} else if (option != TM_OPT_WORD) {
			rc = set_format(r, option);
		} else if (r->name) {
			tm_error("show: one record or session at a time, not '%s' too", w->value);
			rc = TM_EXIT_USAGE;
		} else {
			r->name = w->value;
		}
	}
	return rc;
}

static int put_line(void *context, const char *id, const char *text)
{
	(void)id;
	return fprintf(context, "%s\n", text) < 0 ? -EIO : 0;
}

static const char *text_in(const json_t *record, const char *part, const char *key)
{
	const json_t *o = json_object_get(json_object_get(record, "environment"), part);
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "-";
}

static int list_sessions(struct tm_store *store, char *why, size_t why_size)
{
	struct tm_session *list;
	json_t *record;
	size_t count;
	int rc = tm_store_sessions(store, &list, &count, why, why_size);

	if (rc)
		return rc;
	printf("%-12s  %-24s  %7s  %5s  %6s  %-24s  %s\n", "session", "time", "records", "rows",
	       "failed", "kernel", "processor");
	for (size_t i = 0; !rc && i < count; i++) {
		rc = tm_store_get(store, list[i].record, &record, why, why_size);
		if (rc)
			break;
		printf("%-12.12s  %-24s  %7llu  %5llu  %6llu  %-24s  %s\n", list[i].id,
		       list[i].first, (unsigned long long)list[i].records,
		       (unsigned long long)list[i].rows, (unsigned long long)list[i].failed,
		       text_in(record, "kernel", "release"), text_in(record, "cpu", "model_name"));
		json_decref(record);
	}
	free(list);
	return rc;
}

static int print_table(struct tm_rows *rows, int format, char *why, size_t why_size)
{
	struct tm_table_style style;
	int rc;

	tm_table_style_of(stdout, &style);
	rc = tm_table_print(stdout, rows, format == OPT_CSV ? TM_TABLE_CSV : TM_TABLE_TEXT, &style);
	if (rc)
		snprintf(why, why_size, "the table cannot be printed: %s", strerror(-rc));
	return rc;
}

static int show_session(struct tm_store *store, const char *id, int format, char *why,
			size_t why_size)
{
	struct tm_rows *rows;
	int rc;

	if (format == OPT_JSON)
		return tm_store_records(store, id, put_line, stdout, why, why_size);
	rc = tm_rows_load(store, id, &rows, why, why_size);
	if (rc)
		return rc;
	rc = print_table(rows, format, why, why_size);
	tm_rows_free(rows);
	return rc;
}

static int show_record(struct tm_store *store, const char *id, const struct request *r, char *why,
		       size_t why_size)
{
	struct tm_table_style style;
	struct tm_rows *rows;
	json_t *record, *list;
	int rc = tm_store_get(store, id, &record, why, why_size);

	if (rc)
		return rc;
	if (r->format == OPT_JSON) {
		json_dumpf(record, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
		putchar('\n');
	} else if (r->format < 0) {
		tm_table_style_of(stdout, &style);
		rc = tm_show_record(stdout, record, r->full, &style, why, why_size);
	} else {
		list = json_pack("[O]", record);
		rc = tm_rows_build(list, &rows, why, why_size);
		json_decref(list);
		if (!rc) {
			rc = print_table(rows, r->format, why, why_size);
			tm_rows_free(rows);
		}
	}
	json_decref(record);
	return rc;
}

static int import(struct tm_store *store, const char *path, char *why, size_t why_size)
{
	struct tm_import done;
	int rc = tm_store_import(store, path, &done, why, why_size);

	fprintf(stderr, "tlbmark: %llu records added from %s, %llu were there already\n",
		(unsigned long long)done.added, path, (unsigned long long)done.known);
	if (done.torn)
		fprintf(stderr, "tlbmark: its last line has no end and is left out\n");
	return rc;
}

static int show(struct tm_store *store, const struct request *r, char *why, size_t why_size)
{
	char session[TM_STORE_ID], record[TM_STORE_ID];
	int rc = 0;

	if (r->import)
		rc = import(store, r->import, why, why_size);
	if (rc || (r->import && !r->name && r->format < 0))
		return rc;
	if (r->format == OPT_LIST)
		return list_sessions(store, why, why_size);
	if (r->format == OPT_JSON && r->name && !strcmp(r->name, "all"))
		return tm_store_records(store, NULL, put_line, stdout, why, why_size);
	rc = tm_store_find(store, r->name ? r->name : "last", session, record, why, why_size);
	if (rc)
		return rc;
	if (record[0])
		return show_record(store, record, r, why, why_size);
	return show_session(store, session, r->format, why, why_size);
}

static int cmd_show(int argc, char **argv)
{
	struct tm_walk w = {.command = &tm_command_show, .argc = argc, .argv = argv};
	struct request r = {.format = -1};
	struct tm_store *store;
	char path[4096], why[768];
	bool done = false, lost;
	int rc;

	rc = parse(&w, &r, &done);
	if (rc || done)
		return rc;
	rc = tm_store_path(r.path, path, sizeof(path), why, sizeof(why));
	if (!rc)
		rc = tm_store_open(path, r.import ? TM_STORE_WRITE : TM_STORE_READ, &store, why,
				   sizeof(why));
	if (rc) {
		tm_error("%s", why);
		return TM_EXIT_CANNOT;
	}
	rc = show(store, &r, why, sizeof(why));
	/* An output that takes no more is main()'s to report. */
	lost = fflush(stdout) || ferror(stdout);
	tm_store_close(store);
	return rc && !lost ? say(rc, why) : TM_EXIT_OK;
}

const struct tm_command tm_command_show = {
	.name = "show",
	.synopsis = "[RECORD|SESSION|last|all]",
	.summary = "show stored records: a session's table, one record, or the list",
	.description =
		"Shows what earlier runs left in the store. A session is one `tlbmark run`; it is shown "
		"as the table that the run printed. A record is one measured run; it is shown with its "
		"verdict, quantiles, counts and the machine it ran on. Both are named by their id or "
		"the beginning of it; without a name, or with `last`, it is the session stored last; "
		"`--json all` is every record of the store.\n\n"
		"The store is the file given by --store, else $TLBMARK_STORE, else "
		"$XDG_DATA_HOME/tlbmark/records.db, else ~/.local/share/tlbmark/records.db. It is never "
		"changed, except by --import, which adds records that a run could not store "
		"(tlbmark-spill-*.jsonl) or that come from another machine (show --json there).",
	.options = options,
	.main = cmd_show,
};
