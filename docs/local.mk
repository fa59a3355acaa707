# SPDX-License-Identifier: GPL-3.0-or-later
TM_DOCS = \
	docs/adding-a-workload.md \
	docs/architecture.md \
	docs/deterministic.md \
	docs/dma.md \
	docs/faults.md \
	docs/images/split.png \
	docs/lab.md \
	docs/method.md \
	docs/notifier.md \
	docs/records.md \
	docs/status.md \
	docs/stress.md \
	docs/vmap.md
EXTRA_DIST += $(TM_DOCS)

# Printed by the program from its own tables, so they cannot disagree with it.
if CAN_RUN
man_MANS += \
	docs/man/tlbmark.1 \
	docs/man/tlbmark-run.1 \
	docs/man/tlbmark-list.1 \
	docs/man/tlbmark-doctor.1 \
	docs/man/tlbmark-show.1 \
	docs/man/tlbmark-plot.1 \
	docs/man/tlbmark-lab.1 \
	docs/man/tlbmark-stress.1
docs/man/tlbmark.1: tlbmark$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) docs/man && ./tlbmark --man >$@.tmp && mv $@.tmp $@
docs/man/tlbmark-run.1 docs/man/tlbmark-list.1 docs/man/tlbmark-doctor.1 \
docs/man/tlbmark-show.1 docs/man/tlbmark-plot.1 docs/man/tlbmark-lab.1 \
docs/man/tlbmark-stress.1: tlbmark$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) docs/man && \
	./tlbmark --man `basename $@ .1 | sed s/tlbmark-//` >$@.tmp && mv $@.tmp $@

completiondir = $(datarootdir)/bash-completion/completions
nodist_completion_DATA = docs/completion/tlbmark
docs/completion/tlbmark: tlbmark$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) docs/completion && ./tlbmark --completion >$@.tmp && mv $@.tmp $@
CLEANFILES += $(man_MANS) $(nodist_completion_DATA)
endif
