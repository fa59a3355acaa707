// SPDX-License-Identifier: GPL-3.0-or-later
/* A run's rounds of its workload's oracle, after or instead of what is measured. */
#include "engine.h"

enum {
	VERIFY_ROUNDS = 32,
	FEW_ROUNDS = 2, /* counted, it may sleep beside responders that spin, which takes long */
};

void tm_engine_verify(struct tm_engine *e)
{
	const struct tm_cell *c = e->cell;
	struct tm_thread *first = &e->initiator[0].t;
	uint64_t end = tm_monotonic_ns() + c->duration_ns, before;
	int rc;

	if (!c->verify || !c->args.workload->verify || atomic_load(&e->failed))
		return;
	do {
		before = e->r->verdict.checks;
		e->r->verdict.rounds = c->one_round			    ? 1
				       : c->deterministic || c->verify_only ? FEW_ROUNDS
									    : VERIFY_ROUNDS;
		rc = c->args.workload->verify(first, e->state, &e->r->verdict);
		e->r->verify_calls++;
	} while (!rc && c->verify_only && e->r->verdict.checks > before && tm_monotonic_ns() < end);
	if (rc)
		tm_fail(first, rc, "%s cannot be verified", c->args.workload->name);
	/* Measured, that was asked at the end of the phase. */
	else if (c->verify_only)
		tm_engine_lost_one(e);
	e->r->verified = !rc && e->r->verdict.checks;
	if (e->lost)
		e->r->verified = false;
}
