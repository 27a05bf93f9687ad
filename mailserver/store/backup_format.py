"""What a backup is: its folder, its manifest, its names. Pure but for the few lines that look into a folder.

    DIR/20261125T130512Z/            one backup; its name is the time at which it began (UTC)
      manifest.json                  version, times, and each file with size, time and SHA-256; written last
      maildirs/<domain>/<local>/     each Maildir with its folders, as it is served: new, cur, and what else lies there
      queue/messages/<id>            what waits, and what has happened to each recipient
      queue/states/<id>
      state/                         keys, certificates, lists and memories of the state folder
      accounts/accounts.toml
      configuration/                 the configuration, and files that it names

Nothing in it is packed: every file can be looked at, and copied back, with ordinary tools. A backup under its final
name is whole. Under `<time>.partial` it is not, and the next run removes it; so it does with `<time>.removing`.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

VERSION = 1
MANIFEST = "manifest.json"
PARTIAL, REMOVING = ".partial", ".removing"
MAILDIRS, QUEUE, STATE, ACCOUNTS, CONFIGURATION = "maildirs", "queue", "state", "accounts", "configuration"
# What of the state folder is never in the part `state`: the queue is a part of its own, the others belong to a process.
NOT_KEPT = frozenset(("lock", "control.sock", "queue"))
# A million files; more is no manifest of ours.
_MAX_MANIFEST_OCTETS = 1 << 30
# Sizes in octets and times in nanoseconds (some 140 years each way) that a file system takes; and seconds.
_MAX_COUNT = 1 << 62
_MAX_MOMENT = 1e11
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]{1,3})?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BackupTrouble(Exception):
    """A backup cannot be made, read or restored. The text is for the operator: what is wrong and what helps."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. `path` is relative to the backup, with `/`; `modified_ns` nanoseconds since the epoch."""

    path: str
    size: int
    modified_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`began` and `ended` in seconds since the epoch; `places`: where each part was, for people."""

    began: float
    ended: float
    hostname: str
    release: str
    places: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()

    def below(self, part: str) -> Iterator[Entry]:
        """The files of one part, such as `queue` or `maildirs/example.org/alice`."""
        return (entry for entry in self.entries if entry.path.startswith(part + "/"))


def backup_name(now: float) -> str:
    """The name of a backup that begins at `now`."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def is_backup_name(name: str) -> bool:
    """Whether a folder of this name is a whole backup."""
    return _NAME.fullmatch(name) is not None


def is_unfinished(name: str) -> bool:
    """Whether a folder of this name was left by a run that was interrupted."""
    return any(name.endswith(end) and is_backup_name(name.removesuffix(end)) for end in (PARTIAL, REMOVING))


def encode(manifest: Manifest) -> bytes:
    """JSON in ASCII, a file a line; names that are not UTF-8 keep their octets as lone surrogates."""
    about = {
        "version": VERSION,
        "began": manifest.began,
        "ended": manifest.ended,
        "hostname": manifest.hostname,
        "release": manifest.release,
        "places": dict(manifest.places),
        "remarks": list(manifest.remarks),
    }
    head = json.dumps(about)[:-1]
    files = ",\n".join(
        json.dumps({"path": one.path, "size": one.size, "modified_ns": one.modified_ns, "sha256": one.sha256})
        for one in manifest.entries
    )
    return f'{head}, "files": [\n{files}\n]}}\n'.encode("ascii")


def decode(octets: bytes) -> Manifest:
    """Raises `BackupTrouble` for a newer version, and for what is no manifest: no path may lead out of the backup."""
    try:
        about = json.loads(octets)
        version = about["version"]
        if not isinstance(version, int) or version < 1:
            raise ValueError("version")
        if version > VERSION:
            raise BackupTrouble(
                f"the backup is of format {version}, and this release reads up to {VERSION}: use the one that made it"
            )
        entries = tuple(_entry(one) for one in about["files"])
        if len({entry.path for entry in entries}) != len(entries):
            raise ValueError("a path that is there twice")
        return Manifest(
            began=_moment(about["began"]),
            ended=_moment(about["ended"]),
            hostname=str(about["hostname"]),
            release=str(about["release"]),
            places={str(part): str(place) for part, place in dict(about["places"]).items()},
            remarks=tuple(str(one) for one in about["remarks"]),
            entries=entries,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise BackupTrouble(f"{MANIFEST} is damaged ({fault})") from None


def _moment(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_MOMENT:
        raise ValueError("a time")
    return float(value)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and -_MAX_COUNT < value < _MAX_COUNT


def _entry(about: dict[str, object]) -> Entry:
    path, size, modified, digest = about["path"], about["size"], about["modified_ns"], about["sha256"]
    if not isinstance(path, str) or not _stays_inside(path):
        raise ValueError("a path")
    if not _is_count(size) or size < 0 or not _is_count(modified):
        raise ValueError("a size or time")
    if not isinstance(digest, str) or _SHA256.fullmatch(digest) is None:
        raise ValueError("a checksum")
    return Entry(path, size, modified, digest)


def _stays_inside(path: str) -> bool:
    parts = path.split("/")
    if len(parts) < 2 or "\0" in path or any(part in ("", ".", "..") for part in parts):
        return False
    # A lock that is put in place of the one that is held holds nobody off; and the queue has a way of its own.
    return parts[0] != STATE or parts[1] not in NOT_KEPT


def is_letter(path: str) -> bool:
    """Whether this is the path of a letter: `maildirs/<domain>/<local-part>/[.Folder/](new|cur)/<name>`."""
    parts = path.split("/")
    if parts[0] != MAILDIRS or len(parts) not in (5, 6) or parts[-2] not in ("new", "cur"):
        return False
    return len(parts) == 5 or parts[3].startswith(".")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of one backup. Raises `BackupTrouble`."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_MANIFEST_OCTETS + 1)
    except OSError as error:
        raise BackupTrouble(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(octets) > _MAX_MANIFEST_OCTETS:
        raise BackupTrouble(f"{path} is too large to be a manifest")
    try:
        return decode(octets)
    except BackupTrouble as trouble:
        raise BackupTrouble(f"{folder}: {trouble}") from None


def backups_in(folder: Path) -> list[Path]:
    """The whole backups in a folder of backups, oldest first; the folder itself when it is one.

    Raises `BackupTrouble`.
    """
    if is_backup_name(folder.name) and (folder / MANIFEST).exists():
        return [folder]
    try:
        return sorted((one for one in folder.iterdir() if is_backup_name(one.name)), key=lambda one: _order(one.name))
    except OSError as error:
        raise BackupTrouble(f"{folder}: {(error.strerror or str(error)).lower()}") from None


def _order(name: str) -> tuple[str, int]:
    moment, _, number = name.partition("-")
    return moment, int(number or 0)
