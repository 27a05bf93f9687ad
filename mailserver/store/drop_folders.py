"""The drop folder and its `set-aside` as folders: made, opened, and their modes kept right. Blocking."""

import contextlib
import os
import stat
import time
from pathlib import Path

from mailserver.store.files import DISK, Files

SET_ASIDE = "set-aside"


def make_drop_folder(path: Path, uid: int | None = None, gid: int | None = None, files: Files = DISK) -> None:
    """Make a missing folder, for this user if root makes it. What cannot be made is told by `DropFolder.look`."""
    try:
        files.make_new_folder(str(path))
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if uid is not None and gid is not None:
            files.set_owner(folder, uid, gid)
        # Some sandboxes allow no set-group-id bit; the names that nobody knows protect the files then.
        for mode in (0o3733, 0o1733):
            with contextlib.suppress(OSError):
                files.set_mode(folder, mode)
                break
    except OSError:
        return
    finally:
        os.close(folder)


def narrow(files: Files, folder: int, mode: int) -> None:
    """A folder that others can write keeps them from listing it, and from each other's files."""
    if mode & 0o022:
        wanted = (stat.S_IMODE(mode) | stat.S_ISVTX) & ~0o044
        if wanted != stat.S_IMODE(mode):
            files.set_mode(folder, wanted)


def open_set_aside(files: Files, folder: int) -> int:
    """`set-aside`, opened; whatever else somebody has put there under this name is renamed first."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        _make_set_aside(files, folder)
    status = os.stat(SET_ASIDE, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        files.rename_in(folder, SET_ASIDE, folder, f"not-{SET_ASIDE}.{time.time_ns()}")
        _make_set_aside(files, folder)
    return os.open(SET_ASIDE, flags, dir_fd=folder)


def _make_set_aside(files: Files, folder: int) -> None:
    """Its name is durable before a file goes there, so that a power cut does not take both."""
    files.make_folder_in(folder, SET_ASIDE)
    files.sync_opened_folder(folder)
