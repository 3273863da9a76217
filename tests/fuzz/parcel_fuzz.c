/* parcel_fuzz.c -- libFuzzer on what the engine makes of a parcel: items, as
   they are loaded and as they are passed over.

   Python runs in this process.  What a pickle's own bytes do is its affair:
   in place of _pickle.loads stands bytes. */

#define PY_SSIZE_T_CLEAN
#include "codec.h"

#include <stdint.h>
#include <stdlib.h>

#include "tag.h"

#define MOST 64 /* items that are read of one parcel */
#define ROOM 8

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct codec *
new_codec(void)
{
    PyRun_SimpleString("import _pickle\n"
                       "_pickle.loads = lambda data, buffers=(): bytes(data)");
    return codec_new(0, NULL);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    Py_InitializeEx(0);
    return 0;
}

/* 0, or -1: it could not be, for which there has to be a reason. */
static int
note(int status)
{
    if ((status < 0) != (PyErr_Occurred() != NULL))
        abort();
    PyErr_Clear();
    return status;
}

static int
load_one(struct codec *codec, struct reader *reader)
{
    PyObject *object = codec_load(codec, reader);
    Py_XDECREF(object);
    return note(object == NULL ? -1 : 0);
}

static int
load_items(struct codec *codec, struct reader *reader)
{
    PyObject *items[ROOM];
    Py_ssize_t count = codec_load_items(codec, reader, items, ROOM);
    if (count == CODEC_OTHER) {
        codec_is_failure(reader);
        return load_one(codec, reader);
    }
    for (Py_ssize_t i = 0; i < count; i++)
        Py_DECREF(items[i]);
    return note(count < 0 ? -1 : 0);
}

/* What can be loaded can be passed over, and ends at the same place; but for
   rows, which nobody passes over. */
static void
compare(struct codec *codec, const struct parcel *parcel)
{
    struct reader loaded = {.parcel = parcel}, skipped = loaded;
    for (int i = 0; i < MOST && !codec_is_at_end(&loaded); i++) {
        codec_is_failure(&loaded);
        if (reader_peek(&loaded) == TAG_ROWS || load_one(codec, &loaded) < 0)
            break;
        if (note(codec_skip(&skipped)) < 0 || skipped.offset != loaded.offset)
            abort();
    }
    codec_end(&loaded);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct codec *codec;
    if (codec == NULL && (codec = new_codec()) == NULL)
        abort();
    struct parcel *parcel = parcel_of(data, size);
    if (parcel == NULL)
        abort();
    struct reader reader = {.parcel = parcel}, skipped = reader;
    for (int i = 0; i < MOST && !codec_is_at_end(&reader); i++)
        load_items(codec, &reader);
    codec_end(&reader);
    for (int i = 0; i < MOST && !codec_is_at_end(&skipped); i++)
        note(codec_skip(&skipped));
    compare(codec, parcel);
    parcel_free(parcel);
    return 0;
}
