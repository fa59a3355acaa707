# SPDX-License-Identifier: GPL-3.0-or-later
# Percentile ladder: the duration that a share of all operations stays below,
# on an axis on which every further nine takes as much room.
load scripts . "/style.gp"
array name[4] = ["measured", "control: responders in another process", "control: no responder", ""]
x_title = "percentile of operations, %"
y_title = "duration of one operation"
load scripts . "/legend.gp"
set multiplot
do for [i = 1 : panels] {
	load scripts . "/panel.gp"
	plot $data index block(i, 3) using 1:2 with lines linetype 3, \
	     $data index block(i, 2) using 1:2 with lines linetype 2, \
	     $data index block(i, 1) using 1:2 with lines linetype 1
	unset label
	unset arrow
}
unset multiplot
