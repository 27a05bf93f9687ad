"""Makes one backup (`backup_format` tells its form, `backup_walk` in which order and why). Blocking.

What a crash, a full disk or an unreadable file can leave:

| state | cleaned up by |
|---|---|
| `DIR/<time>.partial`, of any completeness | removed at once when the run can, else by the next run |
| `DIR/<time>.removing`, an old backup on its way out | the next run |
| `DIR/<time>` | it is whole: files and folders were synced before it got this name |
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mailserver.store.backup_copy import Copier
from mailserver.store.backup_format import (
    ACCOUNTS,
    CONFIGURATION,
    MAILDIRS,
    MANIFEST,
    PARTIAL,
    QUEUE,
    REMOVING,
    STATE,
    BackupTrouble,
    Entry,
    Manifest,
    backup_name,
    backups_in,
    encode,
    is_backup_name,
    is_unfinished,
    read_manifest,
)
from mailserver.store.backup_walk import copy_maildirs, copy_queue, copy_state
from mailserver.store.files import DISK, Files

_JOURNAL = "journal.sqlite3"
_BUSY_S = 10.0
# A configuration, a password, a key: no more than these few octets each.
_MAX_NAMED_OCTETS = 10 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be backed up, from the configuration. `configuration` is its file and text as it was read.

    `named` are files that it names (`tls.certificate` and the file); `leaves_out` folders that may lie in the state
    folder and are no part of it.
    """

    hostname: str
    release: str
    maildirs: Path
    state: Path
    accounts: Path
    configuration: tuple[Path, bytes]
    named: Sequence[tuple[str, Path]] = ()
    leaves_out: Sequence[Path] = ()
    with_journal: bool = True
    links_live: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """What was made. `linked` files were there already; `removed` are the names of old backups."""

    folder: Path
    letters: int
    queued: int
    copied: int
    linked: int
    octets: int
    remarks: tuple[str, ...]
    removed: tuple[str, ...]


def make_backup(wanted: Wanted, folder: Path, now: float, *, keep: int = 0, files: Files = DISK) -> Made:
    """Make a backup in `folder`, durable when it returns; with `keep`, only so many stay. Raises `BackupTrouble`.

    `now` is in seconds since the epoch. The server may run; nobody else makes a backup there at the same time.
    """
    _check_place(wanted, folder)
    try:
        files.make_folders(str(folder))
        lock = files.open_lock(str(folder / "lock"))
    except PermissionError:
        raise BackupTrouble(
            f"{folder} cannot be written by user {os.geteuid()}, as whom this runs: make it and give it to that user "
            f"(install -d -m 700 -o {os.geteuid()} {folder})"
        ) from None
    except OSError as error:
        raise BackupTrouble(f"{folder} cannot be written: {(error.strerror or str(error)).lower()}") from None
    try:
        _take(lock, folder)
        try:
            for name in sorted(one.name for one in folder.iterdir() if is_unfinished(one.name)):
                remove_tree(files, folder / name)
            final = _free_name(folder, now)
            made = _make(wanted, folder, final, now, files)
            return _with_removed(made, _remove_old(files, folder, keep))
        except OSError as error:
            where = error.filename or folder
            raise BackupTrouble(f"{where}: {(error.strerror or str(error)).lower()}") from None
    finally:
        os.close(lock)


def _check_place(wanted: Wanted, folder: Path) -> None:
    if is_backup_name(folder.name):
        raise BackupTrouble(f"{folder} is itself a backup: name the folder that holds it")
    place = folder.resolve()
    for part, key in ((wanted.maildirs.resolve(), "storage.maildirs"), (wanted.state.resolve() / QUEUE, "the queue")):
        if place == part or part in place.parents:
            raise BackupTrouble(f"{folder} lies within {part} ({key}): name a folder elsewhere, best on another disk")


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise BackupTrouble(f"{folder} is in use: another backup is being made there") from None


def _free_name(folder: Path, now: float) -> Path:
    name = backup_name(now)
    for number in range(1000):
        path = folder / (f"{name}-{number}" if number else name)
        if not os.path.lexists(path):
            return path
    raise BackupTrouble(f"{folder} has too many backups of the same second")


