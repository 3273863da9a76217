"""The user's own messages on the same communicator, before, during and after a map."""

import time

from cases import case, check_works, square
from mpi4py import MPI

from ezmpi import MPIPool

TAGS = range(1, 12)  # the pool's verbs are tags, too

world = MPI.COMM_WORLD
rank, workers = world.Get_rank(), world.Get_size() - 1
status = MPI.Status()


def send_all(name, dest):
    return [world.isend((name, rank, tag), dest, tag) for tag in TAGS]


def receive_all(name, source):
    """Exactly what the rank sent under that name has come, and in order."""
    for tag in TAGS:
        assert world.recv(source=source, tag=tag) == (name, source, tag)


def nothing_there():
    return not world.Iprobe(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG)


def talk(number):
    """A task that writes to the master, and reads what the master wrote."""
    rank = world.Get_rank()
    world.send(("task", rank, number), dest=0, tag=25)
    return world.recv(source=0, tag=26) if number < 3 else None


pending = []


def send_large(size):
    """Leaves a message on its way that nobody receives before the map has ended."""
    pending.append(world.isend(bytes(size), dest=0, tag=29))
    return size


def probe(number):
    """A task that looks for anybody's messages must see none of the pool's."""
    time.sleep(0.002)
    return nothing_there()


if rank > 0:
    kept = send_all("before", 0)
else:
    kept = [r for worker in range(1, workers + 1) for r in send_all("early", worker)]

pool = MPIPool(test_mode=True)
if pool.is_master():
    case("messages sent before the map wait for the user")
    check_works(pool)
    for worker in pool.workers:
        receive_all("before", worker)
    assert nothing_there()

    case("probes of the user see none of the pool's messages")
    looks = []
    tasks = ((looks.append(nothing_there()), x)[1] for x in range(200))
    result = pool.map(square, tasks, lambda r: looks.append(nothing_there()))
    assert result == [x * x for x in range(200)]
    assert looks == [True] * 400

    case("messages to workers sent before their pool")
    seen = pool.map(probe, range(20))
    assert seen == [False] * 20  # what we sent early is there, and stays

    case("a conversation between tasks and master in the middle of a map")

    heard = []

    def listen(result):
        while world.Iprobe(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG, status=status):
            heard.append(world.recv(source=status.source, tag=status.tag))

    requests = []
    for worker in pool.workers:
        for _ in range(3):
            requests.append(world.isend("answer", worker, 26))
    result = pool.map(talk, range(40), listen)
    listen(None)
    assert result == ["answer"] * 3 + [None] * 37, result
    assert sorted(number for _, _, number in heard) == list(range(40)), heard
    assert all(name == "task" and source > 0 for name, source, _ in heard)

    case("a large message to the master, received after the map")
    assert pool.map(send_large, [300_000]) == [300_000]
    data = world.recv(source=MPI.ANY_SOURCE, tag=29)
    assert len(data) == 300_000

    case("errors of the user's own calls are as they were")
    try:
        world.send(1, dest=workers + 5)
    except MPI.Exception:
        pass
    else:
        raise AssertionError("no error")
    pool.close()
else:
    receive_all("early", 0)
    while world.Iprobe(source=0, tag=26):  # answers that no task came for
        world.recv(source=0, tag=26)
# Every rank goes on: collectives of the user's, and messages after the pool.
world.Barrier()
assert world.allreduce(1) == workers + 1
if rank > 0:
    world.send("after", dest=0, tag=23)
else:
    got = [world.recv(source=MPI.ANY_SOURCE, tag=23) for _ in range(workers)]
    assert got == ["after"] * workers
    MPI.Request.Waitall(requests)
    print("ok")
MPI.Request.Waitall(kept + pending)
world.Barrier()
