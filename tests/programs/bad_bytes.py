"""A peer that sends what no ezmpi would, to the engine over the fake transport.

    bad_bytes.py LIBRARY SCENARIO

One rank is the engine, the others are this program, which puts messages into its
mailbox. Each ends in a clear exception, or is dropped; and what can go on does.
"""

import ctypes
import itertools
import os
import pickle
import random
import resource
import struct
import sys
import threading
import time

from engine_over_fake import Fake, double, end_driver

from ezmpi import _ezmpi, _hello
from ezmpi.errors import TransportError

CALLABLE, TASKS, SHARE, UNSHARE, ANSWER, NEED, FAREWELL = 3, 4, 7, 8, 11, 12, 14
BIND, INITIALIZE, HELLO = 1, 2, 1000  # the verbs, in protocol.h
NO_RESULTS, FAILED, BROKEN, BACK, STAR, CALL, EACH = 2, 4, 8, 16, 32, 64, 128
PROTOCOL = 4
HEADER = 64  # bytes
HUGE = (1 << 64) - 1
SECONDS = 20  # in which all that waits must have ended
MEMORY = 3 << 30  # bytes; what asks for more gets none
ROUNDS = 400  # messages that are changed at random, of each kind


class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Header:
    """As struct header packs it."""

    def __init__(self, job=1, first=0, count=1, **others):
        names = "callable pool elapsed timeout flags slot".split()
        self.fields = dict.fromkeys(names, 0)
        self.fields.update(others)
        self.numbers = job, first, count

    def packed(self):
        return struct.pack("<7Q2I", *self.numbers, *self.fields.values())


class Peers:
    """All ranks of a job but one, which is the engine's."""

    jobs = itertools.count()

    def __init__(self, fake, transport, rank):
        self.fake = fake
        self.transport = transport
        self.first = fake.ranks * next(self.jobs)
        self.handle = self.first + rank
        self.kept = []

    def send(self, source, verb, *parts):
        """A part is bytes, or a size that it only claims to have."""
        array = (Part * len(parts))()
        for i, part in enumerate(parts):
            if isinstance(part, int):
                array[i] = Part(None, part)
                continue
            kept = ctypes.create_string_buffer(part, len(part))
            self.kept.append(kept)
            array[i] = Part(ctypes.addressof(kept), len(part))
        self.fake.inject(self.handle, source, verb, ctypes.addressof(array), len(parts))


def item(value):
    """As the codec writes a value that needs a pickle."""
    data = pickle.dumps(value, 5)
    return b"P" + struct.pack("=QQ", len(data), 0) + data


def number(value):
    return b"i" + struct.pack("=q", value)


def counted(tag, count, rest=b""):
    return tag + struct.pack("=I", count) + rest


def array(dimensions, *shape, letter=b"d", tag=b"a", inline=b""):
    kind = letter + bytes([dimensions]) + struct.pack(f"={len(shape)}q", *shape)
    return tag + inline + kind


# What is no item, and what was seen of each.
BAD_ITEMS = {
    "nothing": b"",
    "an unknown tag": b"?",
    "half a number": number(5)[:4],
    "a text longer than the message": counted(b"s", 1000, b"abc"),
    "bytes of 4 GiB": counted(b"b", (1 << 32) - 1),
    "a text that is not ASCII": counted(b"s", 2, b"\xff\xfe"),
    "a tuple of 2^32 items": counted(b"t", (1 << 32) - 1),
    "a list of more than there are": counted(b"l", 3, b"NN"),
    "tuples in tuples in tuples": counted(b"t", 1) * 1_000_000,
    "lists without end": counted(b"l", 1) * 1_000_000 + b"N",
    "an array of no type": array(1, 3, letter=b"O") + bytes(24),
    "an array of 200 dimensions": array(200, *range(8)) + bytes(24),
    "an array of a negative size": array(1, -3) + bytes(24),
    "an array above 2^64 bytes": array(3, 1 << 40, 1 << 40, 1 << 40),
    "an array larger than the message": array(1, 1000) + bytes(24),
    "an array with a side of 0 and one of 2^62": array(2, 0, 1 << 62),
    "rows of a number": array(0, tag=b"R", inline=b"\1") + bytes(8),
    "no rows": array(2, 0, 4, tag=b"R", inline=b"\1"),
    "rows in no buffer": array(1, 4, tag=b"R", inline=b"\0"),
    "a pickle of 2^63 bytes": b"P" + struct.pack("=QQ", 1 << 63, 0),
    "a pickle in no buffer": b"P" + struct.pack("=QQ", HUGE, 0),
    "a pickle in a buffer that is not there": b"P" + struct.pack("=QQ", HUGE, 1),
    "more buffers than there are": b"P" + struct.pack("=QQ", 4, 1 << 60) + b"\x80\x05N.",
    "a pickle that is none": b"P" + struct.pack("=QQ", 3, 0) + b"abc",
    "a failure in a failure": b"!!" + number(1),
}


