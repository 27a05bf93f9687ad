"""One Maildir as a place to write to: folders made when first needed, names that never repeat (design section 5).

Blocking, no Twisted. A message is written to `tmp/`, synced, renamed into `new/`, and `new/` is synced; who calls does
the last two, because a group of messages shares them (`commit`). Content is stored with LF line ends.

States that a crash can leave, and who cleans them up:

| state | what it means | cleaned up by |
|---|---|---|
| a folder without `tmp/`, or a part of it | made just now, no 250 yet | the next message makes the rest |
| a file in `tmp/` | never acknowledged | `sweep` at start, and after 36 hours for what other programs leave |
| a file in `new/`, not acknowledged | the crash came before the 250 | nobody: the sender repeats it |
"""

import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from mailserver.mail.address import Mailbox
from mailserver.mail.junk import JUNK_FOLDER
from mailserver.store.files import DISK, Files
from mailserver.store.maildir_names import build_name
from mailserver.store.paths import is_subfolder, maildir_path, subfolder_path
from mailserver.store.subscriptions import subscribe

# D. J. Bernstein's page on Maildir: anything in tmp/ not touched for 36 hours may go.
STALE_AFTER_S = 36 * 3600
_OURS = re.compile(r"\d+\.(M\d+)?P\d+Q\d+\.")
# Folder names of this many mailboxes are remembered; working one out costs more than writing a small file's name.
_REMEMBERED_FOLDERS = 10_000


class Maildirs:
    """All Maildirs below one root, for writing.

    `host` goes into file names; `now` answers seconds since the epoch. What was queued before `started_at` may have
    been filed by a process that was killed (`find`). Threads may share it: names come from one counter.
    """

    def __init__(
        self,
        files: Files,
        root: Path,
        host: str,
        now: Callable[[], float] = time.time,
        *,
        started_at: float = 0.0,
    ) -> None:
        self._files = files
        self.root = root
        self._host = host
        self._now = now
        self._pid = os.getpid()
        self._counter = itertools.count(1)
        self._last_us = 0
        self.started_at = started_at
        self._folders: dict[Mailbox, str] = {}

    def folder(self, mailbox: Mailbox, name: str = "") -> str:
        """The Maildir's path, or that of the folder `name` inside it; it may not exist yet."""
        folder = self._folders.get(mailbox)
        if folder is None:
            if len(self._folders) >= _REMEMBERED_FOLDERS:
                self._folders.clear()
            folder = self._folders[mailbox] = str(maildir_path(self.root, mailbox))
        return subfolder_path(folder, name) if name else folder

    def name(self, stored_octets: int, wire_octets: int, counter: int = 0) -> str:
        """A file name that was never given before: time never runs back within a process, and a counter rides along.

        `counter`, if not 0, takes the place of the counter.
        """
        self._last_us = max(self._last_us + 1, int(self._now() * 1_000_000))
        seconds, microseconds = divmod(self._last_us, 1_000_000)
        counter = counter or next(self._counter)
        return build_name(seconds, microseconds, self._pid, counter, self._host, stored_octets, wire_octets)

    def find(self, folder: str, counter: int, stored_octets: int) -> str:
        """The path of the file in `new/` or `cur/` whose name has this counter and size; empty for none.

        Lists the folders: some tens of milliseconds for a hundred thousand messages. Raises `OSError`.
        """
        ours, size = f"Q{counter}.", f",S={stored_octets},"
        for place in ("new", "cur"):
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(f"{folder}/{place}"):
                    if ours in name and size in name:
                        return f"{folder}/{place}/{name}"
        return ""

    def temporary_name(self) -> str:
        """A name for `tmp/` where the sizes are not known yet."""
        return f"{int(self._now())}.P{self._pid}Q{next(self._counter)}.{self._host}"

    def create(self, folder: str, name: str) -> tuple[str, int]:
        """A new file in the Maildir's `tmp/`: its path and descriptor. Makes the Maildir when it is not there."""
        path = f"{folder}/tmp/{name}"
        try:
            return path, self._files.create(path)
        except FileNotFoundError:
            self.make(folder)
            return path, self._files.create(path)

    def move_in(self, temporary: str, final: str) -> None:
        """Rename a file of `tmp/` to its name in `new/`. When somebody removed `new/`, it is made again, once."""
        try:
            self._files.rename(temporary, final)
        except FileNotFoundError:
            self.make(os.path.dirname(os.path.dirname(final)))
            self._files.rename(temporary, final)

    def ensure(self, folder: str) -> None:
        """Make the Maildir if it is not there. Raises `OSError`."""
        if not os.path.isdir(f"{folder}/tmp"):
            self.make(folder)

    def make(self, folder: str) -> None:
        """Make the Maildir, or what is missing of it; every new name is durable in its parent when this returns.

        A folder inside a Maildir (Maildir++) is marked as such for other programs, and subscribed.

        `tmp/` comes last and counts as the mark that the rest is durable: as long as it is missing, each message makes
        sure of the rest. A power cut may take `tmp/` itself, which costs nothing.
        """
        is_inside = is_subfolder(folder)
        maildir = os.path.dirname(folder)
        if is_inside:
            self.ensure(maildir)
        self._files.make_folders(folder)
        self._files.make_folder(f"{folder}/new")
        self._files.make_folder(f"{folder}/cur")
        if is_inside:
            with contextlib.suppress(FileExistsError):
                self._files.close(self._files.create(f"{folder}/maildirfolder"))
            subscribe(self._files, maildir, folder.rpartition("/.")[2])
        self._files.sync_folder(folder)
        self._files.make_folder(f"{folder}/tmp")


def sweep(root: Path, own_host: str, now: float, files: Files = DISK) -> int:
    """Remove what a crash left in `tmp/` of every Maildir below `root`; the number of files removed.

    Ours go at once, other programs' after 36 hours untouched. Called at start, before the first connection, so nothing
    of ours is being written. Never raises: what cannot be looked at or removed (`lost+found`, a file that another
    program removes just now) is left for the next start.
    """
    removed = 0
    for domain in _folders(root):
        for maildir in _folders(domain):
            removed += _sweep_one(maildir, own_host, now, files)
            # Only the folders that we write to: another program may keep thousands.
            removed += _sweep_one(Path(subfolder_path(str(maildir), JUNK_FOLDER)), own_host, now, files)
    return removed


def _sweep_one(maildir: Path, own_host: str, now: float, files: Files) -> int:
    removed = 0
    for entry in _entries(maildir / "tmp"):
        try:
            if _is_stale(entry, own_host, now):
                files.unlink(entry.path)
                removed += 1
        except OSError:
            continue
    return removed


def _is_stale(entry: "os.DirEntry[str]", own_host: str, now: float) -> bool:
    if not entry.is_file(follow_symlinks=False):
        return False
    # Other programs of this host name their files alike, but none has our counter; theirs may be in use.
    is_ours = _OURS.match(entry.name) is not None and f".{own_host}" in entry.name
    return is_ours or now - entry.stat(follow_symlinks=False).st_mtime > STALE_AFTER_S


def _folders(path: Path) -> list[Path]:
    return [path / entry.name for entry in _entries(path) if _is_folder(entry)]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _entries(path: Path) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:
        return []
