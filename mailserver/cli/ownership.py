"""The command line run as root becomes the owner of the state folder before it writes (design section 5).

Files that root made would be out of the server's reach, and root must not follow what another user may have put into
folders of theirs. The change is for good: the process does its one thing and ends.
"""

import os
import pwd
import stat
from pathlib import Path

from mailserver.cli.context import CliContext, Refusal
from mailserver.config import Config
from mailserver.store.accounts_edit import lock_path


def become_owner(context: CliContext, config: Config) -> None:
    """Take on the user and group of the state folder; of the accounts file or its folder when there is none yet.

    Raises `Refusal` for a user who is neither root nor that owner, and for root where somebody else has put a link in
    the way.
    """
    place = _place(config)
    status = place.stat()
    if os.geteuid() != 0:
        if status.st_uid != os.geteuid():
            raise Refusal(f"{place} belongs to {_name(status.st_uid)}: {_run_as(status.st_uid)}")
        _check_reach(config.accounts.file, status.st_uid)
        return
    if not config.storage.state.exists() and not config.accounts.file.exists():
        context.warn(
            f"{config.storage.state} does not exist yet, so it is not known which user the server will run as; "
            f"{config.accounts.file} will belong to {_name(status.st_uid)}, like {place}"
        )
    if status.st_uid == 0:
        for path in (place, config.accounts.file):
            _check_links(path)
        return
    _give_lock(config.accounts.file, status.st_uid, status.st_gid)
    _become(status.st_uid, status.st_gid)
    _check_reach(config.accounts.file, status.st_uid)


def reading_hint(config: Config, path: Path) -> str:
    """What to put behind "cannot be read" when it is only that somebody else asked; else empty."""
    place = _place(config)
    uid = place.stat().st_uid
    if os.geteuid() in (0, uid) or os.access(path, os.R_OK):
        return ""
    return f"; {place} belongs to {_name(uid)}: {_run_as(uid)}"


def _run_as(uid: int) -> str:
    return f"run this as root or as that user (sudo -u {_name(uid)} mailserver ...)"


def _place(config: Config) -> Path:
    """What tells the owner. The root folder exists, so there is always an answer."""
    for path in (config.storage.state, config.accounts.file, *config.accounts.file.parents):
        # Not Path.exists, which raises where a folder on the way may not be searched.
        if os.path.exists(path):  # noqa: PTH110 - see above
            return path
    raise AssertionError("a path that is absolute has an existing parent")


def _check_links(path: Path) -> None:
    """Root stays root for what belongs to root; a link of another user's must not make that so."""
    for part in (path, *path.parents):
        try:
            status = part.lstat()
        except OSError:
            continue
        if stat.S_ISLNK(status.st_mode) and status.st_uid != 0:
            raise Refusal(
                f"{part} is a link that belongs to {_name(status.st_uid)} and leads to what belongs to root: root does "
                "not follow it; put the folder itself there, or name it in the configuration"
            )


def _give_lock(accounts: Path, uid: int, gid: int) -> None:
    """A lock file that root made before there was a state folder would stay out of the owner's reach.

    Only an empty plain file with one name: in a folder of another user's, the name could be a link to anything.
    """
    try:
        descriptor = os.open(lock_path(accounts), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and (status.st_uid, status.st_nlink, status.st_size) == (0, 1, 0):
            os.fchown(descriptor, uid, gid)
    finally:
        os.close(descriptor)


def _become(uid: int, gid: int) -> None:
    try:
        os.initgroups(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)


def _check_reach(accounts: Path, uid: int) -> None:
    """The accounts file is replaced, so its folder has to be writable: for this command and for the server alike."""
    if accounts.exists() and not os.access(accounts, os.R_OK):
        raise Refusal(
            f"{accounts} cannot be read by {_name(uid)}, the user the server runs as: give it to that user "
            f"(chown {_name(uid)} {accounts})"
        )
    folder = next(parent for parent in accounts.parents if parent.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        mend = f"make it writable (chmod u+rwx {folder})"
        if folder.stat().st_uid != uid:
            mend = f"give it to that user (chown {_name(uid)} {folder})"
        raise Refusal(
            f"{folder} cannot be written by {_name(uid)}, the user the server runs as: {mend}, or name another place "
            "in accounts.file"
        )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
