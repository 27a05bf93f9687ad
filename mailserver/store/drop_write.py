"""Leaving one message in the drop folder: what the `sendmail` command does, as whoever calls it. Blocking.

The folder can be entered and written by everybody and listed by nobody but the server, so most callers cannot open it
for fsync(2). Then the file is synced a second time after it got its name: the file systems of Linux (ext4, xfs, btrfs)
put the name on disk with it.

States a crash can leave are in `drop`.
"""

import contextlib
import os
import stat
from pathlib import Path

from mailserver.store.drop_format import TEMPORARY_PREFIX, new_name
from mailserver.store.files import DISK, Files


def leave_message(folder: Path, octets: bytes, files: Files = DISK) -> str:
    """Write a whole file, and give its name. Durable when it returns. Raises `OSError`, then nothing is left behind."""
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # With the set-group-id bit new files belong to the server's group; else the name nobody knows has to do.
        has_group = os.fstat(directory).st_mode & stat.S_ISGID
        return _written(files, directory, octets, 0o640 if has_group else 0o644)
    finally:
        os.close(directory)


def _written(files: Files, directory: int, octets: bytes, mode: int) -> str:
    name = new_name()
    temporary = TEMPORARY_PREFIX + name
    descriptor = files.create_in(directory, temporary)
    try:
        try:
            files.write(descriptor, (octets,))
            files.set_mode(descriptor, mode)
            files.sync(descriptor)
            files.rename_in(directory, temporary, directory, name)
        except BaseException:
            with contextlib.suppress(OSError):
                files.unlink_in(directory, temporary)
            raise
        try:
            _keep_name(files, directory, descriptor)
        except OSError:
            # Taken back: who is told "not sent" sends again. Gone already, it was picked up, and is safe elsewhere.
            try:
                files.unlink_in(directory, name)
            except FileNotFoundError:
                return name
            raise
    finally:
        os.close(descriptor)
    return name


def _keep_name(files: Files, directory: int, descriptor: int) -> None:
    """Have the new name on disk. Raises `OSError`."""
    try:
        _sync_folder(files, directory)
    except PermissionError:
        files.sync(descriptor)


def _sync_folder(files: Files, directory: int) -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        files.sync_opened_folder(descriptor)
    finally:
        os.close(descriptor)
