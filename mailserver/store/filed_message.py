"""Reads a message that was filed into a Maildir a moment ago. Blocking, no Twisted."""

import os
from pathlib import Path

from mailserver.store.maildir_names import unique_of
from mailserver.store.spool_json import Damaged
from mailserver.store.spool_reading import open_regular, read_all


def read_filed(maildir: Path, unique: str, most_octets: int) -> bytes | None:
    """The file with this unique part, as it is stored; None when it is gone, larger or no file. Raises `OSError`."""
    for place in ("new", "cur", "new"):  # it may be on its way from the one to the other
        name = _find(maildir / place, unique)
        if name is None:
            continue
        try:
            descriptor = open_regular(f"{maildir}/{place}/{name}")
        except FileNotFoundError:
            continue
        except Damaged:
            return None
        try:
            return read_all(descriptor, most_octets) if os.fstat(descriptor).st_size <= most_octets else None
        finally:
            os.close(descriptor)
    return None


def _find(folder: Path, unique: str) -> str | None:
    try:
        with os.scandir(folder) as entries:
            return next((entry.name for entry in entries if unique_of(entry.name) == unique), None)
    except FileNotFoundError:
        return None
