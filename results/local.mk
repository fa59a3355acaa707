# SPDX-License-Identifier: GPL-3.0-or-later
# Reads and writes stored records; knows nothing of running.
noinst_LIBRARIES += libtlbmark-results.a
libtlbmark_results_a_SOURCES = \
	results/rows.c \
	results/rows.h \
	results/rows_gather.c \
	results/rows_gather.h \
	results/rows_interruptions.c \
	results/rows_reference.c \
	results/stale.c \
	results/stale.h \
	results/stats.c \
	results/stats.h \
	results/store.c \
	results/store.h \
	results/store_lines.c \
	results/store_read.c \
	results/store_sql.h \
	results/table.c \
	results/table.h \
	results/table_label.c \
	results/table_notes.c \
	results/table_reference.c \
	results/table_text.c \
	results/table_text.h
dist_pkgdata_DATA += results/schema/tlbmark-record-1.schema.json
