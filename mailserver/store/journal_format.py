"""The journal's file: how it is found, opened, made and brought up to date. Blocking, no Twisted.

`<state>/journal.sqlite3` is SQLite in WAL mode, with `journal.sqlite3-wal` and `-shm` beside it while it is open.
`PRAGMA user_version` is the format's version:

| version | tables |
|---|---|
| 1 | `event(number, time, queue_id, word, fields)`: one row for each event; `fields` is a JSON object |
|   | `mention(text, event)`: under what an event is found (see `journal_facts`) |

A lower version is brought up to date by `STEPS`, a higher one refused. The file may be deleted at any time, and may be
damaged: it is history, and never the truth about any mail.

What a crash can leave, and who cleans it up:

| state | cleaned up by |
|---|---|
| a `-wal` with committed batches | SQLite, at the next opening; nothing is lost |
| a batch half in the `-wal` | the same; the batch is not there |
| a file without tables | the next opening makes them |
"""

import contextlib
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path

from mailserver.store.files import DISK, Files

FILE_NAME = "journal.sqlite3"
DAMAGED_SUFFIX = ".damaged"
# "MSJ1", so that nobody else's database is taken for ours.
APPLICATION_ID = 0x4D534A31
_BUSY_S = 5.0

_CREATE = """
CREATE TABLE event (
    number INTEGER PRIMARY KEY, time REAL NOT NULL, queue_id TEXT NOT NULL, word TEXT NOT NULL, fields TEXT NOT NULL
);
CREATE INDEX event_of_message ON event (queue_id) WHERE queue_id <> '';
CREATE INDEX event_by_time ON event (time);
CREATE TABLE mention (text TEXT NOT NULL, event INTEGER NOT NULL, PRIMARY KEY (text, event)) WITHOUT ROWID;
CREATE INDEX mention_of_event ON mention (event);
"""
# STEPS[n] brings version n to version n + 1.
STEPS: tuple[str, ...] = (_CREATE,)


class JournalUnavailable(Exception):
    """It cannot be used now: no space, no permission, an error of the disk. The text is for the operator."""


class JournalNewer(JournalUnavailable):
    """A later release wrote it. It stays as it is."""


class JournalDamaged(Exception):
    """It is no journal, or one that cannot be read any more."""


def journal_path(state: Path) -> Path:
    """Where the journal of a state folder is."""
    return state / FILE_NAME


def named(error: sqlite3.Error) -> JournalUnavailable | JournalDamaged:
    """What an error of SQLite's means for us."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT):
        return JournalDamaged(str(error))
    return JournalUnavailable(str(error))


def open_for_writing(
    path: Path, steps: Sequence[str] = STEPS, files: Files = DISK, application_id: int = APPLICATION_ID
) -> sqlite3.Connection:
    """The journal, made (0600) or brought up to date if need be. For the one process that holds the state lock.

    Other history (`store.reports`) is kept in the same way, under an `application_id` of its own.

    Raises `JournalUnavailable`, `JournalNewer` or `JournalDamaged`.
    """
    try:
        _make_file(path, files)
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise named(error) from error
    except OSError as error:
        raise JournalUnavailable(f"{path}: {error.strerror}") from error
    try:
        _bring_up_to_date(connection, path, steps, application_id)
    except sqlite3.Error as error:
        connection.close()
        raise named(error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _make_file(path: Path, files: Files) -> None:
    """SQLite gives `-wal` and `-shm` the mode of the file itself."""
    try:
        files.close(files.create(str(path)))
    except FileExistsError:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise JournalDamaged("it is not a regular file") from None


def _bring_up_to_date(connection: sqlite3.Connection, path: Path, steps: Sequence[str], application_id: int) -> None:
    version = check_version(connection, path, len(steps), application_id)
    if version == 0:
        # Both only work before there is anything in the file.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {application_id}")
    connection.execute("PRAGMA journal_mode = WAL")
    # A power cut may take the last batches and never the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    # Each checkpoint syncs, on the disk that mail waits for; 16 MB apart they are rare.
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA journal_size_limit = 4000000")
    for number, step in enumerate(steps[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")


def check_version(
    connection: sqlite3.Connection, path: Path, known: int = len(STEPS), application_id: int = APPLICATION_ID
) -> int:
    """The version of an open file, 0 for an empty one. Raises `JournalNewer`, `JournalDamaged`, `sqlite3.Error`."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version > known:
        raise JournalNewer(
            f"{path} is written in format {version}, and this release reads up to format {known}: "
            "start the release that wrote it, or a later one, or delete the file (it holds history, no mail)"
        )
    if tables and (application != application_id or version < 1):
        raise JournalDamaged("it is another program's database")
    return int(version)


def set_aside(path: Path, files: Files = DISK) -> Path:
    """Move a damaged file out of the way, over the one that was moved before; where it is now. Raises `OSError`."""
    target = path.with_name(path.name + DAMAGED_SUFFIX)
    files.rename(str(path), str(target))
    remove_remains(path, files)
    return target


def remove_remains(path: Path, files: Files = DISK) -> None:
    """Remove the `-wal` of a file that is gone or was replaced: beside another it does damage. Raises `OSError`."""
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            files.unlink(f"{path}{suffix}")
