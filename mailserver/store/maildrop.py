"""The snapshot of one Maildir that a POP3 session works on (RFC 1939, design promise 7). Blocking, no Twisted.

Numbers never move: message n of the snapshot stays n whatever others do to the folder. Other programs (Dovecot, mutt)
may add, rename and remove files at any time; a file that is not where it was is looked for again by the unchanging
part of its name in `new/` and `cur/`. No other program's file is renamed but to say that it was read.

A snapshot is used by one thread at a time. It holds no lock of its own: `maildrops` keeps sessions apart.

States that a crash can leave during `remove`:

| state | cleaned up by |
|---|---|
| some of the deleted messages are gone, some not | nobody: the client saw no +OK and deletes them again |
| unlinked, folder not synced | after a power cut the message may be back; the +OK was not sent either |
"""

import errno
import hashlib
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from mailserver.ports import MessageGone, StorageTrouble
from mailserver.store.cached_read import CachedReader
from mailserver.store.files import Files
from mailserver.store.maildir_names import MAX_SIZE_DIGITS, SEEN, base_of, parse_name, unique_of, with_flag
from mailserver.store.maildrop_index import (
    MAX_UNIQUE_ID_OCTETS,
    MaildropIndex,
    is_unique_id,
    read_index,
    write_index,
)
from mailserver.store.maildrop_memory import Contents, MaildropMemory
from mailserver.store.maildrop_scan import list_maildir, stamp_of, unique_parts
from mailserver.store.measure import wire_octets

# A message up to this size is read whole by one call; a larger one comes in pieces.
WHOLE_OCTETS = 1 << 20
PIECE_OCTETS = 256 << 10
_PLACE = 4  # len("new/") == len("cur/")
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_cached = CachedReader()
# How often files that move while we remove them are looked for again.
_MAX_SEARCHES = 5
# What a path that is no message any more answers: gone, a symlink now, a folder, no device behind it.
_NO_MESSAGE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENODEV})


class LargeFile:
    """A message that is read in pieces; what is appended to the file after it was opened does not count."""

    def __init__(self, descriptor: int, octets: int) -> None:
        self._descriptor = descriptor
        self._left = octets
        self._lock = threading.Lock()
        self._is_unwanted = False

    def next_piece(self) -> bytes:
        """At most 256 KiB; `b""` at the end and after `close`. Blocks. Raises `StorageTrouble`."""
        with self._lock:
            if self._descriptor < 0 or self._is_unwanted:
                piece = b""
            else:
                piece = _read(self._descriptor, min(PIECE_OCTETS, self._left))
            self._left -= len(piece)
        if not piece or self._is_unwanted:
            self.close()
        return piece

    def close(self) -> None:
        """Close now, or at once after the read that is under way in another thread. Does not block."""
        self._is_unwanted = True
        if self._lock.acquire(blocking=False):
            descriptor, self._descriptor = self._descriptor, -1
            self._lock.release()
            if descriptor >= 0:
                os.close(descriptor)


