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

Delivered twice: only a kill or a power cut between the commit and the synced removal right behind it leaves this.
Nothing makes the two one step, and removing first would lose mail. Anything else: a link, a file with a second name, a
FIFO, a device, a foreign or damaged format, a file that is too large, a name that `sendmail` does not give.

`set-aside/` is a folder of the server's own, mode 0700, made when it is needed.
"""

import bisect
import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from mailserver.store.drop_folders import SET_ASIDE, narrow, open_set_aside
from mailserver.store.drop_format import MAX_DROP_HEAD_OCTETS, TEMPORARY_PREFIX, is_drop_name
from mailserver.store.drop_message import Dropped, Key, Odd, check_regular, key_of, login_of, open_dropped
from mailserver.store.files import DISK, Files

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


class DropFolder:
    """One server's hold on the folder. Calls come one at a time, in any thread. `max_octets` bounds a whole file."""

    def __init__(self, path: Path, *, max_octets: int, files: Files = DISK) -> None:
        self.path = path
        self._files = files
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
                raise OSError(f"it belongs to {login_of(status.st_uid)} and not to {login_of(os.geteuid())}")
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError("another server picks up there; give this one a folder of its own") from None
            narrow(self._files, folder, status.st_mode)
        except OSError:
            os.close(folder)
            raise
        self._folder = folder
        self._left.clear()

    def _explained(self, error: OSError) -> str:
        reason = (error.strerror or str(error)).lower()
        user = login_of(os.geteuid())
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
                except Odd as odd:
                    self._put_aside(entry.name, odd, found)
                    continue
                except OSError as error:
                    self._pass_over(entry, error, found)
                    continue
                if owner is not None:
                    names = owners.setdefault(owner, [])
                    bisect.insort(names, entry.name)
                    del names[PER_OWNER:]
        found.names = list(_in_turns(owners))
        is_settled = not found.names and time.time_ns() - mtime > _CLOCK_TICK_S * 1e9
        self._listed_mtime = mtime if is_settled else None
        self._listed_at = time.monotonic()

    def _pass_over(self, entry: "os.DirEntry[str]", error: OSError, found: Look) -> None:
        """Nobody but its owner may look at it, as at a user's own mount (FUSE): that must not stop anybody's mail."""
        key = entry.inode(), 0
        if key not in self._left:
            self._left.add(key)
            found.tell(Remark(entry.name, "", f"it cannot be looked at: {error.strerror}", is_moved=False))

    def _owner_of_message(self, entry: "os.DirEntry[str]") -> int | None:
        """Whose message this may be; None when it is none, or not yet. Raises `Odd` or `OSError`."""
        if entry.name == SET_ASIDE:
            return None
        status = entry.stat(follow_symlinks=False)
        if entry.name.startswith(TEMPORARY_PREFIX) and stat.S_ISREG(status.st_mode):
            if time.time() - status.st_ctime > _TEMPORARY_AGE_S:
                self._files.unlink_in(self._folder, entry.name)
            return None
        if key_of(status) in self._left or key_of(status) in self._done:
            return None
        check_regular(status)
        if not is_drop_name(entry.name):
            raise Odd("the name is none that sendmail gives")
        return status.st_uid

    # --- one message --------------------------------------------------------------------------------------------------

    def open(self, name: str) -> Dropped | Look:
        """One of the names; a `Look` (with a remark, or empty when it is gone) when it is no message after all.

        Raises `OSError` when the disk is in trouble.
        """
        found = Look()
        try:
            return open_dropped(self._folder, name, self._max_octets)
        except FileNotFoundError:
            return found
        except Odd as odd:
            self._put_aside(name, odd, found)
        return found

    def remove(self, dropped: Dropped) -> str:
        """It is delivered. Empty when the file is gone for good, else why it cannot be removed.

        Then it is not sent again while the server runs, and removing is tried at every look.
        """
        try:
            self._files.unlink_in(self._folder, dropped.name)
        except FileNotFoundError:
            return ""
        except OSError as error:
            self._done[dropped.key] = dropped.name
            return error.strerror or str(error)
        # Forgetting the removal would cost a second delivery.
        with contextlib.suppress(OSError):
            self._files.sync_opened_folder(self._folder)
        return ""

    def set_aside(self, name: str, reason: str) -> Look:
        """A message that can neither be delivered nor go back."""
        found = Look()
        self._put_aside(name, Odd(reason), found)
        return found

    def _retry_removals(self) -> None:
        for key, name in list(self._done.items()):
            try:
                if key_of(os.stat(name, dir_fd=self._folder, follow_symlinks=False)) == key:
                    self._files.unlink_in(self._folder, name)
            except FileNotFoundError:
                pass
            except OSError:
                continue
            del self._done[key]

    # --- setting aside ------------------------------------------------------------------------------------------------

    def _put_aside(self, name: str, odd: Odd, found: Look) -> None:
        try:
            status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:  # gone, or a user's own mount by now; the next look tells
            return
        is_moved = odd.is_moved and not stat.S_ISDIR(status.st_mode) and self._move_aside(name)
        if not is_moved:
            self._left.add(key_of(status))
        found.tell(Remark(name, login_of(status.st_uid), str(odd), is_moved))

    def _move_aside(self, name: str) -> bool:
        try:
            folder = open_set_aside(self._files, self._folder)
        except OSError:
            return False
        try:
            # A name of ours: theirs may hold anything, and may be there already.
            new = f"{int(time.time() * 1_000_000)}.{os.getpid()}.{next(self._number)}"
            self._files.rename_in(self._folder, name, folder, new)
        except OSError:
            return False
        finally:
            os.close(folder)
        return True


def _in_turns(owners: dict[int, list[str]]) -> Iterator[str]:
    """The oldest of each owner, then the second oldest of each; at most `PER_LOOK`."""
    left = PER_LOOK
    for place in range(PER_OWNER):
        for names in owners.values():
            if place < len(names) and left:
                left -= 1
                yield names[place]