# ---- the master -------------------------------------------------------------


def hello(peers, source):
    peers.send(source, HELLO, Header(0).packed(), _hello.describe(PROTOCOL))


class Master:
    """The engine as the master; ranks 1 and 2 are played."""

    def __init__(self, fake, transport):
        self.peers = Peers(fake, transport, 0)
        for source in (1, 2):
            hello(self.peers, source)
        self.pool = _ezmpi.MPIPool(transport, self.peers.handle)
        self.job = 0

    def answer(self, header, *parts, source=1, verb=ANSWER):
        self.peers.send(source, verb, header.packed(), *parts)

    def map(self, count=1, **options):
        self.job += 1
        return self.pool.map(double, range(count), **options)

    def end(self):
        self.pool.close()
        self.peers.fake.die(self.peers.handle)
        end_driver(self.pool)


def raises(kinds, function, *args, **kwargs):
    try:
        got = function(*args, **kwargs)
    except kinds as error:
        assert str(error), "an error that says nothing"
        return error
    raise AssertionError(f"{got!r:.200}, and nothing was raised")


ANSWERS = {
    "of an unknown job": Header(77),
    "of a job to come": Header(2),
    "for another task": Header(first=3),
    "for more tasks than were given": Header(count=2),
    "for 2^64 - 1 tasks": Header(count=HUGE),
    "with one failure too many": Header(count=1, flags=FAILED),
    "that gives back what it may not": Header(count=0, flags=BACK),
    "without results that are wanted": Header(flags=NO_RESULTS),
    "that took longer than the world is old": Header(elapsed=HUGE),
}


def bad_answers(fake, transport):
    for what, header in ANSWERS.items():
        master = Master(fake, transport)
        master.answer(header, number(6))
        error = raises(TransportError, master.map)
        assert "rank 1 answered for" in str(error), (what, error)
        # Rank 1 still owes its answer; rank 2 works.
        master.answer(Header(2), number(8), source=2)
        assert master.map() == [8], what
        master.end()


def bad_messages(fake, transport):
    """What is no message at all."""
    good = Header().packed()
    for verb in (ANSWER, NEED, 99):
        for parts in ((), (good[:-1],), (good + b"\0",), (b"",), (bytes(5000),)):
            master = Master(fake, transport)
            master.peers.send(1, verb, *parts)
            error = raises(TransportError, master.map)
            assert "begins with no valid header" in str(error), error
            master.answer(Header(2), number(8), source=2)
            assert master.map() == [8]
            master.end()
    for verb in (0, BIND, TASKS, FAREWELL, 99, 32000):
        master = Master(fake, transport)
        master.answer(Header(), verb=verb)
        error = raises(TransportError, master.map)
        assert "which the master does not know" in str(error), error
        master.end()


def bad_sizes(fake, transport):
    """More than there is memory for: the job fails, and the next is as ever."""
    for size in (1 << 62, 1 << 40):
        master = Master(fake, transport)
        master.answer(Header(), size)
        error = raises(MemoryError, master.map)
        assert f"a message of {size + HEADER} bytes from rank 1" in str(error)
        master.answer(Header(2), number(8), size, source=1)
        raises(MemoryError, master.map)
        master.answer(Header(3), number(8))
        assert master.map() == [8]
        master.end()


def answers_without_results(fake, transport):
    """Fewer than the tasks that were given, and no word of why."""
    for flags, parts in ((0, ()), (NO_RESULTS, ()), (FAILED, ())):
        master = Master(fake, transport)
        master.answer(Header(count=0, flags=flags), *parts)
        error = raises(TransportError, master.map)
        assert "rank 1 answered for" in str(error), error
        master.answer(Header(2), number(8), source=1 if flags != FAILED else 2)
        assert master.map() == [8]
        master.end()


def bad_results(fake, transport):
    for what, data in BAD_ITEMS.items():
        master = Master(fake, transport)
        for flags in (0, FAILED):
            header = Header(master.job + 1, count=0 if flags else 1, flags=flags)
            master.answer(header, data)
            raises(Exception, master.map)
        master.answer(Header(3), number(8))
        assert master.map() == [8], what
        # Passed over, behind one that cannot be loaded.
        master.answer(Header(4, count=2), b"?" + data)
        raises(Exception, master.map, 2, chunksize=2)
        master.answer(Header(5), number(9))
        assert master.map() == [9], what
        master.end()


