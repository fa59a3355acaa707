# SPDX-License-Identifier: GPL-3.0-or-later
# What all plots have in common: size, fonts, colours, heading and caption.
#
# Set by the program before a plot's script is loaded:
#   format          "svg" or "png"
#   title, note     heading; what the reader has to know, or ""
#   caption[1..2]   machine and kernel; versions, session, probe
#   panels          number of panels in this picture
#   columns         and how many of them stand side by side
#   heading[i]      title of panel i
#   xlow[i] xhigh[i] xlog[i] xtics[i], the same for y and z: its axes
#   mark[i]         x of a vertical line, NaN for none
#   present[s]      1 where some panel has anything of series s
#   $data           a block for each panel and series: index block(i, s)

set encoding utf8
set datafile separator tab
set datafile missing "nan"
if (format eq "svg") {
	set terminal svg size 1200,750 noenhanced background "white" font "DejaVu Sans,Arial,sans-serif,12"
} else {
	set terminal pngcairo size 1200,750 noenhanced background "white" font "DejaVu Sans,9"
}

series = 4
block(i, s) = (i - 1) * series + s - 1

# The colours of Okabe and Ito, told apart by all kinds of colour vision; dashes
# differ too, for print.
set linetype 1 linecolor rgb "#0072b2" linewidth 2 dashtype solid pointtype 7 pointsize 0.6
set linetype 2 linecolor rgb "#d55e00" linewidth 2 dashtype (12, 5) pointtype 9 pointsize 0.7
set linetype 3 linecolor rgb "#555555" linewidth 1.5 dashtype (3, 4) pointtype 5 pointsize 0.5
set linetype 4 linecolor rgb "#e69f00" linewidth 1 dashtype solid
set linetype 5 linecolor rgb "#009e73" linewidth 1 dashtype solid
set linetype 6 linecolor rgb "#bbbbbb" linewidth 0.6 dashtype solid
set border 3 linecolor rgb "#444444" linewidth 0.8
set tics nomirror out scale 0.5
set grid linetype 6
set key off
set pointintervalbox 0

large = format eq "svg" ? ",18" : ",14"
middle = format eq "svg" ? ",12" : ",9.5"
small = format eq "svg" ? ",11" : ",8"

set label 1 title at screen 0.015, screen 0.967 left font large
set label 2 note at screen 0.985, screen 0.967 right font small textcolor rgb "#444444"
set label 3 caption[1] at screen 0.015, screen 0.04 left font small textcolor rgb "#444444"
set label 4 caption[2] at screen 0.015, screen 0.015 left font small textcolor rgb "#444444"

# Panels fill the middle, row by row; each leaves room for its labels.
lines = int(ceil(panels / real(columns)))
area_left = 0.03; area_right = 0.99; area_top = 0.905; area_bottom = 0.095
panel_width = (area_right - area_left) / columns
panel_height = (area_top - area_bottom) / lines
left(i) = area_left + ((i - 1) % columns) * panel_width
top(i) = area_top - ((i - 1) / columns) * panel_height
