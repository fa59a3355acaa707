# SPDX-License-Identifier: GPL-3.0-or-later
# From which CPU to which an interrupt takes how long. The colours are those of
# cividis: even steps of brightness for all kinds of colour vision.
load scripts . "/style.gp"
array name[4] = ["", "", "", ""]
x_title = "CPU that responds"
y_title = "CPU that initiates"
load scripts . "/legend.gp"
set palette defined (0 "#00204d", 0.25 "#414d6b", 0.5 "#7c7b78", 0.75 "#bcaf6f", 1 "#ffea46")
unset grid
set multiplot
do for [i = 1 : panels] {
	load scripts . "/panel.gp"
	set rmargin at screen left(i) + panel_width - 0.085
	set cbrange [zlow[i]:zhigh[i]]
	if (zlog[i]) { set logscale cb }
	eval "set cbtics (" . ztics[i] . ") font small"
	middle_value = zlog[i] ? sqrt(zlow[i] * zhigh[i]) : (zlow[i] + zhigh[i]) / 2
	dark(value) = value < middle_value
	set style fill solid 1 noborder
	plot $data index block(i, 1) using 1:2:($1 - 0.5):($1 + 0.5):($2 - 0.5):($2 + 0.5):3 with boxxyerror linecolor palette, \
	     $data index block(i, 2) using 1:(ylow[i]):(0):(0):xtic(5) with vectors nohead linewidth 0, \
	     $data index block(i, 3) using (xlow[i]):1:(0):(0):ytic(5) with vectors nohead linewidth 0, \
	     $data index block(i, 1) using 1:2:5:(dark($3) ? 0xffffff : 0) with labels font middle textcolor rgb variable
	unset label
	unset arrow
}
unset multiplot