class Snapshot:
    """Messages are numbered from 1. `sizes` are octets as sent; `notes` say what an operator should know."""

    def __init__(self, files: Files, folder: str, contents: Contents) -> None:
        self._files = files
        self._folder = folder
        # A copy: files that move are noted in it.
        self._paths = contents.listing.paths.copy()
        self._stamp = contents.listing.stamp
        # Numbers that were nowhere at the last look.
        self._missing: set[int] = set()
        self._imported = contents.unique_ids
        self._unique_ids: list[str] | None = None
        self.sizes = contents.sizes
        self.notes: list[str] = []

    def unique_ids(self) -> list[str]:
        """One for each message (RFC 1939 7): the name up to the first `,` or `:`, so that flags do not change it.

        Hashed where it is over 70 octets or not printable ASCII. Of files that share a unique part (another program's
        doing) each gets a hash of what still tells them apart, so that none passes for the other.
        """
        if self._unique_ids is None:
            self._unique_ids = self._distinct(self._named())
        return self._unique_ids

    def file_name(self, number: int) -> str:
        """The unique part of the file's name. Does not block, and may be asked from any thread."""
        return unique_of(self._name(number))

    def read(self, number: int) -> bytes | LargeFile:
        """The stored octets, whole up to 1 MiB. Blocks. Raises `MessageGone` and `StorageTrouble`."""
        descriptor, octets = self._open(number)
        if octets > WHOLE_OCTETS:
            return LargeFile(descriptor, octets)
        try:
            return _read_whole(descriptor, octets)
        finally:
            os.close(descriptor)

    def read_if_small(self, number: int, most_octets: int) -> bytes | None:
        """A message that is where it was and has at most `most_octets`, without looking further; else None. Blocks."""
        try:
            descriptor = os.open(f"{self._folder}/{self._paths[number - 1]}", _OPEN)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > most_octets:
                return None
            return _read_whole(descriptor, status.st_size)
        except StorageTrouble:
            return None  # whoever asks for the message itself is told
        finally:
            os.close(descriptor)

    def read_at_once(self, number: int) -> bytes | None:
        """A small message that is where it was and in memory; else None. Does not block. For the reactor thread."""
        return _cached.read(f"{self._folder}/{self._paths[number - 1]}")

    def remember_sizes(self, sizes: dict[int, int]) -> None:
        """Write down what messages really measured, by number; durable. Raises `OSError` and `StorageTrouble`."""
        index = read_index(self._folder)
        index.sizes.update({base_of(self._name(number)): octets for number, octets in sizes.items()})
        write_index(self._files, self._folder, index)

    def remove(self, numbers: Collection[int]) -> int:
        """Unlink these messages and sync the folders once; durable when it answers how many could not be removed.

        One that is gone already counts as removed. Blocks. Raises `StorageTrouble` when the folders cannot be synced.
        """
        wanted, failed = sorted(numbers), 0
        touched: set[str] = set()
        for search in range(_MAX_SEARCHES):
            absent: list[int] = []
            for number in wanted:
                path = self._paths[number - 1]
                try:
                    self._files.unlink(f"{self._folder}/{path}")
                    touched.add(path[: _PLACE - 1])
                except FileNotFoundError:
                    absent.append(number)
                except OSError as error:
                    failed += 1
                    self.notes.append(f"{path} cannot be removed: {error.strerror}")
            if not absent or search == _MAX_SEARCHES - 1:
                break
            self._search_again()
            wanted = [number for number in absent if number not in self._missing]
        try:
            for place in sorted(touched):
                self._files.sync_folder(f"{self._folder}/{place}")
        except OSError as error:
            raise StorageTrouble(f"the removal is not certain: {error.strerror}") from error
        return failed

    def mark_seen(self, numbers: Iterable[int]) -> None:
        """Move to `cur/` with the flag S, as mutt and Dovecot expect of whoever has shown a message to its owner.

        Only a courtesy, so nothing is synced, and a file that cannot be renamed is left alone.
        """
        for number in sorted(numbers):
            path = self._paths[number - 1]
            target = "cur/" + with_flag(path[_PLACE:], SEEN)
            # Never over another file: a foreign program may have used a name twice.
            if path == target or os.path.lexists(f"{self._folder}/{target}"):
                continue
            try:
                self._files.rename(f"{self._folder}/{path}", f"{self._folder}/{target}")
            except OSError:
                continue
            self._paths[number - 1] = target

    def _name(self, number: int) -> str:
        return self._paths[number - 1][_PLACE:]

    def _open(self, number: int) -> tuple[int, int]:
        """Descriptor and stored octets; looks for a file that moved."""
        for search in (False, True):
            if search:
                if number in self._missing and self._is_unchanged():
                    break
                self._search_again()
            path = f"{self._folder}/{self._paths[number - 1]}"
            try:
                descriptor = os.open(path, _OPEN)
            except OSError as error:
                if error.errno not in _NO_MESSAGE:
                    raise StorageTrouble(f"{path} cannot be read: {error.strerror}") from error
                continue
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                return descriptor, status.st_size
            os.close(descriptor)
        raise MessageGone

    def _is_unchanged(self) -> bool:
        """Whether no name has changed since the last look; then a look would cost much and show nothing."""
        try:
            return stamp_of(self._folder) == self._stamp
        except OSError:
            return False

    def _search_again(self) -> None:
        """Find every file that is not where it was."""
        try:
            listing = list_maildir(self._folder)
        except OSError as error:
            raise StorageTrouble(f"{self._folder} cannot be listed: {error.strerror}") from error
        self._stamp = listing.stamp
        present = set(listing.paths)
        by_base = {base_of(path[_PLACE:]): path for path in listing.paths}
        by_unique: dict[str, list[str]] = {}
        for path in listing.paths:
            by_unique.setdefault(unique_of(path[_PLACE:]), []).append(path)
        self._missing.clear()
        # Others with the same name must not be taken for this one: only files that no number stands for are free.
        taken = present.intersection(self._paths)
        for at, path in enumerate(self._paths):
            if path in present:
                continue
            found = by_base.get(base_of(path[_PLACE:]))
            if found is None and len(alike := by_unique.get(unique_of(path[_PLACE:]), [])) == 1:
                found = alike[0]
            if found is None or found in taken:
                self._missing.add(at + 1)
            else:
                self._paths[at] = found
                taken.add(found)

    def _named(self) -> list[str]:
        """Unique-ids as names and index have them, not yet distinct."""
        parts = unique_parts(self._paths)
        if self._imported:
            parts = [self._imported.get(part, part) for part in parts]
        # All at once first: a hundred thousand names are usually all good.
        together = "".join(parts)
        if together.isascii() and together.isprintable() and " " not in together:
            lengths = set(map(len, parts))
            if not lengths or (min(lengths) > 0 and max(lengths) <= MAX_UNIQUE_ID_OCTETS):
                return parts
        return [part if is_unique_id(part) else _digest(part) for part in parts]

    def _distinct(self, unique_ids: list[str]) -> list[str]:
        if len(set(unique_ids)) == len(unique_ids):
            return unique_ids
        count = Counter(unique_ids)
        bases = Counter(base_of(path[_PLACE:]) for path in self._paths)
        distinct = []
        for unique_id, path in zip(unique_ids, self._paths, strict=True):
            if count[unique_id] > 1:
                base = base_of(path[_PLACE:])
                # Same name twice: only the file itself is left to tell them apart.
                unique_id = _digest(base if bases[base] == 1 else f"{base}/{self._inode(path)}")
            distinct.append(unique_id)
        return distinct

    def _inode(self, path: str) -> int:
        try:
            return os.lstat(f"{self._folder}/{path}").st_ino
        except OSError:
            return 0


