"""Puts files in place of others: whole or not at all, the old one beside it as `NAME.old`. Blocking; durable.

| A crash leaves | Who cleans it up |
| --- | --- |
| `.NAME.setup` beside the file | the next setup |
| `NAME.old` without the new file | nobody: it is a copy of what is still in force |
| some files new, others old | the next setup, which shows the rest again |
"""

import os
from collections.abc import Iterable
from pathlib import Path

from mailserver.identity import Identity
from mailserver.setup.changes import Changes
from mailserver.setup.machine_files import Owner, PlannedFile
from mailserver.store.files import DISK, Files


def write_changes(found: Changes, service: Identity | None, files: Files = DISK) -> None:
    """All that changes, and setup's note last. `service` owns what is the service's; None: whoever runs this."""
    for one in found.made:
        if one.before is not None:
            _keep_old(one.file.path, one.before, files)
        put(one.file, service, files)
    put(found.record, service, files)


def _keep_old(path: Path, text: str, files: Files) -> None:
    """Beside it, and readable by nobody who might not read the file itself: the owner may have secrets in it."""
    status = path.stat()
    service = Identity(status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    old = path.with_name(f"{path.name}.old")
    files.discard(str(old))
    put(PlannedFile(old, text, "", status.st_mode & 0o7777, Owner.SERVICE), service, files)


def put(file: PlannedFile, service: Identity | None, files: Files = DISK) -> None:
    """One file, atomic and durable. One that is there keeps its mode, and its owner. Raises `OSError`."""
    # A link stays a link: what it points to is replaced.
    path = Path(os.path.realpath(file.path))
    make_readable_folders(path.parent)
    mode, uid, gid = file.mode, -1, -1
    if file.owner is Owner.SERVICE and service is not None:
        uid, gid = service.uid, service.gid
    if path.exists():
        status = path.stat()
        mode = status.st_mode & 0o7777
        if os.geteuid() == 0:
            uid, gid = status.st_uid, status.st_gid
    temporary = str(path.with_name(f".{path.name}.setup"))
    files.discard(temporary)
    descriptor = files.create(temporary)
    try:
        try:
            files.write(descriptor, (file.text.encode("utf-8", "surrogateescape"),))
            if uid != -1:
                files.set_owner(descriptor, uid, gid)
            files.set_mode(descriptor, mode)
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        files.rename(temporary, str(path))
    except OSError:
        files.discard(temporary)
        raise
    files.sync_folder(str(path.parent))


def make_readable_folders(folder: Path) -> None:
    """A folder of the system's with its parents, which everybody may read."""
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    for one in reversed(missing):
        one.mkdir(mode=0o755, exist_ok=True)
        one.chmod(0o755)


def is_unbegun(folder: Path) -> bool:
    """Whether a state folder is root's and empty: somebody made it, or a crash came before it was handed over."""
    try:
        return folder.stat().st_uid == 0 and not any(folder.iterdir())
    except FileNotFoundError:
        return True
    except PermissionError:
        return False


def make_state_folders(folders: Iterable[Path], service: Identity | None, files: Files = DISK) -> None:
    """Folders that are the server's alone: mode 0700, and the service user's when root makes them."""
    for folder in folders:
        if folder.is_dir() and not is_unbegun(folder):
            continue
        make_readable_folders(folder.parent)
        files.make_folder(str(folder))
        folder.chmod(0o700)
        if service is not None:
            os.chown(folder, service.uid, service.gid, follow_symlinks=False)
        files.sync_folder(str(folder.parent))
