"""One file of the drop folder, opened: whether it is a message, whose, and its octets. Blocking.

Nothing about it is trusted, for everybody on the machine may have put it there (`drop`).
"""

import os
import pwd
import stat
from dataclasses import dataclass

from mailserver.store.drop_format import MAX_DROP_HEAD_OCTETS, DropHead, NewerDrop, decode_drop_head, drop_head_end
from mailserver.store.spool_json import Damaged

_HEAD_PIECE = 64 * 1024

Key = tuple[int, int]


@dataclass(slots=True)
class Dropped:
    """One message, opened. `uid` owns the file. Read by one thread at a time; `close` it."""

    name: str
    key: Key
    uid: int
    login: str
    dropped_at: float
    head: DropHead
    _descriptor: int
    _position: int = 0

    def next_piece(self, octets: int = 256 * 1024) -> bytes:
        """The next octets of the content; empty at its end. Raises `OSError`."""
        left = self.head.size_octets - self._position
        piece = os.pread(self._descriptor, min(octets, left), self.head.length + self._position)
        self._position += len(piece)
        if left and not piece:
            raise OSError("the file became shorter while it was read")
        return piece

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Odd(Exception):
    """Not something to pick up. `is_moved`: it goes to `set-aside`."""

    def __init__(self, reason: str, *, is_moved: bool = True) -> None:
        super().__init__(reason)
        self.is_moved = is_moved


def open_dropped(folder: int, name: str, max_octets: int) -> Dropped:
    """Open `name` below the opened `folder`; at most `max_octets` in all.

    Raises `Odd` for what is no message of ours, `FileNotFoundError` when it is gone, `OSError` for trouble.
    """
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=folder)
    except PermissionError:
        raise Odd(f"it cannot be read by {login_of(os.geteuid())}", is_moved=False) from None
    except FileNotFoundError:
        raise
    except OSError as error:  # a link (ELOOP), a socket (ENXIO)
        check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
        raise error
    try:
        status = os.fstat(descriptor)
        check_regular(status)
        if status.st_size > max_octets:
            raise Odd(f"{status.st_size} octets are more than max_message_size allows")
        head = _head(descriptor)
        if head.length + head.size_octets != status.st_size:
            raise Odd("it is not as long as it says")
    except NewerDrop as newer:
        os.close(descriptor)
        raise Odd(str(newer), is_moved=False) from None
    except Damaged as damaged:
        os.close(descriptor)
        raise Odd(str(damaged)) from None
    except BaseException:
        os.close(descriptor)
        raise
    return Dropped(name, key_of(status), status.st_uid, login_of(status.st_uid), status.st_mtime, head, descriptor)


def check_regular(status: os.stat_result) -> None:
    """Raises `Odd` for everything but a regular file with one name."""
    if stat.S_ISLNK(status.st_mode):
        raise Odd("it is a symbolic link")
    if stat.S_ISDIR(status.st_mode):
        raise Odd("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise Odd("it is no regular file")
    if status.st_nlink != 1:
        raise Odd("the file has another name elsewhere")


def _head(descriptor: int) -> DropHead:
    octets = b""
    while not drop_head_end(octets):
        piece = os.pread(descriptor, _HEAD_PIECE, len(octets))
        if not piece:
            break
        octets += piece
        if len(octets) > MAX_DROP_HEAD_OCTETS:
            raise Damaged("the first part is too long")
        if not octets.startswith(b"mailserver-drop "[: len(octets)]):
            raise Damaged("it does not begin like a dropped message")
    return decode_drop_head(octets)


def key_of(status: os.stat_result) -> Key:
    """What a file is remembered by. A change of its mode or content gives it another chance."""
    return status.st_ino, status.st_ctime_ns


def login_of(uid: int) -> str:
    """A user's name, or `uid1234` when it has none. Blocking."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid{uid}"