def refuses(fake, transport, said):
    peers = Peers(fake, transport, 0)
    hello(peers, 1)
    for verb, *parts in said:
        peers.send(2, verb, *parts)
    error = raises(TransportError, _ezmpi.MPIPool, transport, peers.handle)
    again = raises(TransportError, _ezmpi.MPIPool, transport, peers.handle)
    assert "do not run the same" in str(again), again
    return str(error)


def bad_hellos(fake, transport):
    header = Header(0).packed()
    good = _hello.describe(PROTOCOL)
    version, python, protocol, sizes, host = good.decode().split("\n")

    def text(*words):
        return refuses(fake, transport, [(HELLO, header, "\n".join(words).encode())])

    said = text("0.9", python, protocol, sizes, "node7")
    assert "rank 2 on node7 runs ezmpi 0.9, and rank 0 ezmpi" in said, said
    assert "start all ranks" in said, said
    said = text("0.9", "3.7", protocol, sizes, host)
    assert "runs ezmpi 0.9 and Python 3.7, and rank 0" in said, said
    assert "the protocol 99" in text(version, python, "99", sizes, host)
    assert "rank 2 runs " in text(version)
    for parts in ((header,), (header, b""), (header, b"\xff" * 100)):
        assert "rank 2 " in refuses(fake, transport, [(HELLO, *parts)])
    said = refuses(fake, transport, [(ANSWER, header)])
    assert "may be another version" in said, said


def hello_again(fake, transport):
    """From a worker that was replaced: heard, and dropped."""
    master = Master(fake, transport)
    hello(master.peers, 1)
    master.answer(Header(), number(8))
    assert master.map() == [8]
    master.end()


# ---- a worker ---------------------------------------------------------------


class Worker:
    """The engine as rank 1; ranks 0 and 2 are played."""

    def __init__(self, fake, transport):
        self.peers = Peers(fake, transport, 1)
        self.ended = None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            _ezmpi.MPIPool(self.peers.transport, self.peers.handle)
        except BaseException as error:
            self.ended = error

    def send(self, verb, header, *parts):
        self.peers.send(0, verb, header.packed(), *parts)

    def give(self, header, data, *buffers, function=double):
        """A callable and a chunk of tasks."""
        header.fields["callable"] = 1
        self.send(CALLABLE, header, item(function))
        self.send(TASKS, header, data, *buffers)

    def answers(self, count):
        """Wait until so many answers were sent, or the worker has ended."""
        deadline = time.monotonic() + SECONDS
        while self.arrived(ANSWER) < count and self.thread.is_alive():
            assert time.monotonic() < deadline, "no answer came"
            time.sleep(0.001)
        return self.arrived(ANSWER)

    def arrived(self, verb):
        return self.peers.fake.arrived(self.peers.first, verb)

    def end(self):
        """How it ended."""
        self.peers.send(0, FAREWELL, Header(0).packed())
        self.thread.join(SECONDS)
        assert not self.thread.is_alive(), "the worker does not end"
        return self.ended


def goes_on(worker, answers):
    """It still works, and ends as it should."""
    worker.give(Header(9), number(4))
    assert worker.answers(answers + 1) == answers + 1, worker.ended
    ended = worker.end()
    assert isinstance(ended, SystemExit), ended
    return True


def bad_tasks(fake, transport):
    """Each chunk is answered for exactly once."""
    for flags in (0, EACH, STAR, CALL, STAR | CALL | EACH, NO_RESULTS):
        worker = Worker(fake, transport)
        for answers, data in enumerate(BAD_ITEMS.values(), 1):
            worker.give(Header(answers, flags=flags), data)
            assert worker.answers(answers) == answers, (answers, worker.ended)
        assert goes_on(worker, len(BAD_ITEMS))


IMPOSSIBLE = (
    Header(count=HUGE),
    Header(count=HUGE, flags=EACH),
    Header(first=HUGE, count=HUGE, flags=EACH),
    Header(first=HUGE),
    Header(count=0),
    Header(flags=(1 << 32) - 1),
    Header(slot=(1 << 32) - 1),
    Header(elapsed=HUGE, flags=BACK),
    Header(elapsed=HUGE, flags=256),
    Header(pool=HUGE),
)


