# SPDX-License-Identifier: GPL-3.0-or-later
# Distribution with and without responders; the slowest two percent are cut off,
# the percentile ladder shows them.
load scripts . "/style.gp"
array name[4] = ["measured", "control: responders in another process", "control: no responder", ""]
x_title = "duration of one operation"
y_title = "operations that took at most so long, %"
load scripts . "/legend.gp"
set multiplot
do for [i = 1 : panels] {
	load scripts . "/panel.gp"
	plot $data index block(i, 3) using 1:2 with steps linetype 3, \
	     $data index block(i, 2) using 1:2 with steps linetype 2, \
	     $data index block(i, 1) using 1:2 with steps linetype 1
	unset label
	unset arrow
}
unset multiplot
