"""Brings back what is in a backup: everything, one mailbox, or single letters; and looks whether a backup is sound.

Blocking. Each file is written aside, its checksum compared, synced, and renamed; folders are synced at the end. What
is there already stays: a letter is not doubled (it is known by its unique name, in whatever folder and with whatever
flags), and a message that waits is left as it is.

A crash leaves files in `tmp/` (swept) or `*.restoring` (written over by the next run); whatever is in place is whole.
The states of queued messages come before the messages, so that nothing that was delivered is sent again.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mailserver.mail.headers import first_value, header_end
from mailserver.store.backup_copy import sum_of_file
from mailserver.store.backup_format import (
    ACCOUNTS,
    MAILDIRS,
    MANIFEST,
    QUEUE,
    STATE,
    BackupTrouble,
    Entry,
    Manifest,
    is_letter,
)
from mailserver.store.backup_walk import names_in
from mailserver.store.files import DISK, Files
from mailserver.store.maildir_names import base_of, unique_of
from mailserver.store.spool_format import SpoolPaths

_BLOCK_OCTETS = 1 << 20
_GROUP = 256
# So many files are synced with all of their file system, which is quicker than one by one.
_MANY = 16
_MAX_HEADER_OCTETS = 64 << 10
_PARTS = ("new", "cur", "tmp")


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything goes, by the configuration in force."""

    maildirs: Path
    state: Path
    accounts: Path


@dataclass(slots=True)
class Restored:
    """What was brought back, and which letters and queued messages were there already."""

    letters: int = 0
    queued: int = 0
    others: int = 0
    there: int = 0


def damage_of(folder: Path, manifest: Manifest) -> Iterator[str]:
    """What is wrong with a backup, a line each: files that are missing, changed, or not in the manifest."""
    known = {MANIFEST}
    for entry in manifest.entries:
        known.add(entry.path)
        try:
            size, digest = sum_of_file(str(folder / entry.path))
        except OSError as error:
            yield f"{entry.path}: {(error.strerror or str(error)).lower()}"
            continue
        if size != entry.size or digest != entry.sha256:
            yield f"{entry.path}: it is not what was written"
    for path in _files_below(folder, ""):
        if path not in known:
            yield f"{path}: the manifest does not know it"


def _files_below(folder: Path, below: str) -> Iterator[str]:
    with os.scandir(folder / below) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in sorted(found):
        if is_folder:
            yield from _files_below(folder, f"{below}{name}/")
        else:
            yield f"{below}{name}"


def occupied(places: Places) -> Iterator[Path]:
    """Which of the places hold something already."""
    for folder in (places.maildirs, places.state):
        names = set(names_in(str(folder))) - {"lock", "control.sock"}
        # The Maildirs may lie in the state folder.
        names -= {path.name for path in (places.maildirs, places.accounts) if path.parent == folder}
        if names - {f"{places.accounts.name}.lock"}:
            yield folder
    if places.accounts.exists():
        yield places.accounts


def restore_all(folder: Path, manifest: Manifest, places: Places, files: Files = DISK) -> Restored:
    """Everything of a backup, durable when it returns; the caller holds the state lock. Raises `BackupTrouble`.

    Files of the state folder and the accounts are replaced; letters and queued messages are added. The configuration,
    and files that it names elsewhere, are left to the owner.
    """
    done = Restored()
    putting = _Putting(files, folder)
    for entry in manifest.below(ACCOUNTS):
        # A link stays one, as when accounts are edited.
        putting.put(entry, os.path.realpath(places.accounts))
        done.others += 1
    for entry in manifest.below(STATE):
        target = str(places.state / entry.path.removeprefix(f"{STATE}/"))
        if target.endswith(".sqlite3"):
            for end in ("-wal", "-shm", "-journal"):
                files.discard(target + end)
        putting.put(entry, target)
        done.others += 1
    _restore_queue(putting, manifest, places.state, done)
    for name in sorted({"/".join(entry.path.split("/")[1:3]) for entry in manifest.below(MAILDIRS)}):
        _restore_maildir(putting, manifest.below(f"{MAILDIRS}/{name}"), f"{places.maildirs}/{name}", done)
    putting.finish()
    return done


def _restore_queue(putting: "_Putting", manifest: Manifest, state: Path, done: Restored) -> None:
    paths = SpoolPaths(state)
    for folder in (paths.tmp, paths.messages, paths.states):
        putting.folder(str(folder))
    messages = {entry.path.rpartition("/")[2]: entry for entry in manifest.below(f"{QUEUE}/messages")}
    missing = {name for name in messages if not os.path.lexists(paths.messages / name)}
    for entry in manifest.below(f"{QUEUE}/states"):
        name = entry.path.rpartition("/")[2]
        if name in missing:
            putting.put(entry, f"{paths.states}/{name}", temporary=f"{paths.tmp}/{name}.state")
    putting.finish()
    for name in sorted(missing):
        putting.put(messages[name], f"{paths.messages}/{name}", temporary=f"{paths.tmp}/{name}")
    done.queued += len(missing)
    done.there += len(messages) - len(missing)


def restore_mailbox(
    folder: Path, manifest: Manifest, name: str, root: Path, files: Files = DISK, only: frozenset[str] | None = None
) -> Restored:
    """The letters of one mailbox, `example.org/alice`, that are not there; the server may run. Durable when it returns.

    `only` names the paths of single letters. Raises `BackupTrouble`.
    """
    done = Restored()
    putting = _Putting(files, folder)
    entries = (entry for entry in manifest.below(f"{MAILDIRS}/{name}") if only is None or entry.path in only)
    _restore_maildir(putting, entries, f"{root}/{name}", done)
    putting.finish()
    return done