def _make(wanted: Wanted, folder: Path, final: Path, now: float, files: Files) -> Made:
    partial = final.with_name(final.name + PARTIAL)
    files.make_new_folder(str(partial))
    copier = Copier(files, partial, _previous(folder), links_live=wanted.links_live)
    try:
        _copy_files(wanted, copier, now)
        leaves_out = (wanted.maildirs, wanted.accounts, folder, *wanted.leaves_out)
        databases = copy_state(copier, wanted.state, leaves_out)
        queued = copy_queue(copier, wanted.state)
        letters = copy_maildirs(copier, wanted.maildirs, now, _known(copier))
        # Behind the letters: an account without a letter is no harm, letters without their account are out of reach.
        # They are the owner's, and may lie behind a link, as the configuration may.
        if not copier.copy(os.path.realpath(wanted.accounts), f"{ACCOUNTS}/{wanted.accounts.name}"):
            copier.leave_out(str(wanted.accounts), "is not there")
        for path in databases:
            if wanted.with_journal or path.name != _JOURNAL:
                _copy_database(copier, files, path, f"{STATE}/{path.relative_to(wanted.state)}")
        entries = tuple(sorted(copier.entries.values(), key=lambda one: one.path))
        manifest = Manifest(
            began=now,
            ended=max(now, time.time()),
            hostname=wanted.hostname,
            release=wanted.release,
            places={
                MAILDIRS: str(wanted.maildirs),
                STATE: str(wanted.state),
                ACCOUNTS: str(wanted.accounts),
                CONFIGURATION: str(wanted.configuration[0]),
            },
            remarks=tuple(copier.remarks),
            entries=entries,
        )
        copier.put(encode(manifest), MANIFEST, int(now * 1e9))
        copier.finish()
        files.rename(str(partial), str(final))
    except BaseException:
        _try_to_remove(files, partial)
        raise
    files.sync_folder(str(folder))
    octets = sum(entry.size for entry in entries)
    return Made(final, letters, queued, copier.copied, copier.linked, octets, manifest.remarks, ())


def _with_removed(made: Made, removed: tuple[str, ...]) -> Made:
    return Made(made.folder, made.letters, made.queued, made.copied, made.linked, made.octets, made.remarks, removed)


def _previous(folder: Path) -> tuple[Path, dict[str, Entry]] | None:
    """The newest whole backup whose manifest can be read."""
    for path in reversed(backups_in(folder)):
        try:
            return path, {entry.path: entry for entry in read_manifest(path).entries}
        except BackupTrouble:
            continue
    return None


def _known(copier: Copier) -> list[str]:
    return [path for path in copier.before if path.startswith(f"{MAILDIRS}/")]


def _copy_files(wanted: Wanted, copier: Copier, now: float) -> None:
    path, octets = wanted.configuration
    copier.put(octets, f"{CONFIGURATION}/{path.name}", int(now * 1e9))
    for key, named in wanted.named:
        # Not one that lies in the state folder; and a certificate may be a link, as certbot makes them.
        if wanted.state not in named.parents:
            _copy_named(copier, named, f"{CONFIGURATION}/{key}/{named.name}")


def _copy_named(copier: Copier, source: Path, path: str) -> None:
    try:
        with source.open("rb") as file:
            octets = file.read(_MAX_NAMED_OCTETS)
        copier.put(octets, path, source.stat().st_mtime_ns)
    except OSError as error:
        copier.remarks.append(f"{source} cannot be read and was left out: {(error.strerror or str(error)).lower()}")


def _copy_database(copier: Copier, files: Files, source: Path, path: str) -> None:
    """A database as it is at one moment, whoever writes meanwhile; history is no reason to have no backup."""
    target = copier.place(path)
    files.close(files.create(str(target)))
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)) as origin,
            closing(sqlite3.connect(target, timeout=_BUSY_S)) as copy,
        ):
            origin.backup(copy)
            # One file, and nothing beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        for name in (target.name, f"{target.name}-wal", f"{target.name}-shm", f"{target.name}-journal"):
            files.discard(str(target.with_name(name)))
        copier.remarks.append(f"{source} cannot be read and was left out: {error}")
        return
    copier.adopt(path)


# --- old ones ---------------------------------------------------------------------------------------------------------


def _remove_old(files: Files, folder: Path, keep: int) -> tuple[str, ...]:
    """All but the newest `keep`; 0 keeps all."""
    removed = []
    for path in backups_in(folder)[:-keep] if keep else []:
        # The name goes first, and at once: what is half gone must not look like a backup.
        leaving = path.with_name(path.name + REMOVING)
        files.rename(str(path), str(leaving))
        files.sync_folder(str(folder))
        remove_tree(files, leaving)
        removed.append(path.name)
    return tuple(removed)


def _try_to_remove(files: Files, path: Path) -> None:
    try:
        remove_tree(files, path)
    except OSError:
        # The next run does it; what is told is why this one ended.
        return


def remove_tree(files: Files, path: Path) -> None:
    """Remove a folder with all that is in it; links are removed and not followed. Raises `OSError`."""
    with os.scandir(path) as entries:
        found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if is_folder:
            remove_tree(files, Path(name))
        else:
            files.unlink(name)
    files.remove_folder(str(path))
