"""Puts files into a backup that is being made: copied and summed up, or linked where that is as good. Blocking.

Everything is synced at once in the end, so that a first backup of a hundred thousand letters does not wait for the disk
as often. Nothing counts before `finish` has returned and the folder got its final name.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from mailserver.store.backup_format import BackupTrouble, Entry
from mailserver.store.files import Files

_BLOCK_OCTETS = 1 << 20
# What may be in the way of a link and not of a copy.
_NO_LINK = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT, errno.ENOSPC})


class Copier:
    """Writes below `root`, a new and empty folder. Raises `BackupTrouble` for what is unreadable or does not fit.

    `previous` is the backup before this one: its folder, and its files by path. With `links_live`, files that never
    change are linked where they are on the same file system, and not copied.
    """

    def __init__(
        self, files: Files, root: Path, previous: tuple[Path, Mapping[str, Entry]] | None, *, links_live: bool = False
    ) -> None:
        self._files = files
        self.root = root
        self._previous = previous
        self._links_live = links_live
        self._folders: dict[str, None] = {}
        self.entries: dict[str, Entry] = {}
        self.remarks: list[str] = []
        self._left_out: set[str] = set()
        self.copied = self.linked = 0

    @property
    def before(self) -> Mapping[str, Entry]:
        """The files of the backup before this one, by path."""
        return {} if self._previous is None else self._previous[1]

    def copy(self, source: str, path: str, *, same_as: str = "") -> bool:
        """Put the file `source` at `path`; False when it is gone, or is no regular file (that is remarked).

        `same_as` is given for a file that never changes under its name: where the backup before has it. It is linked
        there when its size and time are the same.
        """
        descriptor = self._open(source)
        if descriptor is None:
            return False
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self.leave_out(source, "is no regular file")
                return False
            target = self._place(path)
            if same_as and self._link_previous(status, same_as, target, path):
                return True
            if same_as and self._links_live and self._link_live(source, descriptor, status, target, path):
                return True
            self._write(source, descriptor, status, target, path)
            return True
        finally:
            os.close(descriptor)

    def leave_out(self, source: str, why: str) -> None:
        """Remark, once, that this is not in the backup."""
        if source not in self._left_out:
            self._left_out.add(source)
            self.remarks.append(f"{source} {why} and was left out")

    def has_left_out(self, source: str) -> bool:
        """Whether that was said of it: it need not be looked for again."""
        return source in self._left_out

    def put(self, octets: bytes, path: str, modified_ns: int) -> None:
        """Put these octets at `path`."""
        target = self._place(path)
        try:
            written = self._files.create(target)
            try:
                self._files.write(written, (octets,))
                self._files.set_time(written, modified_ns)
            finally:
                self._files.close(written)
        except OSError as error:
            raise _cannot_write(error, target) from None
        self._note(path, len(octets), modified_ns, hashlib.sha256(octets).hexdigest())

    def adopt(self, path: str) -> None:
        """Take in a file that somebody else has written at `path` (`place` told where)."""
        target = str(self.root / path)
        try:
            size, digest = sum_of_file(target)
            modified_ns = Path(target).stat().st_mtime_ns
        except OSError as error:
            raise _cannot_write(error, target) from None
        self._note(path, size, modified_ns, digest)

    def place(self, path: str) -> Path:
        """Where a file at `path` has to be written; its folder is there."""
        return Path(self._place(path))

    def discard(self, path: str) -> None:
        """Take a file out again."""
        del self.entries[path]
        try:
            self._files.unlink(str(self.root / path))
        except OSError as error:
            raise _cannot_write(error, path) from None

    def folder(self, path: str) -> None:
        """A folder, also if nothing comes into it."""
        self._place(f"{path}/x")

    def finish(self) -> None:
        """Return when every file and every folder is on disk."""
        try:
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._files.sync_file_system(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _cannot_write(error, str(self.root)) from None

    def _open(self, source: str) -> int | None:
        try:
            return os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                self.leave_out(source, "is a link or a socket")
                return None
            raise _cannot_read(error, source) from None

    def _link_previous(self, status: os.stat_result, same_as: str, target: str, path: str) -> bool:
        if self._previous is None:
            return False
        folder, entries = self._previous
        known = entries.get(same_as)
        if known is None or (known.size, known.modified_ns) != (status.st_size, status.st_mtime_ns):
            return False
        source = str(folder / same_as)
        try:
            before = os.lstat(source)
            if not stat.S_ISREG(before.st_mode) or before.st_size != known.size:
                return False
            self._files.link(source, target)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise _cannot_write(error, target) from None
        self._note(path, known.size, known.modified_ns, known.sha256, is_link=True)
        return True

    def _link_live(self, source: str, descriptor: int, status: os.stat_result, target: str, path: str) -> bool:
        try:
            self._files.link(source, target)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise _cannot_write(error, target) from None
        try:
            digest = _sum_of(descriptor)
        except OSError as error:
            raise _cannot_read(error, source) from None
        self._note(path, status.st_size, status.st_mtime_ns, digest, is_link=True)
        return True

    def _write(self, source: str, descriptor: int, status: os.stat_result, target: str, path: str) -> None:
        digest, size = hashlib.sha256(), 0
        try:
            written = self._files.create(target)
            try:
                for block in _blocks(source, descriptor):
                    digest.update(block)
                    size += len(block)
                    self._files.write(written, (block,))
                self._files.set_time(written, status.st_mtime_ns)
                self._files.start_writeback(written)
            finally:
                self._files.close(written)
        except OSError as error:
            raise _cannot_write(error, target) from None
        self._note(path, size, status.st_mtime_ns, digest.hexdigest())

    def _place(self, path: str) -> str:
        parts = path.split("/")[:-1]
        current = str(self.root)
        for part in parts:
            current = f"{current}/{part}"
            if current not in self._folders:
                try:
                    self._files.make_folder(current)
                except OSError as error:
                    raise _cannot_write(error, current) from None
                self._folders[current] = None
        return str(self.root / path)

    def _note(self, path: str, size: int, modified_ns: int, digest: str, *, is_link: bool = False) -> None:
        self.entries[path] = Entry(path, size, modified_ns, digest)
        if is_link:
            self.linked += 1
        else:
            self.copied += 1


def sum_of_file(path: str) -> tuple[int, str]:
    """Size and SHA-256 of a regular file. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.fstat(descriptor).st_size, _sum_of(descriptor)
    finally:
        os.close(descriptor)


def _blocks(source: str, descriptor: int) -> Iterator[bytes]:
    """What is in the file. Raises `BackupTrouble`: that it cannot be read is another trouble than a full disk."""
    while True:
        try:
            block = os.read(descriptor, _BLOCK_OCTETS)
        except OSError as error:
            raise _cannot_read(error, source) from None
        if not block:
            return
        yield block


def _sum_of(descriptor: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while block := os.pread(descriptor, _BLOCK_OCTETS, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()


def _cannot_read(error: OSError, path: str) -> BackupTrouble:
    return BackupTrouble(f"{path} cannot be read: {(error.strerror or str(error)).lower()}")


def _cannot_write(error: OSError, path: str) -> BackupTrouble:
    where = error.filename or path
    return BackupTrouble(f"{where} cannot be written: {(error.strerror or str(error)).lower()}")
