/* tree.c -- the tree's arithmetic.  Knows neither ranks nor messages.

   A node hands the upper half of what is below it to a child, and goes on
   with the rest: so neighbours, which often share a host, pass messages to
   each other. */

#include "tree.h"

size_t
tree_next_child(struct tree_place *place)
{
    size_t size = place->end - place->node;

    if (size == 1) {
        return 0;
    }
    place->end = place->node + (size + 1) / 2;
    return place->end;
}

struct tree_place
tree_place(size_t nodes, size_t node)
{
    struct tree_place place = {0, 0, nodes};

    while (place.node != node) {
        size_t end = place.end;
        size_t child = tree_next_child(&place);
        if (node >= child) {
            place = (struct tree_place){child, place.node, end};
        }
    }
    return place;
}