def _restore_maildir(putting: "_Putting", entries: Iterable[Entry], maildir: str, done: Restored) -> None:
    # Twice: a letter that is flagged or moved at that moment may be in neither place that one listing looks at.
    there = _bases_in(maildir) | _bases_in(maildir)
    for part in _PARTS:
        putting.folder(f"{maildir}/{part}")
    for entry in entries:
        inside = entry.path.split("/")[3:]
        if not is_letter(entry.path):
            target = f"{maildir}/{'/'.join(inside)}"
            if not os.path.lexists(target):
                putting.put(entry, target)
                done.others += 1
            continue
        if base_of(inside[-1]) in there:
            done.there += 1
            continue
        folder = "/".join([maildir, *inside[:-2]])
        for part in _PARTS:
            putting.folder(f"{folder}/{part}")
        temporary = f"{folder}/tmp/{base_of(inside[-1])}"
        putting.put(entry, f"{folder}/{inside[-2]}/{inside[-1]}", temporary=temporary)
        done.letters += 1


def _bases_in(maildir: str) -> set[str]:
    """The unique names of every letter in a Maildir and its folders. Raises `BackupTrouble`."""
    folders = ["", *(f"/{name}" for name in names_in(maildir) if name.startswith("."))]
    return {
        base_of(name) for folder in folders for part in ("new", "cur") for name in names_in(f"{maildir}{folder}/{part}")
    }


def letters_named(manifest: Manifest, folder: Path, text: str, mailbox: str = "") -> list[Entry]:
    """The letters in a backup with this unique name, file name, or Message-ID; of one mailbox if named."""
    part = f"{MAILDIRS}/{mailbox}" if mailbox else MAILDIRS
    letters = [entry for entry in manifest.below(part) if is_letter(entry.path)]
    found = []
    for entry in letters:
        name = entry.path.rpartition("/")[2]
        if text in (name, base_of(name), unique_of(name)):
            found.append(entry)
    if found or "@" not in text:
        return found
    wanted = text.strip().removeprefix("<").removesuffix(">").encode("utf-8", "surrogateescape")
    return [entry for entry in letters if _message_id(folder / entry.path) == wanted]


def _message_id(path: Path) -> bytes:
    """The Message-ID without its brackets; empty for none."""
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_HEADER_OCTETS)
    except OSError:
        return b""
    content = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    value = first_value(content[: header_end(content)], b"message-id")
    return value.strip().removeprefix(b"<").removesuffix(b">")


class _Putting:
    """Writes files from a backup to their places, in groups that are synced together."""

    def __init__(self, files: Files, origin: Path) -> None:
        self._files = files
        self._origin = origin
        self._waiting: list[tuple[int, str, str]] = []
        self._made: set[str] = set()
        self._changed: set[str] = set()

    def folder(self, path: str) -> None:
        """A folder that has to be there, durably."""
        if path in self._made:
            return
        try:
            self._files.make_folders(path)
        except OSError as error:
            raise _trouble(error, path) from None
        self._made.add(path)

    def put(self, entry: Entry, target: str, *, temporary: str = "") -> None:
        """Bring one file back; it is in place after `finish`. Raises `BackupTrouble`, also when it is damaged."""
        self.folder(target.rpartition("/")[0])
        temporary = temporary or f"{target}.restoring"
        self._files.discard(temporary)
        try:
            descriptor = self._files.create(temporary)
            self._waiting.append((descriptor, temporary, target))
            digest = hashlib.sha256()
            with (self._origin / entry.path).open("rb") as source:
                while block := source.read(_BLOCK_OCTETS):
                    digest.update(block)
                    self._files.write(descriptor, (block,))
            if digest.hexdigest() != entry.sha256:
                raise BackupTrouble(f"{self._origin / entry.path} is damaged: it is not what was written")
            self._files.set_time(descriptor, entry.modified_ns)
            self._files.start_writeback(descriptor)
            if len(self._waiting) >= _GROUP:
                self._move()
        except (OSError, BackupTrouble) as error:
            self._give_up()
            raise (_trouble(error, target) if isinstance(error, OSError) else error) from None

    def finish(self) -> None:
        """Return when everything is in place and on disk."""
        try:
            self._move()
            for folder in sorted(self._changed):
                self._files.sync_folder(folder)
            self._changed.clear()
        except OSError as error:
            self._give_up()
            raise _trouble(error, str(self._origin)) from None

    def _move(self) -> None:
        self._sync()
        while self._waiting:
            descriptor, temporary, target = self._waiting[-1]
            self._files.rename(temporary, target)
            self._waiting.pop()
            self._changed.add(target.rpartition("/")[0])
            self._files.close(descriptor)

    def _sync(self) -> None:
        """Files are on disk before they are in place: a letter that a power cut left empty would count as there."""
        descriptors = [descriptor for descriptor, _, _ in self._waiting]
        if len(descriptors) < _MANY:
            for descriptor in descriptors:
                self._files.sync(descriptor)
            return
        for descriptor in {os.fstat(descriptor).st_dev: descriptor for descriptor in descriptors}.values():
            self._files.sync_file_system(descriptor)

    def _give_up(self) -> None:
        while self._waiting:
            descriptor, temporary, _ = self._waiting.pop()
            os.close(descriptor)
            self._files.discard(temporary)


def _trouble(error: OSError, path: str) -> BackupTrouble:
    return BackupTrouble(f"{error.filename or path}: {(error.strerror or str(error)).lower()}")
