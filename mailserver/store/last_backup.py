"""When the last backup was made: `<state>/last-backup.json`, written by `mailserver backup`, read by the doctor.

    {"version": 1, "made_at": 1750000000.0, "folder": "/srv/backup/20250615T150640Z"}

Only `mailserver backup` writes it, whether the server runs or not; the server never does. Losing it loses a reminder.
What a crash can leave: `last-backup.json.new`, which the next backup removes first. Blocking.
"""

import json
from pathlib import Path

from mailserver.store.files import DISK, Files
from mailserver.store.spool_json import Damaged, read_object, read_time

_VERSION = 1
_MAX_OCTETS = 64 * 1024
_KEYS = frozenset(("version", "made_at", "folder"))


def note_backup(state: Path, folder: Path, made_at: float, files: Files = DISK) -> None:
    """Remember a backup that is whole. `made_at` in seconds since the epoch. Durable; raises `OSError`."""
    path = state / "last-backup.json"
    temporary = f"{path}.new"
    files.discard(temporary)
    about = {"version": _VERSION, "made_at": round(made_at, 3), "folder": str(folder)}
    files.replace(str(path), temporary, json.dumps(about).encode("ascii") + b"\n")


def last_backup(state: Path) -> float | None:
    """When it was; None when none was made, or its note is damaged. Raises `OSError` when the disk does not answer.

    A newer version is read as far as it is known: nothing depends on it but a line of the doctor's.
    """
    try:
        with (state / "last-backup.json").open("rb") as file:
            octets = file.read(_MAX_OCTETS)
    except FileNotFoundError:
        return None
    try:
        return read_time(read_object(octets, _KEYS, "note", are_others_allowed=True), "made_at")
    except Damaged:
        return None
