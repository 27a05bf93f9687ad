"""What Maildirs held at the last look, so that a client that polls does not have them listed each time.

Blocking, no Twisted. What was seen of a Maildir is used again while `new/`, `cur/` and the index are to the kernel what
they were: the same inodes with the same times. Every name that comes, goes or changes, whoever does it, moves the
modification time of its folder; and a program that sets that time back moves the change time.

Times move in ticks, so two changes within one tick look like one. As git does with its index, nothing is remembered of
what changed so shortly before the look that another change could still get the same time.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mailserver.store.maildrop_index import NAME
from mailserver.store.maildrop_scan import PLACES, Listing

# Ticks are some milliseconds; file systems of old count whole seconds, and those of other hosts by other clocks.
QUIET_NS = 2_000_000_000
# In all mailboxes together, some 150 octets each.
MAX_NAMES = 200_000

# Of `new/`, `cur/` and the index: device, inode, size, modification and change time; None for what is not there.
Fingerprint = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """A Maildir at one moment; none of it may be changed. `sizes` are octets as sent, in the order of the listing."""

    listing: Listing
    sizes: list[int]
    unique_ids: dict[str, str]


def fingerprint_of(folder: str) -> Fingerprint:
    """Changes with every name in the Maildir, and with its index. Raises `OSError`."""
    return tuple(_identity(f"{folder}/{name}") for name in (*PLACES, NAME))


def _identity(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a `Path` for each would cost as much as the call
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class MaildropMemory:
    """What was seen lately, the least recently used forgotten first. May be used from several threads."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns, max_names: int = MAX_NAMES) -> None:
        self._now_ns = now_ns
        self._max_names = max_names
        self._names = 0
        self._seen: OrderedDict[str, tuple[Fingerprint, Contents]] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, folder: str) -> tuple[Fingerprint, int, Contents | None]:
        """The fingerprint and the moment, to be taken before a listing, and what makes the listing needless."""
        moment, fingerprint = self._now_ns(), fingerprint_of(folder)
        with self._lock:
            kept = self._seen.get(folder)
            if kept is None or kept[0] != fingerprint:
                return fingerprint, moment, None
            self._seen.move_to_end(folder)
            return fingerprint, moment, kept[1]

    def keep(self, folder: str, fingerprint: Fingerprint, moment: int, contents: Contents) -> None:
        """Remember what was listed after `look`, if nothing changed meanwhile or shortly before. Raises `OSError`."""
        newest = max((time_ns for one in fingerprint if one for time_ns in one[3:]), default=0)
        is_certain = newest < moment - QUIET_NS and fingerprint_of(folder) == fingerprint
        with self._lock:
            self._forget(folder)
            if is_certain and len(contents.sizes) <= self._max_names:
                self._seen[folder] = fingerprint, contents
                self._names += len(contents.sizes)
            while self._names > self._max_names:
                self._forget(next(iter(self._seen)))

    def _forget(self, folder: str) -> None:
        kept = self._seen.pop(folder, None)
        if kept is not None:
            self._names -= len(kept[1].sizes)
