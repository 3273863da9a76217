"""A checkpoint's file: an SQLite database, which only the master's process opens.

It holds maps, by their place in the order in which the script began them, and of each
the results that have come, many in a row: those of tasks with consecutive numbers that
came at about the same time.  They are written in transactions, by a thread: half a second
after the first that waits.  The journal is truncated, and not a write-ahead log, which
needs memory that processes share: network file systems have none.  Whenever the process
is killed, SQLite takes back what was half written when the file is opened next.

Must not know what a task or a callable is.
"""

from __future__ import annotations

import itertools
import json
import operator
import os
import sqlite3
import struct
import threading

from .errors import CheckpointError

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

    # Of a map's place, a task's number and its key: the pickled result.
    _Result = Tuple[int, int, bytes, bytes]
    _Row = Tuple[int, int, int, int, bytes, bytes, bytes, Any]

_LOCK_SECONDS = 1  # a job that was killed may take as long to end
_SECONDS = 0.5  # from the first result that waits to its transaction
_BYTES_AT_ONCE = 1 << 24  # of results: they wait no longer
_BYTES_AT_MOST = 1 << 28  # of results: who brings more has to wait
_PIECE = 1 << 29  # bytes; SQLite takes no more than 10**9 in one place
_ROW_BYTES = 1 << 20  # of results: a row that has as many gets no more; it is read whole
_BLOCK = 100  # rows whose keys are read at once

_place_of, _number_of, _key_of, _data_of = map(operator.itemgetter, range(4))

_APPLICATION = 0x657A6D70  # "ezmp"
_VERSION = 2

_TABLES = """
CREATE TABLE maps (
    place INTEGER PRIMARY KEY,    -- 0: the first map of the script with this file
    callable TEXT NOT NULL        -- JSON: the parts of the callable, and their digests
);
CREATE TABLE results (
    place INTEGER NOT NULL,       -- of the map
    first INTEGER NOT NULL,       -- number of the first of some consecutive tasks, from 0
    piece INTEGER NOT NULL,       -- 0, but a large result, which is alone, has several
    count INTEGER NOT NULL,       -- of these tasks
    keys BLOB NOT NULL,           -- theirs, joined ...
    key_sizes BLOB NOT NULL,      -- ... and the size of each, a byte
    result_sizes BLOB NOT NULL,   -- of each result, 8 bytes, little-endian ...
    results BLOB NOT NULL,        -- ... pickled, and joined
    PRIMARY KEY (place, first, piece)
);
"""
_PUT_MAP = "INSERT OR REPLACE INTO maps VALUES (?, ?)"
_PUT_ROW = "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_GET_MAP = "SELECT callable FROM maps WHERE place = ?"
_GET_KEYS = """
SELECT first, keys, key_sizes FROM results
WHERE place = ? AND first > ? AND piece = 0 ORDER BY first LIMIT ?
"""
_GET_ROW = """
SELECT first, result_sizes FROM results
WHERE place = ? AND first <= ? AND first + count > ? AND piece = 0
ORDER BY first DESC LIMIT 1
"""
_GET_RESULTS = "SELECT results FROM results WHERE place = ? AND first = ? ORDER BY piece"


def _what_to_do(error: sqlite3.Error) -> str:
    """What ends the message, where the file's content is in the way."""
    text = str(error)
    if not any(sign in text for sign in ("malformed", "not decode", "no such table")):
        return ""
    return ": it is damaged; put a copy in its place, or delete it to begin anew"


