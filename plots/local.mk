# SPDX-License-Identifier: GPL-3.0-or-later
# Drawings, from stored records only; the code is in libtlbmark-cli.a.
plotsdir = $(pkgdatadir)/plots
dist_plots_DATA = \
	plots/cdf.gp \
	plots/heatmap.gp \
	plots/ladder.gp \
	plots/legend.gp \
	plots/pages.gp \
	plots/panel.gp \
	plots/responders.gp \
	plots/split.gp \
	plots/stale.gp \
	plots/style.gp \
	plots/sweep.gp
