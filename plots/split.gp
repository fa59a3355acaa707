# SPDX-License-Identifier: GPL-3.0-or-later
# Delivery, stolen and return as one bar a row; the whole operation as a mark,
# its median in words beside it.
load scripts . "/style.gp"
share = xhigh[1] > 50
set linetype 1 linecolor rgb "#56b4e9" linewidth 8 dashtype solid
set linetype 2 linecolor rgb "#d55e00" linewidth 8 dashtype solid
set linetype 3 linecolor rgb "#f0e442" linewidth 8 dashtype solid
set linetype 4 linecolor rgb "#000000" linewidth 2 dashtype solid
array name[4] = ["delivery", "stolen from the responder", "return", "whole operation"]
x_title = share ? "median, % of the sum of the three" : "median"
y_title = ""
load scripts . "/legend.gp"
set multiplot
i = 1
load scripts . "/panel.gp"
set lmargin at screen 0.36
set rmargin at screen 0.97
set style fill solid 1 noborder
set boxwidth 0.7
set ytics scale 0
set yrange [yhigh[1]:ylow[1]]
set grid noytics
plot for [s = 1 : 3] $data index block(1, s) using 1:3:1:2:($3 - 0.36):($3 + 0.36) with boxxyerror linetype s linewidth 1, \
     $data index block(1, 1) using 1:3:(0):(0):ytic(5) with vectors nohead linetype 6 linewidth 0, \
     $data index block(1, 4) using 1:3:(0):(0.36) with vectors nohead linetype 4, \
     $data index block(1, 4) using 1:3:(0):(-0.36) with vectors nohead linetype 4, \
     $data index block(1, 4) using 2:3:5 with labels left offset 0.8, 0 font small
unset multiplot
