"""What the server's log and journal may never show."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from tests.soak.book import Tail

# Python's own words for trouble that nobody expected; files that could not be read; trouble with the disk.
_NEVER = (b"Traceback", b"Unhandled", b"damaged", b"set-aside", b"#critical", b" trouble ")


class LogWatch:
    """Over all starts of one server."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)

    def problems(self) -> list[str]:
        """New lines that tell of something wrong."""
        lines = self._tail.lines()
        return [
            "log: " + b" | ".join(lines[at : at + 12]).decode("utf-8", "replace")
            for at, line in enumerate(lines)
            if any(word in line for word in _NEVER)
        ]


def journal_problems(path: Path) -> list[str]:
    """Whether the journal opens and is sound, looked at in a copy: opening it would mend it before the server does."""
    with tempfile.TemporaryDirectory() as folder:
        for one in path.parent.glob(path.name + "*"):
            shutil.copy(one, folder)
        try:
            with closing(sqlite3.connect(Path(folder, path.name))) as journal:
                (verdict,) = journal.execute("PRAGMA quick_check").fetchone()
        except sqlite3.Error as error:
            verdict = str(error)
    return [] if verdict == "ok" else [f"the journal: {verdict}"]
