"""Reads a message that was filed into a Maildir a moment ago. Blocking, no Twisted."""

import os
import stat
from pathlib import Path

from mailserver.store.maildir_names import unique_of

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_filed(maildir: Path, unique: str, most_octets: int) -> bytes | None:
    """The file with this unique part, as it is stored; None when it is gone or larger. Raises `OSError`."""
    for place in ("new", "cur", "new"):  # it may be on its way from the one to the other
        name = _find(maildir / place, unique)
        if name is None:
            continue
        try:
            descriptor = os.open(maildir / place / name, _OPEN)
        except FileNotFoundError:
            continue
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > most_octets:
                return None
            return file.read(most_octets)
    return None


def _find(folder: Path, unique: str) -> str | None:
    try:
        with os.scandir(folder) as entries:
            return next((entry.name for entry in entries if unique_of(entry.name) == unique), None)
    except FileNotFoundError:
        return None
