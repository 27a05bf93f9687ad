"""The drop folder as the server sees it: what may be picked up, in which order, and what is set aside. Blocking.

Everybody on the machine can put anything there (mode 1733, 3733 where that can be had: enter and write, not list; the
sticky bit keeps users from each other's files). So names and types are never trusted: a file is opened with O_NOFOLLOW
and O_NONBLOCK relative to the opened folder, and must be a regular file with one name. Who sends is the file's owner,
asked of the open file.

States a message can be found in, after a crash of anything at any point, and who cleans up:

| state | acknowledged to the caller | what happens |
|---|---|---|
| `tmp.<name>`, whole or half | no | removed 36 hours after its last change |
| `<name>` | perhaps | picked up |
| `<name>`, and the message is in Maildirs or spool | yes | picked up again, so delivered twice (see below) |
| `<name>` that cannot be removed | yes | remembered while the server runs, removed when that works; not sent again |
| removed | yes | nothing |
| `<name>` of a newer format, unreadable, or a folder | perhaps | left where it is, told once |
| anything else (below) | no | moved to `set-aside/`, told; never read, or not read on |

Delivered twice: only a kill between the commit and the removal right behind it leaves this. Nothing makes the two one
step, and removing first would lose mail. Anything else: a link, a file with a second name, a FIFO, a device, a foreign
or damaged format, a file that is too large, a name that `sendmail` does not give.

`set-aside/` is a folder of the server's own, mode 0700, made when it is needed.
"""

import bisect
import contextlib
import fcntl
import os
import pwd
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from mailserver.store.drop_format import (
    MAX_DROP_HEAD_OCTETS,
    TEMPORARY_PREFIX,
    DropHead,
    NewerDrop,
    decode_drop_head,
    drop_head_end,
    is_drop_name,
)
from mailserver.store.spool_json import Damaged

SET_ASIDE = "set-aside"
# What one look hands out: so many of one owner, so many in all. The rest has its turn at the next look.
PER_OWNER = 50
PER_LOOK = 200
# More remarks than this in one look become one line.
MAX_REMARKS = 20
_TEMPORARY_AGE_S = 36 * 3600.0
# A folder that has not changed is listed again after this time: a file in it may have become readable.
_LIST_AGAIN_S = 60.0
# A change within the same tick of the file system's clock would not show.
_CLOCK_TICK_S = 2.0
_MAX_LEFT = 10_000
_HEAD_PIECE = 64 * 1024

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something odd, told once. `name` is a user's text."""

    name: str
    owner: str
    reason: str
    is_moved: bool


@dataclass(slots=True)
class Look:
    """What one look found: names in the order in which they are to be picked up, and what is worth telling."""

    names: list[str] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    trouble: str = ""
    hidden_remarks: int = 0

    def tell(self, remark: Remark) -> None:
        if len(self.remarks) < MAX_REMARKS:
            self.remarks.append(remark)
        else:
            self.hidden_remarks += 1


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


class _Odd(Exception):
    """Not something to pick up. `is_moved`: it goes to `set-aside`."""

    def __init__(self, reason: str, *, is_moved: bool = True) -> None:
        super().__init__(reason)
        self.is_moved = is_moved


