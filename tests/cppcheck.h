/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For cppcheck only, which does not see jansson's own definitions. */
#define json_array_foreach(a, i, v) for (i = 0; (v = json_array_get(a, i)); i++)
#define json_object_foreach(o, k, v) for (k = ""; (v = json_object_get(o, k));)
