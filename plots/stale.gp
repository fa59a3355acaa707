# SPDX-License-Identifier: GPL-3.0-or-later
# What share of dead translations is still used, by how long ago they were taken
# away. The dotted line is where half of them are.
load scripts . "/style.gp"
array name[4] = ["most likely, if none comes back", "of the looks, by age; bars: 95%", "", ""]
x_title = "time since it was taken away"
y_title = "translations that are still used, %"
load scripts . "/legend.gp"
set bars small
set multiplot
do for [i = 1 : panels] {
	load scripts . "/panel.gp"
	if (mark[i] == mark[i]) {
		set arrow 30 from mark[i], graph 0 to mark[i], graph 1 nohead dashtype (2, 4) linecolor rgb "#444444"
	}
	plot $data index block(i, 2) using 1:2:3:4 with yerrorbars linetype 2 dashtype solid linewidth 1, \
	     $data index block(i, 1) using 1:2 with lines linetype 1
	unset label
	unset arrow
}
unset multiplot
