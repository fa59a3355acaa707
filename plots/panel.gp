# SPDX-License-Identifier: GPL-3.0-or-later
# Prepares the axes of panel i; loaded before each panel is drawn.
set lmargin at screen left(i) + 0.05
set rmargin at screen left(i) + panel_width - 0.012
set tmargin at screen top(i) - 0.035
set bmargin at screen top(i) - panel_height + 0.047
set title heading[i] font middle offset 0, -0.5
unset logscale
if (xlog[i]) { set logscale x }
if (ylog[i]) { set logscale y }
set xrange [xlow[i]:xhigh[i]]
set yrange [ylow[i]:yhigh[i]]
eval "set xtics (" . xtics[i] . ") font small"
eval "set ytics (" . ytics[i] . ") font small"
