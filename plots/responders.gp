# SPDX-License-Identifier: GPL-3.0-or-later
# Cost against the number of responders; at 0 there is none.
load scripts . "/style.gp"
array name[4] = ["responders of this process", "responders in another process", "", ""]
x_title = "responders"
y_title = "median duration of one operation"
load scripts . "/sweep.gp"