def impossible_tasks(fake, transport):
    for header in IMPOSSIBLE:
        worker = Worker(fake, transport)
        worker.give(header, number(4))
        worker.answers(1)
        assert goes_on(worker, 1)


def bad_callables(fake, transport):
    """They fail the tasks that need them."""
    for data in BAD_ITEMS.values():
        worker = Worker(fake, transport)
        header = Header(callable=7)
        worker.send(CALLABLE, header, data)
        worker.send(TASKS, header, number(4))
        assert worker.answers(1) == 1, worker.ended
        worker.send(INITIALIZE, Header(pool=5), data)
        worker.send(BIND, Header(8), data)
        assert goes_on(worker, 1)


def bad_letters(fake, transport):
    """The worker says what came and ends the job."""
    good = Header().packed()
    sent = [(TASKS, good), (CALLABLE, good), (BIND, good), (INITIALIZE, good)]
    sent += [(SHARE, good), (UNSHARE, good), (99, good), (ANSWER, good)]
    sent += [(TASKS, good[:-1]), (TASKS,), (TASKS, bytes(5000)), (SHARE, good, b"?")]
    for verb, *parts in sent:
        worker = Worker(fake, transport)
        worker.peers.send(0, verb, *parts)
        worker.thread.join(SECONDS)
        assert not worker.thread.is_alive(), (verb, parts)
        assert isinstance(worker.ended, (TransportError, EOFError)), worker.ended
        assert fake.over(worker.peers.handle), "the job was not ended"


def large_tasks(fake, transport):
    """For which there is no memory: they fail, and the worker goes on."""
    worker = Worker(fake, transport)
    header = Header(callable=1)
    worker.send(CALLABLE, header, item(double))
    worker.send(TASKS, header, 1 << 62)
    worker.send(TASKS, header, number(4), 1 << 40)
    assert worker.answers(2) == 2, worker.ended
    assert goes_on(worker, 2)


# ---- at random --------------------------------------------------------------


def mutated(chance, data):
    """A few bytes are others, or the end is missing."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data))
        data[place] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
    return bytes(data[: chance.choice((len(data), chance.randrange(len(data) + 1)))])


def samples():
    """Values as the codec writes them; a pickle's own bytes are Python's affair."""
    inner = counted(b"l", 2, counted(b"s", 3, b"abc") + b"T")
    yield counted(b"t", 3, number(1) + b"f" + bytes(8) + inner)
    yield counted(b"b", 5, b"12345")
    yield array(2, 2, 3) + bytes(48)
    yield array(1, 2, tag=b"R", inline=b"\1") + bytes(16)
    yield b"P" + struct.pack("=QQ", 4, 0) + b"\x80\x05N."


def random_results(fake, transport):
    chance = random.Random(7)
    master = Master(fake, transport)
    for _ in range(ROUNDS):
        for data in samples():
            master.answer(Header(master.job + 1), mutated(chance, data))
            try:
                master.map()
            except Exception as error:
                assert not isinstance(error, SystemError), error
    master.answer(Header(master.job + 1), number(8))
    assert master.map() == [8]
    master.end()


def random_tasks(fake, transport):
    chance = random.Random(8)
    worker = Worker(fake, transport)
    answers = 0
    for _ in range(ROUNDS):
        for data in samples():
            answers += 1
            flags = chance.choice((0, EACH, STAR, CALL))
            worker.give(Header(answers, flags=flags), mutated(chance, data))
        assert worker.answers(answers) == answers, worker.ended
    assert goes_on(worker, answers)


def random_headers(fake, transport):
    """To the master: each is refused, or is what was asked for."""
    chance = random.Random(9)
    for _ in range(ROUNDS):
        master = Master(fake, transport)
        header = Header()
        data = mutated(chance, header.packed())
        master.peers.send(1, ANSWER, data, number(8))
        try:
            got = master.map()
            assert got == [8], got
        except TransportError:
            pass
        master.end()


SCENARIOS = [
    bad_answers,
    bad_messages,
    bad_sizes,
    answers_without_results,
    bad_results,
    bad_hellos,
    hello_again,
    bad_tasks,
    impossible_tasks,
    bad_callables,
    bad_letters,
    large_tasks,
    random_results,
    random_tasks,
    random_headers,
]


def main(library, name):
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which needs it for itself
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    fake = Fake.behind_table(library)
    transport = _ezmpi.load_transport(library, None)
    _ezmpi.start_transport(transport)
    fake.plan(0, b"send", 0, 0)
    (scenario,) = [one for one in SCENARIOS if one.__name__ == name]
    scenario(fake, transport)
    assert fake.violations() == 0
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
