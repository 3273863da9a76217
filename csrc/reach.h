/* reach.h -- memory of another process of this host, copied once. */

#ifndef EZMPI_REACH_H
#define EZMPI_REACH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* 0, or the errno of why not: this system, or its administrator, may forbid
   it. */
int reach_read(pid_t process, uint64_t address, void *base, size_t size);

#endif
