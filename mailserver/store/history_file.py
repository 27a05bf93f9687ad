"""A file of history, opened to be read only: beside a running server, or without one. Blocking, no Twisted.

Nothing is written. A reader that may not write into the folder cannot take part in SQLite's WAL; it then reads a copy
of its own.
"""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote

from mailserver.store.journal_format import (
    APPLICATION_ID,
    STEPS,
    JournalDamaged,
    JournalUnavailable,
    check_version,
    named,
)

_BUSY_S = 5.0


class HistoryFile:
    """The file while it is read. Raises `FileNotFoundError` when there is none, `JournalUnavailable`,
    `JournalDamaged`."""

    application_id: ClassVar[int] = APPLICATION_ID
    known_version: ClassVar[int] = len(STEPS)

    def __init__(self, path: Path) -> None:
        self._copy: Path | None = None
        path.stat()
        try:
            self._connection = self._open(path)
        except sqlite3.Error as error:
            self._forget_copy()
            raise named(error) from error
        except (OSError, JournalUnavailable, JournalDamaged):
            self._forget_copy()
            raise

    def _open(self, path: Path) -> sqlite3.Connection:
        if not os.access(path, os.R_OK):
            raise JournalUnavailable(f"{path}: permission denied")
        if not os.access(path.parent, os.W_OK):
            path = self._copied(path)
        connection = sqlite3.connect(
            f"file:{quote(os.fspath(path))}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None
        )
        try:
            connection.text_factory = _text
            if check_version(connection, path, self.known_version, self.application_id) == 0:
                raise JournalDamaged("it is empty")
        except BaseException:
            connection.close()
            raise
        return connection

    def _copied(self, path: Path) -> Path:
        self._copy = Path(tempfile.mkdtemp(prefix="mailserver-why-"))
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", self._copy / f"journal{suffix}")
        return self._copy / "journal"

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()
        self._forget_copy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _forget_copy(self) -> None:
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")