class File:
    """An open checkpoint, and locked: no other process can open it.

    Parameters
    ----------
    path : str
        It is made if it is not there.

    Attributes
    ----------
    path : str
        The same.
    maps : int
        How many it held when it was opened.

    Raises
    ------
    CheckpointError
        If another process has it open, or it cannot be opened or made, or is no
        checkpoint, or one of a later version of ezmpi.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._database_lock = threading.Lock()
        # It guards all below. Taken last: behind the other one, and any of who calls.
        self._lock = threading.RLock()  # what the garbage collector runs may call, too
        self._changed = threading.Condition(self._lock)
        self._maps: List[Tuple[int, str]] = []  # to be written
        self._results: List[_Result] = []
        self._bytes = 0  # of these
        self._failure: Optional[BaseException] = None  # of the last transaction
        self._is_closed = False
        self._thread: Optional[threading.Thread] = None
        self._connection = self._open()
        try:
            self._identity = self._look()
            ((self.maps,),) = self._select("SELECT count(*) FROM maps")
        except BaseException:  # which holds what it comes through, and so the lock
            self._connection.close()
            raise

    # --- opening ---

    def _open(self) -> sqlite3.Connection:
        connection = None
        try:
            connection = sqlite3.connect(
                self.path,
                timeout=_LOCK_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = TRUNCATE").fetchall()
            connection.execute("BEGIN EXCLUSIVE")  # kept locked from here on
            self._check_format(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise CheckpointError(self._why_not_open(error)) from error
            raise
        return connection

    def _check_format(self, connection: sqlite3.Connection) -> None:
        ((application,),) = connection.execute("PRAGMA application_id")
        ((version,),) = connection.execute("PRAGMA user_version")
        ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
        if application == 0 and version == 0 and tables == 0:  # it is new
            for statement in _TABLES.split(";")[:-1]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        elif application != _APPLICATION:
            raise CheckpointError(
                f"{self.path} is a database, but not a checkpoint of ezmpi: "
                "give another file"
            )
        elif version != _VERSION:
            raise CheckpointError(
                f"{self.path} was written by another version of ezmpi (its format is "
                f"{version}, this one's {_VERSION}): use that one, or give another file"
            )
        # Always: what cannot be written to is to be known before tasks run.
        connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _why_not_open(self, error: sqlite3.Error) -> str:
        text = str(error)
        if "locked" in text:
            return (
                f"{self.path} is in use by another process: a checkpoint is for one "
                "job at a time. If there is none, its file system may have no locks: "
                "give a file on another one"
            )
        if "not a database" in text:
            return f"{self.path} is not a checkpoint of ezmpi: give another file"
        if os.path.isdir(self.path):
            return f"the checkpoint {self.path} is a directory: give a file in it"
        directory = os.path.dirname(os.path.abspath(self.path))
        if not os.path.isdir(directory):
            return f"the checkpoint's directory is not there: make {directory} first"
        places = [self.path, directory, self.path + "-journal"]
        if not all(os.access(p, os.W_OK) for p in places if os.path.exists(p)):
            return (
                f"the checkpoint {self.path} cannot be written to: change what may be "
                "done with it and its directory, or give a copy in another one"
            )
        return f"the checkpoint {self.path} cannot be opened: {text}{_what_to_do(error)}"

    def _look(self) -> Tuple[int, int]:
        """Which file the path leads to.  Nobody opens it: that would end the lock."""
        status = os.stat(self.path)
        return status.st_dev, status.st_ino

    def is_there(self) -> bool:
        """Whether the path still leads to it: it may have been deleted."""
        try:
            return self._look() == self._identity
        except OSError:
            return False

    # --- reading ---

    def _select(self, *statement: Any) -> List[Any]:
        with self._database_lock:
            try:
                return self._connection.execute(*statement).fetchall()
            except sqlite3.Error as error:
                raise CheckpointError(
                    f"cannot read {self.path}: {error}{_what_to_do(error)}"
                ) from error

    def callable_of(self, place: int) -> Dict[str, str]:
        """The parts of the callable of a map that it held when it was opened."""
        ((text,),) = self._select(_GET_MAP, (place,))
        parts: Dict[str, str] = json.loads(text)
        return parts

    def keys(self, place: int) -> Iterator[Tuple[int, bytes]]:
        """The numbers and keys of a map's tasks whose results are in the file, in order.

        They are read on the way. Meanwhile results may be put: whether those are among
        them is left open.
        """
        last = -1
        while True:
            rows = self._select(_GET_KEYS, (place, last, _BLOCK))
            for first, keys, sizes in rows:
                yield from enumerate(_cut(keys, sizes), first)
            if len(rows) < _BLOCK:
                return
            last = rows[-1][0]

    def row_with(self, place: int, task: int) -> Row:
        """The results of some tasks, with that one, which is in the file."""
        ((first, sizes),) = self._select(_GET_ROW, (place, task, task))
        pieces = self._select(_GET_RESULTS, (place, first))
        data = pieces[0][0] if len(pieces) == 1 else b"".join(row[0] for row in pieces)
        return Row(first, _cut(memoryview(data), _unpacked(sizes)))

    # --- writing ---

    def put_map(self, place: int, parts: Dict[str, str]) -> None:
        """A map begins, which was not in the file."""
        with self._changed:
            self._maps.append((place, json.dumps(parts)))

    def put(self, place: int, task: int, key: bytes, result: bytes) -> None:
        """A result has come: it is written within a second.

        Raises
        ------
        CheckpointError
            If what came before could not be written.
        """
        with self._lock:
            if self._bytes > _BYTES_AT_MOST:
                self._changed.wait_for(lambda: self._failure or not self._results)
            if self._failure is not None:
                raise self._cannot_write(self._failure)
            self._results.append((place, task, key, result))
            self._bytes += len(result)
            if len(self._results) == 1 or self._bytes > _BYTES_AT_ONCE:
                self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._thread is None:
            thread = threading.Thread(target=self._write_on, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no room for one: the next result tries again
                return
            self._thread = thread

    def _cannot_write(self, failure: BaseException) -> CheckpointError:
        error = CheckpointError(
            f"cannot write to {self.path}: {failure}. What it held stays: when that is "
            "mended, run the script again"
        )
        error.__cause__ = failure
        return error

    def _write_on(self) -> None:
        with self._changed:
            while not self._is_closed:
                self._changed.wait_for(self._has_work)
                self._changed.wait_for(self._is_urgent, _SECONDS)
                self._changed.release()
                try:
                    self._write()
                except BaseException as error:  # who puts, or closes, raises it
                    self._failure = error
                finally:
                    self._changed.acquire()
                    self._changed.notify_all()

    def _has_work(self) -> bool:
        return self._is_closed or (bool(self._results) and self._failure is None)

    def _is_urgent(self) -> bool:
        return self._is_closed or self._bytes > _BYTES_AT_ONCE

    def _write(self) -> None:
        """Write what waits.  What cannot be written waits on."""
        with self._database_lock:
            with self._changed:
                maps, results = self._maps[:], self._results[:]
            if not maps and not results:
                return
            failure = self._write_all(maps, results)
            with self._changed:
                self._failure = failure
                if failure is None:
                    del self._maps[: len(maps)]
                    del self._results[: len(results)]
                    self._bytes -= _size_of(results)
                self._changed.notify_all()
        if failure is not None and not isinstance(failure, Exception):
            raise failure

    def _write_all(
        self, maps: List[Tuple[int, str]], results: List[_Result]
    ) -> Optional[BaseException]:
        execute: Callable[..., object] = self._connection.execute
        try:
            execute("BEGIN")
            self._connection.executemany(_PUT_MAP, maps)
            self._connection.executemany(_PUT_ROW, _rows(results))
            execute("COMMIT")
        except BaseException as error:  # no room, no memory, Ctrl-C ...
            try:
                if self._connection.in_transaction:
                    execute("ROLLBACK")
            except sqlite3.Error:
                pass  # it is as lost as before
            return error
        return None

    def recover(self) -> None:
        """Try again what could not be written.

        Raises
        ------
        CheckpointError
            If it still cannot be.
        """
        with self._changed:
            has_failed = self._failure is not None
        if has_failed:
            self.flush()

    def flush(self) -> None:
        """Write all that has come.

        Raises
        ------
        CheckpointError
            If it cannot be written.
        """
        self._write()
        with self._changed:
            if self._failure is not None:
                raise self._cannot_write(self._failure)

    def close(self) -> None:
        """Write all that has come, and let others open the file.

        Raises
        ------
        CheckpointError
            If it cannot be written.
        """
        try:
            with self._changed:
                self._is_closed = True
                self._changed.notify_all()
            if self._thread is not None:
                self._thread.join()
            self.flush()
        finally:
            # After Ctrl-C the thread may write yet: then it goes with the file.
            if self._thread is None or not self._thread.is_alive():
                with self._database_lock:
                    self._connection.close()


# ---- rows ------------------------------------------------------------------------


class Row:
    """Results of tasks with consecutive numbers.

    Parameters
    ----------
    first : int
        The number of the first.
    results : iterable
        Theirs, pickled.
    """

    def __init__(self, first: int, results: Iterator[Any]) -> None:
        self._first = first
        self._results = list(results)

    def get(self, task: int) -> Any:
        """The result of a task; None: it is not among these."""
        place = task - self._first
        return self._results[place] if 0 <= place < len(self._results) else None


def _cut(data: Any, sizes: Sequence[int]) -> Iterator[Any]:
    """What was joined."""
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size


def _packed(sizes: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(sizes)}Q", *sizes)


def _unpacked(sizes: bytes) -> Sequence[int]:
    return struct.unpack(f"<{len(sizes) // 8}Q", sizes)


def _size_of(results: List[_Result]) -> int:
    """Bytes of theirs, without their keys."""
    return sum(map(len, map(_data_of, results)))


def _rows(results: List[_Result]) -> Iterator[_Row]:
    """What is to be written of results, whose order is free."""
    in_order = sorted(results, key=_number_of)
    places = set(map(_place_of, results))
    for place in places:
        of_place = in_order
        if len(places) > 1:
            of_place = [each for each in in_order if each[0] == place]
        # Numbers that follow each other differ alike from their indices.
        differences = map(operator.sub, map(_number_of, of_place), itertools.count())
        begin = 0
        for _, run in itertools.groupby(differences):
            end = begin + len(list(run))
            yield from _in_rows(of_place[begin:end])
            begin = end


def _in_rows(results: List[_Result]) -> Iterator[_Row]:
    """Those of consecutive tasks, in rows that are not too large."""
    if len(results) > 1 and _size_of(results) > _ROW_BYTES:
        middle = len(results) // 2
        yield from _in_rows(results[:middle])
        yield from _in_rows(results[middle:])
    else:
        yield from _row(results)


def _row(results: List[_Result]) -> Iterator[_Row]:
    """One, or those of the pieces of one result."""
    (place, first, key, result), count = results[0], len(results)
    if count > 1 or len(result) <= _PIECE:
        keys, data = list(map(_key_of, results)), list(map(_data_of, results))
        key_sizes, sizes = bytes(map(len, keys)), _packed(list(map(len, data)))
        joined = b"".join(data) if count > 1 else result
        yield place, first, 0, count, b"".join(keys), key_sizes, sizes, joined
        return
    sizes = _packed((len(result),))
    for piece, start in enumerate(range(0, len(result), _PIECE)):
        part = memoryview(result)[start : start + _PIECE]
        yield place, first, piece, 1, key, bytes((len(key),)), sizes, part
