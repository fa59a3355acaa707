# SPDX-License-Identifier: GPL-3.0-or-later
# The legend, once for all panels, below the heading; and what the axes mean,
# once. Set before: name[s], x_title, y_title.
at = 0.017
do for [s = 1 : series] {
	if (present[s] && strlen(name[s])) {
		set arrow 10 + s from screen at, screen 0.928 to screen at + 0.03, screen 0.928 nohead linetype s
		set label 10 + s name[s] at screen at + 0.036, screen 0.928 left font middle
		at = at + 0.07 + 0.0062 * strlen(name[s])
	}
}
set label 20 x_title at screen 0.5 * (area_left + area_right), screen 0.075 center font middle
set label 21 y_title at screen 0.012, screen 0.5 * (area_top + area_bottom) center rotate by 90 font middle
