# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += kernels/README.md

# The lab: `tlbmark lab` runs these scripts, where they are installed or here.
labdir = $(pkgdatadir)/lab
dist_lab_SCRIPTS = \
	kernels/lab/boot \
	kernels/lab/build \
	kernels/lab/clean \
	kernels/lab/fetch \
	kernels/lab/initramfs \
	kernels/lab/list \
	kernels/lab/modules \
	kernels/lab/run \
	kernels/lab/source
dist_lab_DATA = \
	kernels/lab/common \
	kernels/lab/packages

# What it builds guest kernels from, where kernels/lab/build looks for it.
configsdir = $(pkgdatadir)/configs
dist_configs_DATA = \
	kernels/configs/debug \
	kernels/configs/guest \
	kernels/configs/tiny
plus_twentydir = $(pkgdatadir)/series/plus-twenty
dist_plus_twenty_DATA = kernels/series/plus-twenty/0001-x86-mm-twenty-instructions-more.patch
moveddir = $(pkgdatadir)/series/moved
dist_moved_DATA = kernels/series/moved/0001-x86-mm-the-flush-elsewhere.patch
faultsdir = $(pkgdatadir)/series/faults
dist_faults_DATA = \
	kernels/series/faults/0001-mm-flushes-to-leave-out.patch \
	kernels/series/faults/0002-x86-mm-where-every-flush-passes.patch \
	kernels/series/faults/0003-mm-faults-of-single-paths.patch \
	kernels/series/faults/0004-mm-faults-of-huge-pages.patch \
	kernels/series/faults/0005-mm-faults-of-kernel-addresses.patch \
	kernels/series/faults/0006-iommu-dma-faults-of-device-addresses.patch \
	kernels/series/faults/0007-mm-faults-of-rarer-paths.patch
EXTRA_DIST += kernels/series/README.md

# The guest's first process. There is nothing beside it that it could load.
pkglibexec_PROGRAMS += tlbmark-lab-init
tlbmark_lab_init_SOURCES = kernels/lab/init.c
tlbmark_lab_init_CFLAGS = $(TM_CFLAGS)
tlbmark_lab_init_LDFLAGS = -static
tlbmark_lab_init_LDADD =