class DropFolder:
    """One server's hold on the folder. Calls come one at a time, in any thread. `max_octets` bounds a whole file."""

    def __init__(self, path: Path, *, max_octets: int) -> None:
        self.path = path
        self._max_octets = max_octets + MAX_DROP_HEAD_OCTETS
        self._folder = -1
        self._trouble = ""
        self._left: set[Key] = set()
        self._done: dict[Key, str] = {}
        self._listed_mtime: int | None = None
        self._listed_at = 0.0
        self._number = count(1)

    # --- the folder ---------------------------------------------------------------------------------------------------

    def look(self) -> Look:
        """List what can be picked up; set aside what cannot. Never raises: trouble with the folder stands in `Look`.

        Trouble is told when it begins, and again when it has changed.
        """
        found = Look()
        try:
            self._attach()
            self._retry_removals()
            if not self._is_unchanged():
                self._list(found)
            trouble = ""
        except OSError as error:
            self.close()
            trouble = self._explained(error)
        found.trouble = trouble if trouble != self._trouble else ""
        self._trouble = trouble
        return found

    def close(self) -> None:
        """Let go of the folder; the next `look` opens it again."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1
        self._listed_mtime = None

    def _attach(self) -> None:
        """Hold the folder that is at the path now, alone. Raises `OSError`."""
        if self._folder >= 0:
            here, held = self.path.lstat(), os.fstat(self._folder)
            if (here.st_dev, here.st_ino) == (held.st_dev, held.st_ino):
                return
            self.close()
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(folder)
            if status.st_uid != os.geteuid():
                raise OSError(f"it belongs to {_login(status.st_uid)} and not to {_login(os.geteuid())}")
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError("another server picks up there; give this one a folder of its own") from None
            _narrow(folder, status.st_mode)
        except OSError:
            os.close(folder)
            raise
        self._folder = folder
        self._left.clear()

    def _explained(self, error: OSError) -> str:
        reason = (error.strerror or str(error)).lower()
        user = _login(os.geteuid())
        return f"{self.path}: {reason}. To make it: install -d -m 3733 -o {user} {self.path}"

    def _is_unchanged(self) -> bool:
        """Whether the last listing, which found nothing, is still true."""
        is_recent = time.monotonic() - self._listed_at < _LIST_AGAIN_S
        return is_recent and self._listed_mtime == os.fstat(self._folder).st_mtime_ns

    def _list(self, found: Look) -> None:
        mtime = os.fstat(self._folder).st_mtime_ns
        owners: dict[int, list[str]] = {}
        if len(self._left) > _MAX_LEFT:
            self._left.clear()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    owner = self._owner_of_message(entry)
                except FileNotFoundError:
                    continue
                except _Odd as odd:
                    self._put_aside(entry.name, odd, found)
                    continue
                if owner is not None:
                    names = owners.setdefault(owner, [])
                    bisect.insort(names, entry.name)
                    del names[PER_OWNER:]
        found.names = list(_in_turns(owners))
        is_settled = not found.names and time.time_ns() - mtime > _CLOCK_TICK_S * 1e9
        self._listed_mtime = mtime if is_settled else None
        self._listed_at = time.monotonic()

    def _owner_of_message(self, entry: "os.DirEntry[str]") -> int | None:
        """Whose message this may be; None when it is none, or not yet. Raises `_Odd` or `FileNotFoundError`."""
        if entry.name == SET_ASIDE:
            return None
        status = entry.stat(follow_symlinks=False)
        if entry.name.startswith(TEMPORARY_PREFIX) and stat.S_ISREG(status.st_mode):
            if time.time() - status.st_ctime > _TEMPORARY_AGE_S:
                os.unlink(entry.name, dir_fd=self._folder)
            return None
        if _key(status) in self._left or _key(status) in self._done:
            return None
        _check(status)
        if not is_drop_name(entry.name):
            raise _Odd("the name is none that sendmail gives")
        return status.st_uid

    # --- one message --------------------------------------------------------------------------------------------------

    def open(self, name: str) -> Dropped | Look:
        """One of the names; a `Look` (with a remark, or empty when it is gone) when it is no message after all.

        Raises `OSError` when the disk is in trouble.
        """
        found = Look()
        try:
            return self._opened(name)
        except FileNotFoundError:
            return found
        except _Odd as odd:
            self._put_aside(name, odd, found)
        return found

    def _opened(self, name: str) -> Dropped:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=self._folder)
        except PermissionError:
            raise _Odd(f"it cannot be read by {_login(os.geteuid())}", is_moved=False) from None
        except FileNotFoundError:
            raise
        except OSError as error:  # a link (ELOOP), a socket (ENXIO)
            _check(os.stat(name, dir_fd=self._folder, follow_symlinks=False))
            raise error
        try:
            status = os.fstat(descriptor)
            _check(status)
            if status.st_size > self._max_octets:
                raise _Odd(f"{status.st_size} octets are more than max_message_size allows")
            head = _head(descriptor)
            if head.length + head.size_octets != status.st_size:
                raise _Odd("it is not as long as it says")
        except NewerDrop as newer:
            os.close(descriptor)
            raise _Odd(str(newer), is_moved=False) from None
        except Damaged as damaged:
            os.close(descriptor)
            raise _Odd(str(damaged)) from None
        except BaseException:
            os.close(descriptor)
            raise
        return Dropped(name, _key(status), status.st_uid, _login(status.st_uid), status.st_mtime, head, descriptor)

    def remove(self, dropped: Dropped) -> str:
        """It is delivered. Empty when the file is gone for good, else why it cannot be removed.

        Then it is not sent again while the server runs, and removing is tried at every look.
        """
        try:
            os.unlink(dropped.name, dir_fd=self._folder)
        except FileNotFoundError:
            return ""
        except OSError as error:
            self._done[dropped.key] = dropped.name
            return error.strerror or str(error)
        # Forgetting the removal would cost a second delivery.
        with contextlib.suppress(OSError):
            os.fsync(self._folder)
        return ""

    def set_aside(self, name: str, reason: str) -> Look:
        """A message that can neither be delivered nor go back."""
        found = Look()
        self._put_aside(name, _Odd(reason), found)
        return found

    def _retry_removals(self) -> None:
        for key, name in list(self._done.items()):
            try:
                if _key(os.stat(name, dir_fd=self._folder, follow_symlinks=False)) == key:
                    os.unlink(name, dir_fd=self._folder)
            except FileNotFoundError:
                pass
            except OSError:
                continue
            del self._done[key]

    # --- setting aside ------------------------------------------------------------------------------------------------

    def _put_aside(self, name: str, odd: _Odd, found: Look) -> None:
        try:
            status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        is_moved = odd.is_moved and not stat.S_ISDIR(status.st_mode) and self._move_aside(name)
        if not is_moved:
            self._left.add(_key(status))
        found.tell(Remark(name, _login(status.st_uid), str(odd), is_moved))

    def _move_aside(self, name: str) -> bool:
        try:
            folder = self._aside()
        except OSError:
            return False
        try:
            # A name of ours: theirs may hold anything, and may be there already.
            new = f"{int(time.time() * 1_000_000)}.{os.getpid()}.{next(self._number)}"
            os.rename(name, new, src_dir_fd=self._folder, dst_dir_fd=folder)
        except OSError:
            return False
        finally:
            os.close(folder)
        return True

    def _aside(self) -> int:
        """`set-aside`, opened; whatever else somebody has put there under this name is renamed first."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(FileExistsError):
            os.mkdir(SET_ASIDE, 0o700, dir_fd=self._folder)
        status = os.stat(SET_ASIDE, dir_fd=self._folder, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            os.rename(SET_ASIDE, f"not-{SET_ASIDE}.{time.time_ns()}", src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.mkdir(SET_ASIDE, 0o700, dir_fd=self._folder)
        return os.open(SET_ASIDE, flags, dir_fd=self._folder)


def make_drop_folder(path: Path, uid: int | None = None, gid: int | None = None) -> None:
    """Make a missing folder, for this user if root makes it. What cannot be made is told by `DropFolder.look`."""
    try:
        path.mkdir(0o700)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if uid is not None and gid is not None:
            os.fchown(folder, uid, gid)
        # Some sandboxes allow no set-group-id bit; the names that nobody knows protect the files then.
        for mode in (0o3733, 0o1733):
            with contextlib.suppress(OSError):
                os.fchmod(folder, mode)
                break
    except OSError:
        return
    finally:
        os.close(folder)


def _narrow(folder: int, mode: int) -> None:
    """A folder that others can write keeps them from listing it, and from each other's files."""
    if mode & 0o022:
        wanted = (stat.S_IMODE(mode) | stat.S_ISVTX) & ~0o044
        if wanted != stat.S_IMODE(mode):
            os.fchmod(folder, wanted)


def _check(status: os.stat_result) -> None:
    """Raises `_Odd` for everything but a regular file with one name."""
    if stat.S_ISLNK(status.st_mode):
        raise _Odd("it is a symbolic link")
    if stat.S_ISDIR(status.st_mode):
        raise _Odd("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise _Odd("it is no regular file")
    if status.st_nlink != 1:
        raise _Odd("the file has another name elsewhere")


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


def _key(status: os.stat_result) -> Key:
    # A change of mode or content gives it another chance.
    return status.st_ino, status.st_ctime_ns


def _in_turns(owners: dict[int, list[str]]) -> Iterator[str]:
    """The oldest of each owner, then the second oldest of each; at most `PER_LOOK`."""
    left = PER_LOOK
    for place in range(PER_OWNER):
        for names in owners.values():
            if place < len(names) and left:
                left -= 1
                yield names[place]


def _login(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid{uid}"
