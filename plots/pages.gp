# SPDX-License-Identifier: GPL-3.0-or-later
# Cost against pages. The dotted line is the range ceiling: with more pages the
# kernel flushes the whole TLB.
load scripts . "/style.gp"
array name[4] = ["measured", "control (nobody is interrupted)", "", ""]
x_title = "pages"
y_title = "median duration of one operation"
load scripts . "/sweep.gp"
