"""The journal as the server writes it: batches in, old rows out. Blocking, no Twisted, for one thread.

A batch is one JSON text that SQLite takes apart itself: one call for hundreds of rows, made without Python's lock, so
that the reactor does not wait for the history.
"""

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from mailserver.store.files import DISK, Files
from mailserver.store.journal_facts import Fact
from mailserver.store.journal_format import STEPS, JournalDamaged, JournalUnavailable, named, open_for_writing

# Old rows go in slices, so that a new batch never waits long.
SLICE = 1000
_SMALLEST_SLICE = 20
_VACUUM_PAGES = 1000

_INSERT_EVENTS = """
INSERT INTO event SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each(?)
"""
_INSERT_MENTIONS = """
INSERT OR IGNORE INTO mention SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
"""
_DELETE_MENTIONS = "DELETE FROM mention WHERE event IN (SELECT value FROM json_each(?))"
_DELETE_EVENTS = "DELETE FROM event WHERE number IN (SELECT value FROM json_each(?))"
_TOO_OLD = "SELECT number FROM event WHERE time < ? ORDER BY time LIMIT ?"
_OLDEST = "SELECT number FROM event ORDER BY number LIMIT ?"


class Journal:
    """An open journal. Raises as `open_for_writing` does; every other method `JournalUnavailable`, `JournalDamaged`."""

    def __init__(self, path: Path, files: Files = DISK) -> None:
        self._path = path
        self._connection = open_for_writing(path, STEPS, files)
        try:
            (last,) = self._connection.execute("SELECT max(number) FROM event").fetchone()
            self._identity = _identity(path)
        except (sqlite3.Error, OSError) as error:
            self._connection.close()
            raise named(error) if isinstance(error, sqlite3.Error) else JournalUnavailable(str(error)) from error
        self._next = (last or 0) + 1

    @property
    def is_in_place(self) -> bool:
        """Whether the file is still the one that was opened; somebody may have deleted or replaced it."""
        try:
            return _identity(self._path) == self._identity
        except OSError:
            return False

    def write(self, facts: Sequence[Fact]) -> None:
        """Add these, in order: all or none. A kill afterwards loses none of them, a power cut perhaps the last."""
        events, mentions = [], []
        for number, (row, texts) in enumerate(facts, self._next):
            events.append((number, *row))
            mentions += [(text, number) for text in texts]
        self._transact(((_INSERT_EVENTS, _encode(events)), (_INSERT_MENTIONS, _encode(mentions))))
        self._next += len(events)

    def prune(self, older_than: float, max_octets: int) -> bool:
        """Remove one slice of what is older than that time, or else too much; whether there may be more to remove."""
        try:
            numbers = self._numbers(_TOO_OLD, older_than, SLICE)
            if not numbers and self._used_octets() > max_octets:
                # A small journal must not be emptied by one slice.
                numbers = self._numbers(_OLDEST, max(_SMALLEST_SLICE, min(SLICE, self._count() // 20)))
            if not numbers:
                return self._shrink(max_octets)
        except sqlite3.Error as error:
            raise named(error) from error
        chosen = json.dumps(numbers)
        self._transact(((_DELETE_MENTIONS, chosen), (_DELETE_EVENTS, chosen)))
        return True

    def close(self) -> None:
        """Let go of it; what is in the `-wal` goes into the file if there is room."""
        try:
            self._connection.close()
        except sqlite3.Error:
            return  # it is in the -wal, and found there at the next opening

    def _numbers(self, query: str, *values: float) -> list[int]:
        return [number for (number,) in self._connection.execute(query, values)]

    def _count(self) -> int:
        """About how many rows there are."""
        (count,) = self._connection.execute("SELECT ifnull(max(number) - min(number), 0) FROM event").fetchone()
        return int(count)

    def _used_octets(self) -> int:
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def _shrink(self, max_octets: int) -> bool:
        """Give pages back when the file itself is too large, which only a lowered limit brings about."""
        if self._pragma("page_count") * self._pragma("page_size") <= max_octets or not self._pragma("freelist_count"):
            return False
        # A script, because `execute` takes one step, and each step frees one page.
        self._connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
        return True

    def _pragma(self, name: str) -> int:
        (value,) = self._connection.execute(f"PRAGMA {name}").fetchone()
        return int(value)

    def _transact(self, statements: Sequence[tuple[str, str]]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement, value in statements:
                connection.execute(statement, (value,))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error as second:
                raise named(second) from error
            raise named(error) from error


# Letters as they are, so that the file can be read with SQLite's own tools.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _identity(path: Path) -> tuple[tuple[int, int], ...]:
    """Device and inode of the file and of its `-wal`, which is useless without the other."""
    return tuple(
        (status.st_dev, status.st_ino)
        for status in (os.stat(path), os.stat(f"{path}-wal"))  # noqa: PTH116
    )


__all__ = ["SLICE", "Journal", "JournalDamaged", "JournalUnavailable"]
