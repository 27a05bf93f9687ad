"""What the last daily look found, on disk: `<state>/doctor.json`, one JSON object, a finding a line:

    {"version": 1, "looked_at": 1750000000.0,
    "findings": [
    {"name": "disk", "about": "storage.state", "verdict": "pass", "finding": "...", "remedy": "", "unknown": 0,
     "is_told": false}
    ]}

Losing it costs one mail that tells again what does not work. A newer version is `NewerFormat` and left alone. What a
crash can leave: `doctor.json.new`, which the next save removes first. Blocking.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mailserver.doctor.changes import Known
from mailserver.doctor.check import Check, Verdict
from mailserver.store.files import DISK, Files
from mailserver.store.spool_json import Damaged, NewerFormat, read_count, read_flag, read_object, read_text, read_time

RESULTS_VERSION = 1
_MAX_OCTETS = 4 * 1024 * 1024
_KEYS = frozenset(("version", "looked_at", "findings"))
_FINDING_KEYS = frozenset(("name", "about", "verdict", "finding", "remedy", "unknown", "is_told"))


@dataclass(frozen=True, slots=True)
class LastLook:
    """When it was, seconds since the epoch, and what is known since."""

    looked_at: float
    known: Mapping[str, Known]


class ResultsFile:
    """The file. The caller holds the state lock for `write`."""

    def __init__(self, state: Path, files: Files = DISK) -> None:
        self.path = state / "doctor.json"
        self._files = files

    def read(self) -> LastLook | None:
        """None when there is none. Raises `OSError`, `Damaged` or `NewerFormat`."""
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return decode(octets)

    def write(self, last: LastLook) -> None:
        """Durable when it returns. Raises `OSError`; then the old file is there, or the new one."""
        temporary = f"{self.path}.new"
        self._files.discard(temporary)
        self._files.replace(str(self.path), temporary, encode(last))


def encode(last: LastLook) -> bytes:
    """The whole file."""
    lines = ",\n".join(
        json.dumps(
            {
                "name": one.check.name,
                "about": one.check.about,
                "verdict": one.check.verdict.value,
                "finding": one.check.finding,
                "remedy": one.check.remedy,
                "unknown": one.unknown,
                "is_told": one.is_told,
            }
        )
        for one in last.known.values()
    )
    head = f'{{"version": {RESULTS_VERSION}, "looked_at": {last.looked_at:.3f},\n"findings": [\n'
    return f"{head}{lines}\n]}}\n".encode("ascii")


def decode(octets: bytes) -> LastLook:
    """What a file says. Raises `Damaged` or `NewerFormat`."""
    if len(octets) > _MAX_OCTETS:
        raise Damaged("the results are too long")
    about = read_object(octets, _KEYS, "results", are_others_allowed=True)
    version = read_count(about, "version")
    if version > RESULTS_VERSION:
        raise NewerFormat(version, RESULTS_VERSION)
    items = about.get("findings")
    if version < 1 or len(about) > 3 or not isinstance(items, list):
        raise Damaged("the results have unknown parts")
    known = [_known(item) for item in items]
    return LastLook(read_time(about, "looked_at"), {one.check.key: one for one in known})


def _known(item: object) -> Known:
    if not isinstance(item, dict) or not _FINDING_KEYS.issuperset(item):
        raise Damaged("a finding has unknown parts")
    try:
        verdict = Verdict(read_text(item, "verdict"))
    except ValueError:
        raise Damaged("a finding has an unknown verdict") from None
    check = Check(
        read_text(item, "name"),
        verdict,
        read_text(item, "finding", ""),
        read_text(item, "remedy", ""),
        read_text(item, "about", ""),
    )
    return Known(check, read_count(item, "unknown", 0), read_flag(item, "is_told"))
