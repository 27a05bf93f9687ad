"""What is put into a backup while the server goes on: the queue, the Maildirs, the state folder. Blocking.

The order is the promise. **The queue comes before the Maildirs**: what leaves the queue in between is found in its
mailbox, and what is found in both is not filed twice after a restore, because the file's name tells (`refile`). What
was acknowledged before the backup began is therefore in it, once.

*A queued message that is gone before it was copied* has become something else: letters in mailboxes, a report, a copy
for the addresses behind an alias. So the queue is listed again, until nothing vanished; such a chain has few links.

*A letter that is renamed while its Maildir is read* (seen, flagged, moved to another folder) keeps its unique name; all
folders of a Maildir are listed anew until every old name is there.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mailserver.mail.ids import is_queue_id
from mailserver.store.backup_copy import Copier
from mailserver.store.backup_format import MAILDIRS, NOT_KEPT, QUEUE, STATE, BackupTrouble
from mailserver.store.maildir_names import base_of, delivery_order
from mailserver.store.spool_format import SpoolPaths

# A message, the copy for an alias, a report, the postmaster's copy of it: no chain in the queue is longer.
_QUEUE_LINKS = 5
# A copy that is not needed any more is dropped in the first rounds only: what the message has become is the next link,
# and there must be a round left for each.
_DROPPING_ROUNDS = 3
_QUEUE_ROUNDS = _DROPPING_ROUNDS + _QUEUE_LINKS
# Somebody who renames all letters of a mailbox all the time does not keep the backup from its end.
_MAILDIR_ROUNDS = 20
_PARTS = ("new", "cur")
# No program keeps folders so deep in a Maildir.
_MAX_DEPTH = 16
_FOLDER_PARTS = frozenset(("new", "cur", "tmp"))


def copy_queue(copier: Copier, state: Path) -> int:
    """Every message that waits, with its state; how many."""
    paths = SpoolPaths(state)
    kept: set[str] = set()
    for turn in range(_QUEUE_ROUNDS):
        has_vanished = False
        for name in sorted(_ids(paths.messages) - kept):
            source = f"{paths.messages}/{name}"
            if copier.copy(source, _message(name), same_as=_message(name)):
                kept.add(name)
                copier.copy(f"{paths.states}/{name}", _state(name))
            elif not copier.has_left_out(source):
                has_vanished = True
        # What was done meanwhile need not be done again; what became of it is in the next listing, or in a mailbox.
        for name in kept - _ids(paths.messages) if turn < _DROPPING_ROUNDS else ():
            has_vanished = True
            kept.discard(name)
            for path in (_message(name), _state(name)):
                if path in copier.entries:
                    copier.discard(path)
        if not has_vanished:
            break
    for part in ("messages", "states"):
        copier.folder(f"{QUEUE}/{part}")
    return len(kept)


def _message(name: str) -> str:
    return f"{QUEUE}/messages/{name}"


def _state(name: str) -> str:
    return f"{QUEUE}/states/{name}"


def _ids(folder: Path) -> set[str]:
    return {name for name in names_in(str(folder)) if is_queue_id(name)}


# --- Maildirs ---------------------------------------------------------------------------------------------------------


def maildirs_of(root: Path) -> Iterator[str]:
    """`<domain>/<local-part>` of every Maildir below the root."""
    for domain in sorted(_folders(str(root))):
        for local in sorted(_folders(f"{root}/{domain}")):
            yield f"{domain}/{local}"


def copy_maildirs(copier: Copier, root: Path, began: float, known: Iterable[str]) -> int:
    """Every Maildir; how many letters. `known` are the paths that the backup before this one has below `maildirs`."""
    before = {_key(path): path for path in known}
    letters = 0
    for name in maildirs_of(root):
        letters += _copy_maildir(copier, f"{root}/{name}", f"{MAILDIRS}/{name}", began, before)
    copier.folder(MAILDIRS)
    return letters


def _key(path: str) -> tuple[str, str]:
    """Maildir and unique name of a letter in a backup, whatever folder and flags."""
    return "/".join(path.split("/", 3)[:3]), base_of(path.rpartition("/")[2])


def _copy_maildir(copier: Copier, maildir: str, target: str, began: float, before: dict[tuple[str, str], str]) -> int:
    done: set[str] = set()
    for turn in range(_MAILDIR_ROUNDS):
        has_vanished, has_missed = False, False
        for folder, part, name in _letters(maildir):
            base, source = base_of(name), f"{maildir}/{folder}{part}/{name}"
            if base in done or copier.has_left_out(source):
                continue
            has_missed = has_missed or turn == 0 or delivery_order(name)[0] <= began
            path = f"{target}/{folder}{part}/{name}"
            # Linked where the backup before has it, under whatever flags; its own path where that has none.
            if copier.copy(source, path, same_as=before.get((target, base), path)):
                done.add(base)
            elif not copier.has_left_out(source):
                has_vanished = True
        if not has_missed and not has_vanished:
            break
    for folder in _maildir_folders(maildir):
        for part in _PARTS:
            copier.folder(f"{target}/{folder}{part}")
        _copy_rest(copier, f"{maildir}/{folder}", f"{target}/{folder}")
    return len(done)


def _copy_rest(copier: Copier, folder: str, target: str, depth: int = 0) -> None:
    """What lies beside the letters: indexes, subscriptions, folders of other programs (sieve). Both end in a slash."""
    for name in names_in(folder):
        path = f"{folder}{name}"
        if name.endswith(".lock") or (depth == 0 and (name in _FOLDER_PARTS or _is_mail_folder(path, name))):
            continue
        if _is_file(path):
            copier.copy(path, f"{target}{name}")
        elif _is_kind(path, stat.S_ISDIR) and depth < _MAX_DEPTH:
            _copy_rest(copier, f"{path}/", f"{target}{name}/", depth + 1)
        else:
            copier.leave_out(path, "is neither file nor folder")


def _is_mail_folder(path: str, name: str) -> bool:
    return name.startswith(".") and os.path.isdir(path)  # noqa: PTH112 - as `_folders`


def _letters(maildir: str) -> Iterator[tuple[str, str, str]]:
    """Folder, part and name of every letter. All names are read before the first is given; `new` before `cur`, for
    letters go that way."""
    return iter(
        [
            (folder, part, name)
            for folder in _maildir_folders(maildir)
            for part in _PARTS
            for name in names_in(f"{maildir}/{folder}{part}")
            if not name.startswith(".")
        ]
    )


def _maildir_folders(maildir: str) -> list[str]:
    """The Maildir itself, as an empty text, and the folders in it, each with a slash behind."""
    return ["", *(f"{name}/" for name in sorted(_folders(maildir)) if name.startswith("."))]


# --- the state folder -------------------------------------------------------------------------------------------------

_DATABASE = ".sqlite3"
_OF_DATABASES = (_DATABASE, f"{_DATABASE}-wal", f"{_DATABASE}-shm", f"{_DATABASE}-journal")


def copy_state(copier: Copier, state: Path, leaves_out: Iterable[Path]) -> list[Path]:
    """Everything else in the state folder but what is in `leaves_out`.

    Gives back the databases there, which are not copied here. What is left out is known by its inode: it may have
    been named through a link, and a backup that lies here must not take itself.
    """
    left_out = {_identity(str(path)) for path in leaves_out} - {None}
    databases: list[Path] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for name in sorted(names_in(f"{state}/{folder}")):
            path = f"{state}/{folder}{name}"
            if _identity(path) in left_out or (not folder and name in NOT_KEPT) or name.endswith((".lock", ".tmp")):
                continue
            if name.endswith(_OF_DATABASES):
                if name.endswith(_DATABASE) and _is_file(path):
                    databases.append(Path(path))
            elif _is_kind(path, stat.S_ISDIR):
                waiting.append(f"{folder}{name}/")
            elif _is_file(path):
                copier.copy(path, f"{STATE}/{folder}{name}")
            else:
                copier.leave_out(path, "is neither file nor folder")
    copier.folder(STATE)
    return databases


# --- folders ----------------------------------------------------------------------------------------------------------


def names_in(folder: str) -> list[str]:
    """What is in a folder; nothing when it is not there. Raises `BackupTrouble` when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise BackupTrouble(f"{folder} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _folders(folder: str) -> list[str]:
    """Links to folders are followed: a mailbox may have been moved to another disk."""
    return [name for name in names_in(folder) if os.path.isdir(f"{folder}/{name}")]  # noqa: PTH112


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of what a path leads to; None for nothing."""
    try:
        status = os.stat(path)  # noqa: PTH116 - for every file of the state folder
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_file(path: str) -> bool:
    return _is_kind(path, stat.S_ISREG)


def _is_kind(path: str, fits: Callable[[int], bool]) -> bool:
    try:
        return fits(os.lstat(path).st_mode)
    except OSError:
        return False
