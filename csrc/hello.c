/* hello.c -- what a rank runs, as bytes that ezmpi/_hello.py writes and
   compares; and whether it has a guard.

   Must not know what is in them, nor what comes after. */

#define PY_SSIZE_T_CLEAN
#include "hello.h"

#include "errors.h"

/* All ranks have come by then, since to open the mailbox is collective: this
   is for one that runs what says no hello. */
#define HELLO_SECONDS 60.0

static PyObject *
hello_module(void)
{
    return PyImport_ImportModule("ezmpi._hello");
}

/* ---- a worker ---------------------------------------------------------- */

static PyObject *
describe(void)
{
    PyObject *module = hello_module(), *text = NULL;
    if (module != NULL)
        text = PyObject_CallMethod(module, "describe", "i", PROTOCOL_VERSION);
    Py_XDECREF(module);
    if (text == NULL || PyBytes_Check(text))
        return text;
    Py_DECREF(text);
    PyErr_SetString(PyExc_TypeError, "what a rank runs is not bytes");
    return NULL;
}

int
hello_say(struct crew *crew)
{
    struct header header = {.has_guard = crew->guard != NULL};
    struct parcel *parcel = NULL;
    PyObject *text = crew->met == 0 ? describe() : NULL;
    int status = -1;
    if (text == NULL)
        return crew->met == 0 ? -1 : 0;
    parcel =
        parcel_of(PyBytes_AS_STRING(text), (size_t)PyBytes_GET_SIZE(text));
    if (parcel == NULL)
        PyErr_NoMemory();
    else
        status = crew_send(crew, 0, VERB_HELLO, &header, parcel);
    crew->met = status == 0;
    parcel_free(parcel);
    Py_DECREF(text);
    return status;
}

/* ---- the master -------------------------------------------------------- */

/* Of a longer name, its beginning. */
static int
note_host(struct crew *crew, int rank, PyObject *host)
{
    struct crew_member *member = &crew->members[rank - 1];
    const char *name = PyUnicode_AsUTF8(host);
    if (name == NULL)
        return -1;
    snprintf(member->host, sizeof member->host, "%s", name);
    return 0;
}

static int
check(struct crew *crew, int rank, const struct letter *letter)
{
    struct reader reader = {.parcel = letter->parcel};
    PyObject *module = hello_module(), *done = NULL;
    size_t size = letter->parcel ? parcel_mark(letter->parcel).size : 0;
    const char *said =
        size > 0 ? (const char *)reader_take(&reader, size) : "";
    if (module != NULL && said != NULL)
        done = PyObject_CallMethod(module, "check", "iy#i", rank, said,
                                   (Py_ssize_t)size, PROTOCOL_VERSION);
    int status = done != NULL ? note_host(crew, rank, done) : -1;
    Py_XDECREF(module);
    Py_XDECREF(done);
    return status;
}

int
hello_hear(struct crew *crew, const struct letter *letter)
{
    int rank = letter->source;
    if (rank < 1 || rank > crew->workers)
        return errors_raise("TransportError", "a hello from rank %d", rank);
    if (check(crew, rank, letter) < 0)
        return -1;
    struct crew_member *member = &crew->members[rank - 1];
    crew->met += !member->is_met;
    member->is_met = 1;
    member->is_isolated = letter->header.has_guard != 0;
    crew->is_isolated |= member->is_isolated;
    return 0;
}

/* The first rank that has said nothing, and lives; 0: none. */
static int
first_missing(const struct crew *crew)
{
    for (int worker = 0; worker < crew->workers; worker++) {
        if (!crew->members[worker].is_met && !crew->members[worker].is_lost)
            return worker + 1;
    }
    return 0;
}

/* Nobody was sent anything, so nothing else can come. */
static int
open_letter(struct crew *crew, const struct letter *letter)
{
    if (letter->verb == VERB_HELLO)
        return hello_hear(crew, letter);
    return errors_raise("TransportError",
                        "rank %d sent verb %d, and has not said which ezmpi "
                        "it runs: it may be another version",
                        letter->source, letter->verb);
}

static int
receive(struct crew *crew, int64_t deadline)
{
    struct letter letter;
    int came = crew_receive(crew, SIGNAL_SECONDS, &letter);
    int status = came > 0 ? open_letter(crew, &letter) : came;
    crew->is_mixed =
        came > 0 && status < 0 && PyErr_ExceptionMatches(PyExc_ImportError);
    parcel_free(letter.parcel);
    if (came == 0 && first_missing(crew) != 0 && crew_clock() > deadline)
        return errors_raise("TransportError",
                            "rank %d has not said which ezmpi it runs: it may "
                            "be another version",
                            first_missing(crew));
    return status < 0 ? -1 : crew_check_signals(crew);
}

int
hello_await(struct crew *crew)
{
    if (crew->is_mixed)
        return errors_raise("TransportError",
                            "the ranks of this job do not run the same ezmpi "
                            "and Python, as the first pool said");
    if (crew->met == crew->workers)
        return 0;
    int64_t deadline = crew_clock() + (int64_t)(1e9 * HELLO_SECONDS);
    int status = 0;
    crew_take_helm(crew);
    while (status == 0 && first_missing(crew) != 0)
        status = receive(crew, deadline);
    crew_leave_helm(crew);
    return status;
}
