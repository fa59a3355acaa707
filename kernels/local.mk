# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += kernels/README.md

# The lab: `tlbmark lab` runs these scripts, where they are installed or here.
labdir = $(pkgdatadir)/lab
dist_lab_SCRIPTS = \
	kernels/lab/boot \
	kernels/lab/clean \
	kernels/lab/fetch \
	kernels/lab/initramfs \
	kernels/lab/list \
	kernels/lab/modules \
	kernels/lab/run
dist_lab_DATA = kernels/lab/common

configsdir = $(pkgdatadir)/configs
dist_configs_DATA = \
	kernels/configs/tiny
plus_twentydir = $(pkgdatadir)/series/plus-twenty
moveddir = $(pkgdatadir)/series/moved

# The guest's first process. There is nothing beside it that it could load.
pkglibexec_PROGRAMS += tlbmark-lab-init
tlbmark_lab_init_SOURCES = kernels/lab/init.c
tlbmark_lab_init_CFLAGS = $(TM_CFLAGS)
tlbmark_lab_init_LDFLAGS = -static
tlbmark_lab_init_LDADD =
