/* pages.h -- large memory in large pages.  Plain C. */

#ifndef EZMPI_PAGES_H
#define EZMPI_PAGES_H

#include <stddef.h>

/* Memory that is fresh, and will be written as a whole.  A hint: where the
   system has no large pages nothing changes. */
void pages_enlarge(void *base, size_t size);

#endif
