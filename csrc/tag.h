/* tag.h -- what an item of a parcel begins with: what follows it in the
   stream.  Numbers are in the machine's order. */

#ifndef EZMPI_TAG_H
#define EZMPI_TAG_H

enum tag {
    /* plain.c */
    TAG_NONE = 'N',
    TAG_TRUE = 'T',
    TAG_FALSE = 'F',
    TAG_INT = 'i',              /* int64_t */
    TAG_FLOAT = 'f',            /* double */
    TAG_FLOAT64 = 'd',          /* double: a numpy.float64 */
    TAG_STR = 's',              /* uint32_t, so many ASCII characters */
    TAG_BYTES = 'b',            /* uint32_t, so many bytes */
    TAG_TUPLE = 't',            /* uint32_t, so many items */
    TAG_LIST = 'l',             /* uint32_t, so many items */
    TAG_ARRAY = 'a',            /* kind and bytes of an array */
    /* rows.c */
    TAG_ROWS = 'R',             /* so many items: inline?, kind and bytes */
    /* codec.c */
    TAG_PICKLE = 'P',           /* struct item, a pickle */
    TAG_FAILURE = '!',          /* the next item is a failure's account */
};

#endif
