"""Listing one Maildir for a POP3 session: which files, in which order, from names alone (design sections 5 and 8).

Blocking, no Twisted. Only regular files of `new/` and `cur/` count; folders of Maildir++ do not. A FIFO, a symlink, a
folder or a device is passed over and told. No file is opened and, on file systems that give types with names, none is
looked at.
"""

import os
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from mailserver.store.maildir_names import base_of, delivery_order, unique_of

PLACES = ("new", "cur")
# Others may move files while we list; after so many rounds what was seen last is taken.
_MAX_ROUNDS = 3
# `1750000000.M000042P`: where names begin like this, text order is delivery order but for ties. Looked at is what
# stands between and behind the digits; nobody else's names have all three.
_MOMENT = itemgetter(slice(18))
_SHAPE = itemgetter(10, 11, 18)
_OURS = {(".", "M", "P")}


@dataclass(slots=True)
class Listing:
    """`paths` are relative to the Maildir, in delivery order. `ignored` names what was passed over."""

    paths: list[str]
    ignored: list[str]
    stamp: tuple[int, int]


def stamp_of(folder: str) -> tuple[int, int]:
    """Changes whenever a name in `new/` or `cur/` does, within the kernel's tick. Raises `OSError`."""
    return _modified(f"{folder}/new"), _modified(f"{folder}/cur")


def _modified(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def list_maildir(folder: str) -> Listing:
    """All messages of a Maildir; one that does not exist is empty. Raises `OSError`.

    A rename within `cur/` while it is read can hide a file or show it twice, so the listing is repeated when the
    folders changed meanwhile. `new/` is read first: a message on its way to `cur/` is then seen twice rather than
    missed, and `_seen_once` takes care of that.
    """
    stamp = stamp_of(folder)
    for _ in range(_MAX_ROUNDS):
        ignored: list[str] = []
        new, cur = (_regular_files(folder, place, ignored) for place in PLACES)
        again = stamp_of(folder)
        if again == stamp:
            break
        stamp = again
    if new and cur:
        new, cur = _seen_once(folder, new, cur)
    return Listing(_ordered(new, cur), ignored, stamp)


def _regular_files(folder: str, place: str, ignored: list[str]) -> list[str]:
    """Names in one of the two folders. Names with a leading dot are nobody's messages (Maildir)."""
    try:
        entries = os.scandir(f"{folder}/{place}")
    except FileNotFoundError:
        return []
    with entries:
        found = list(entries)
    names = [entry.name for entry in found if entry.is_file(follow_symlinks=False)]
    if len(names) < len(found):
        others = {entry.name for entry in found}.difference(names)
        ignored += [f"{place}/{name}" for name in sorted(others) if not name.startswith(".")]
    if names and min(names).startswith("."):
        names = [name for name in names if not name.startswith(".")]
    return names


def _seen_once(folder: str, new: list[str], cur: list[str]) -> tuple[list[str], list[str]]:
    """Drop one of two names of the same file: it moved while we looked, or a crash left both links behind."""
    in_new = {base_of(name): name for name in new}
    gone_new, gone_cur = set(), set()
    for name in cur:
        twin = in_new.get(name.partition(":")[0])
        if twin is None:
            continue
        first, second = _inode(f"{folder}/new/{twin}"), _inode(f"{folder}/cur/{name}")
        if second is None:
            gone_cur.add(name)
        elif first is None or first == second:
            gone_new.add(twin)
    if gone_new:
        new = [name for name in new if name not in gone_new]
    if gone_cur:
        cur = [name for name in cur if name not in gone_cur]
    return new, cur


def _inode(path: str) -> int | None:
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None


def _ordered(new: list[str], cur: list[str]) -> list[str]:
    """Relative paths by delivery order. Text order where that is the same, which is six times as fast."""
    names = new + cur
    is_text_order = _sort_as_text(names)
    if not new or not cur:
        names.sort(key=None if is_text_order else delivery_order)
        place = "new/" if new else "cur/"
        return [place + name for name in names]
    # The place rides behind the name, where it decides nothing unless two files have the same name.
    marked = [name + "/n" for name in new] + [name + "/c" for name in cur]
    marked.sort(key=None if is_text_order else lambda name: delivery_order(name[:-2]))
    return [("new/" if name.endswith("n") else "cur/") + name[:-2] for name in marked]


def _sort_as_text(names: list[str]) -> bool:
    """Whether all names begin as ours do (`1750000000.M000042P`) and no two with the same moment."""
    try:
        return set(map(_SHAPE, names)) <= _OURS and len(set(map(_MOMENT, names))) == len(names)
    except IndexError:  # a name that is shorter
        return False


def unique_parts(paths: list[str]) -> list[str]:
    """The unique part of each path's name."""
    parts = [path[4:].partition(",")[0] for path in paths]
    return [unique_of(part) if ":" in part else part for part in parts]