def open_snapshot(files: Files, folder: str, memory: MaildropMemory | None = None) -> Snapshot:
    """List a Maildir; one that does not exist is empty. Blocks. Raises `StorageTrouble`.

    Sizes come from the index, then from `,W=` in the name; a file that has neither is read once and remembered. With
    `memory` a Maildir that is as it was at an earlier look is not listed again.
    """
    memory = memory or MaildropMemory()
    notes: list[str] = []
    try:
        fingerprint, moment, contents = memory.look(folder)
        if contents is None:
            contents = _list(files, folder, notes)
            # What has to be told is told in each session.
            if not notes:
                memory.keep(folder, fingerprint, moment, contents)
    except OSError as error:
        raise StorageTrouble(f"{folder} cannot be listed: {error.strerror}") from error
    snapshot = Snapshot(files, folder, contents)
    snapshot.notes = notes
    return snapshot


def _list(files: Files, folder: str, notes: list[str]) -> Contents:
    """Look at the disk. `notes` gets what an operator should know. Raises `OSError` and `StorageTrouble`."""
    listing = list_maildir(folder)
    index = read_index(folder)
    sizes, unknown = _sizes_from_names(listing.paths, index.sizes)
    if unknown:
        _measure(folder, listing.paths, sizes, unknown, index, notes)
        try:
            write_index(files, folder, index)
        except OSError as error:
            notes.append(f"sizes cannot be remembered: {error.strerror}")
    if listing.ignored:
        others = f" and {len(listing.ignored) - 1} more" if len(listing.ignored) > 1 else ""
        notes.append(f"{listing.ignored[0]}{others}: not a regular file, ignored")
    return Contents(listing, sizes, index.unique_ids)


def _measure(
    folder: str, paths: list[str], sizes: list[int], unknown: list[int], index: MaildropIndex, notes: list[str]
) -> None:
    """Fill in the sizes at `unknown` and in the index; what cannot be read is taken off the list."""
    unreadable: list[int] = []
    for at in unknown:
        size = _measured(f"{folder}/{paths[at]}", notes.append)
        if size is None:
            unreadable.append(at)
        else:
            sizes[at] = index.sizes[base_of(paths[at][_PLACE:])] = size
    for at in reversed(unreadable):
        del paths[at], sizes[at]
    bases = {base_of(path[_PLACE:]) for path in paths}
    index.sizes = {base: size for base, size in index.sizes.items() if base in bases}


def _sizes_from_names(paths: list[str], known: dict[str, int]) -> tuple[list[int], list[int]]:
    """A size for each path, 0 where neither its name nor the index has one; and the positions of those.

    All at once first, which takes a third of the time: usually each has one, and at the same place.
    """
    bases = [path[_PLACE:].partition(":")[0] for path in paths]
    certain = [size for size in map(known.get, bases) if size is not None] if known else _all_sizes(bases)
    if len(certain) == len(bases):
        return certain, []
    sizes = [known.get(base, parse_name(base).wire_octets) for base in bases]
    return [size or 0 for size in sizes], [at for at, size in enumerate(sizes) if size is None]


def _all_sizes(bases: list[str]) -> list[int]:
    """The sizes when every name ends in `,W=` and a size; else none at all."""
    texts = [base.rpartition(",W=")[2] for base in bases]
    together = "".join(texts)
    # A digit of another script is none here; and a name without a size comes whole, which may be digits too.
    if together.isdigit() and together.isascii() and False not in [",W=" in base for base in bases]:
        lengths = set(map(len, texts))
        if min(lengths) > 0 and max(lengths) <= MAX_SIZE_DIGITS:
            return list(map(int, texts))
    return []


def _measured(path: str, note: Callable[[str], None]) -> int | None:
    """The octets a file has on the wire; None when it cannot be read or is no regular file any more."""
    try:
        descriptor = os.open(path, _OPEN)
        try:
            return wire_octets(descriptor) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno != errno.ENOENT:
            note(f"{path} cannot be read, left out: {error.strerror}")
        return None


def _read_whole(descriptor: int, octets: int) -> bytes:
    content = _read(descriptor, octets)
    while len(content) < octets and (more := _read(descriptor, octets - len(content))):
        content += more
    return content


def _read(descriptor: int, octets: int) -> bytes:
    try:
        return os.read(descriptor, octets)
    except OSError as error:
        raise StorageTrouble(f"a message cannot be read: {error.strerror}") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]
