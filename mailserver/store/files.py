"""The few changes to a disk that everything in `store` is made of (Linux, blocking, no Twisted).

What "durable" takes, in this order: create under a temporary name, write, fsync the file, rename into place, fsync the
folder. A failed fsync is final: the page may be marked clean though it never reached the disk, so the caller removes
the file and writes another; nobody calls `sync` twice on one descriptor.

Nothing else in `store` changes the disk (a test reads the sources for that; SQLite's own files are the one exception).
`Files` is an object and not a set of functions so that tests can put a failing or forgetful disk in its place
(`tests/faults`); what of a disk the rest may count on stands in docs/decisions/0005-what-a-power-cut-may-do.md.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mailserver.ports import StorageFull, StorageTrouble

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
# Linux takes at most 1,024 pieces in one writev (IOV_MAX).
_MAX_PIECES = 1024
_SYNC_FILE_RANGE_WRITE = 2

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def _find_sync_file_range() -> "Callable[[int, int, int, int], int] | None":
    """The C library's sync_file_range(2), or None where it has none (then only time is lost)."""
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_sync_file_range = _find_sync_file_range()
_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def storage_error(error: OSError) -> StorageFull | StorageTrouble:
    """What an `OSError` means for mail: no space (452) or any other trouble (451). The text is for the log only."""
    # Of the two names of a rename the second one is where something is amiss; the first is a file we just wrote.
    name = error.filename2 or error.filename
    text = f"{error.strerror or error} ({name})" if name else str(error.strerror or error)
    return StorageFull(text) if error.errno in _FULL else StorageTrouble(text)


class Files:
    """The real disk. Every method blocks and raises `OSError`."""

    def create(self, path: str) -> int:
        """A descriptor for a new file, mode 0600; an existing one, or a link, is an error."""
        return os.open(path, _NEW, FILE_MODE)

    def create_in(self, folder: int, name: str) -> int:
        """The same below an opened folder (one opened with O_PATH will do)."""
        return os.open(name, _NEW, FILE_MODE, dir_fd=folder)

    def open_lock(self, path: str) -> int:
        """A descriptor for a file that is only there to be locked; made, mode 0600, when it is missing."""
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)

    def duplicate(self, descriptor: int) -> int:
        """A second descriptor for the same file."""
        return os.dup(descriptor)

    def write(self, descriptor: int, pieces: Sequence[bytes]) -> None:
        """Write all pieces, in order, whole."""
        left = [piece for piece in pieces if piece]
        while left:
            written = os.writev(descriptor, left[:_MAX_PIECES])
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = left[0][written:]

    def overwrite(self, descriptor: int, octets: bytes) -> None:
        """Put this few octets in place of all that the file holds. Neither atomic nor durable: for texts in locks."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, octets, 0)

    def set_mode(self, descriptor: int, mode: int) -> None:
        """Whatever the umask."""
        os.fchmod(descriptor, mode)

    def set_owner(self, descriptor: int, uid: int, gid: int) -> None:
        """Give it away."""
        os.fchown(descriptor, uid, gid)

    def write_at(self, descriptor: int, octets: bytes, offset: int) -> None:
        """Write over what stands at `offset`, whole."""
        while octets:
            written = os.pwrite(descriptor, octets, offset)
            octets, offset = octets[written:], offset + written

    def start_writeback(self, descriptor: int) -> None:
        """Have the kernel begin to write this file, without waiting.

        Only a hint, so its result does not matter: `sync` still does the promise. When many files are begun before the
        first is synced, they share journal commits (see docs/performance.md).
        """
        if _sync_file_range is not None:
            _sync_file_range(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)

    def sync(self, descriptor: int) -> None:
        """Return when content and size are on disk."""
        os.fsync(descriptor)

    def sync_file_system(self, descriptor: int) -> None:
        """Return when everything on the file system of this file or folder is on disk: files, sizes and names.

        For who has written thousands of files: one by one they wait a hundred times as long. Since Linux 5.8 it fails
        when anything there could not be written, whoever wrote it.
        """
        if _syncfs is None:
            os.sync()
        elif _syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def close(self, descriptor: int) -> None:
        """Close; a late error counts as a failed write."""
        os.close(descriptor)

    def rename(self, source: str, target: str) -> None:
        """Atomic; the new name is durable only after `sync_folder`."""
        os.rename(source, target)

    def rename_in(self, folder: int, name: str, target_folder: int, target: str) -> None:
        """The same with both names below opened folders."""
        os.rename(name, target, src_dir_fd=folder, dst_dir_fd=target_folder)

    def link(self, path: str, second: str) -> None:
        """A second name for a file on the same file system; an existing name is an error."""
        os.link(path, second, follow_symlinks=False)

    def set_time(self, descriptor: int, modified_ns: int) -> None:
        """When it was last changed, as the file says; nanoseconds since the epoch."""
        os.utime(descriptor, ns=(modified_ns, modified_ns))

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        os.rmdir(path)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def unlink_in(self, folder: int, name: str) -> None:
        """The same below an opened folder."""
        os.unlink(name, dir_fd=folder)

    def sync_folder(self, path: str) -> None:
        """Return when the names in this folder are on disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_opened_folder(self, folder: int) -> None:
        """The same for a folder that is open for reading."""
        os.fsync(folder)

    def make_folder_in(self, folder: int, name: str) -> None:
        """A new folder below an opened one, mode 0700; an existing one is an error."""
        os.mkdir(name, FOLDER_MODE, dir_fd=folder)

    def make_new_folder(self, path: str) -> None:
        """One folder, mode 0700; an existing one is an error."""
        os.mkdir(path, FOLDER_MODE)

    def make_folder(self, path: str) -> None:
        """One folder, mode 0700; an existing one is fine."""
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:
            if not os.path.isdir(path):
                raise

    def make_folders(self, path: str) -> None:
        """A folder with all its missing parents, each durable in its own parent when this returns.

        That goes for the lowest one that is there already, too: whoever made it may have been stopped, or failed,
        before its name was synced.
        """
        missing = []
        current = Path(path)
        while not current.is_dir():
            missing.append(current)
            current = current.parent
        # Where we may not read, somebody else made the folder, and not just now.
        with contextlib.suppress(PermissionError):
            self.sync_folder(str(current.parent))
        for folder in reversed(missing):
            self.make_folder(str(folder))
            self.sync_folder(str(folder.parent))

    def discard(self, path: str) -> None:
        """Remove a temporary file that may be gone already; what cannot be removed is swept later, so no error."""
        try:
            self.unlink(path)
        except OSError:
            return

    def replace(self, path: str, temporary: str, octets: bytes) -> None:
        """Put `octets` in place of whatever `path` holds: atomic, and durable when this returns."""
        descriptor = self.create(temporary)
        try:
            try:
                self.write(descriptor, (octets,))
                self.sync(descriptor)
            finally:
                self.close(descriptor)
            self.rename(temporary, path)
        except OSError:
            self.discard(temporary)
            raise
        self.sync_folder(os.path.dirname(path))


# The real disk, for what is not handed one.
DISK = Files()
