// SPDX-License-Identifier: GPL-3.0-or-later
#include <numa.h>

#include "nodes.h"

int nodes_next(int node)
{
	struct bitmask *allowed = numa_get_mems_allowed();
	int count = numa_max_node() + 1, found = -1;

	for (int i = 1; found < 0 && i <= count; i++) {
		int other = (node + i) % count;

		if (other != node && numa_bitmask_isbitset(allowed, (unsigned int)other) &&
		    numa_node_size64(other, NULL) > 0)
			found = other;
	}
	numa_bitmask_free(allowed);
	return found;
}

bool nodes_several(void)
{
	int first = nodes_next(-1);

	return first >= 0 && nodes_next(first) >= 0;
}
