/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory nodes that this process may use. From any thread; after numa_available(). */
#ifndef TLBMARK_NODES_H
#define TLBMARK_NODES_H

#include <stdbool.h>

/*
 * The first node after `node`, from the last one on to the first again, that has memory
 * which may be taken (cpuset(7)); -1: no other. Of -1: the first of all.
 */
int nodes_next(int node);

/* Are there two or more? */
bool nodes_several(void);

#endif /* TLBMARK_NODES_H */
