/* tree.h -- a binomial tree over nodes 0..nodes-1, whose root is node 0.

   Plain arithmetic.  After k rounds, in each of which whoever has a message
   passes it on to one more node, 2^k nodes have it. */

#ifndef EZMPI_TREE_H
#define EZMPI_TREE_H

#include <stddef.h>

#define TREE_CHILDREN 32            /* of a node at most, in 2^32 nodes */

/* A node and what is below it: nodes node + 1 to end - 1. */
struct tree_place {
    size_t node;
    size_t parent;                  /* the root's: itself */
    size_t end;
};

struct tree_place tree_place(size_t nodes, size_t node);

/* The child that is to be served next, with all below it taken out of place;
   0: there is none left. */
size_t tree_next_child(struct tree_place *place);

#endif
