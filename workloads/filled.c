// SPDX-License-Identifier: GPL-3.0-or-later
#include "filled.h"

enum { PAGES, KIND, BACKING };
enum { BACKING_SHARED, BACKING_FILE };

static const char *const backings[] = {"shared", "file", NULL};

const struct tm_param filled_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages, transparent huge pages, or hugetlb pages",
				    pages_kinds, "4k", "4k,thp,hugetlb"),
	[BACKING] = PAGES_CHOICE_PARAM("backing", "shared memory, or a file on a disk", backings,
				       "shared", "shared,file"),
	{.name = NULL},
};

static enum pages_backing backing_of(const struct tm_cell_args *c)
{
	return c->values[BACKING] == BACKING_FILE ? PAGES_FILE : PAGES_SHARED;
}

int filled_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	int rc = pages_check(c, c->values[KIND], backing_of(c), c->values[PAGES], why, why_size);

	return rc || backing_of(c) != PAGES_FILE ? rc : pages_check_holes(why, why_size);
}

int filled_knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, c->values[KIND], backing_of(c), c->values[PAGES], s);
}

int filled_map(struct tm_thread *t, void *state)
{
	const uint64_t *value = t->cell->values;
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, value[KIND], backing_of(t->cell), value[PAGES]);

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	return rc ? rc : pages_must_be_huge(t, p, p->at, p->bytes);
}
