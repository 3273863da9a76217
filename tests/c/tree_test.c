/* tree_test.c -- the tree of every size up to a few hundred nodes. */

#include "tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES 520
#define CHECK(condition) check((condition), #condition, nodes)

static void
check(int good, const char *text, size_t nodes)
{
    if (!good) {
        printf("%zu nodes: %s\n", nodes, text);
        exit(1);
    }
}

static size_t
log2_up(size_t nodes)
{
    size_t rounds = 0;

    while (((size_t)1 << rounds) < nodes) {
        rounds++;
    }
    return rounds;
}

/* When the node and all below it have the message that it gets in a round;
   marks them. */
static size_t
serve(size_t nodes, size_t node, size_t round, char *seen)
{
    struct tree_place place = tree_place(nodes, node);
    size_t child, children = 0, last = round;

    CHECK(!seen[node]);
    seen[node] = 1;
    while ((child = tree_next_child(&place)) != 0) {
        size_t done = serve(nodes, child, round + ++children, seen);
        CHECK(tree_place(nodes, child).parent == node);
        last = done > last ? done : last;
    }
    CHECK(children <= TREE_CHILDREN && children <= log2_up(nodes));
    return last;
}

int
main(void)
{
    for (size_t nodes = 1; nodes <= NODES; nodes++) {
        char seen[NODES] = {0};
        size_t rounds = serve(nodes, 0, 0, seen);
        CHECK(rounds == log2_up(nodes));
        CHECK(memchr(seen, 0, nodes) == NULL);
        CHECK(nodes == NODES || seen[nodes] == 0);
    }
    return 0;
}
