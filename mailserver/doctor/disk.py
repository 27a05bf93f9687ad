"""The disks and what lies on them: room, kinds of file systems, who may read what, the last backup."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mailserver.config import Config
from mailserver.doctor.check import Check, failed, passed, skipped, unknown, warned

# File systems whose promises about fsync and rename are not those that "250 means on disk" needs.
_NETWORK = frozenset(("nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "vboxsf", "davfs"))
_FORGETFUL = frozenset(("tmpfs", "ramfs"))
_FOREIGN = frozenset(("vfat", "exfat", "ntfs", "ntfs3", "fuseblk", "msdos"))
_MAX_FILES = 2000
# As for the server, which puts mail off then (net.committer).
MIN_FREE_INODES = 1000


# --- room -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Room:
    """One file system that `keys` of the configuration lie on. `free_inodes` None: it has as many as it likes."""

    keys: tuple[str, ...]
    path: Path
    free_octets: int
    free_inodes: int | None


def rooms(config: Config) -> list[Room]:
    """Each file system once. Blocks for a moment; raises `OSError`."""
    found: dict[int, Room] = {}
    for key, path in (("storage.maildirs", config.storage.maildirs), ("storage.state", config.storage.state)):
        there = _nearest(path)
        device = there.stat().st_dev
        room = os.statvfs(there)
        keys = (*found[device].keys, key) if device in found else (key,)
        inodes = room.f_favail if room.f_files else None
        found[device] = Room(keys, there, room.f_bavail * room.f_frsize, inodes)
    return list(found.values())


def check_room(found: Iterable[Room], min_free: int) -> Iterator[Check]:
    """More is free than `min_free` octets, below which new mail is put off."""
    for room in found:
        about = " and ".join(room.keys)
        free = f"{octets(room.free_octets)} free at {room.path}"
        remedy = f"make room there (du -x --max-depth=2 {room.path}), or move it to a larger disk"
        if room.free_inodes is not None and room.free_inodes < MIN_FREE_INODES:
            found_inodes = f"{room.free_inodes} free inodes at {room.path}: new mail is put off with 452"
            yield failed("disk", found_inodes, "remove many small files there", about)
        elif room.free_octets < min_free:
            yield failed("disk", f"{free}, less than storage.min_free: new mail is put off with 452", remedy, about)
        elif room.free_octets < 3 * min_free:
            yield warned("disk", f"{free}; below {octets(min_free)} new mail is put off", remedy, about)
        elif room.free_inodes is not None and room.free_inodes < 10 * MIN_FREE_INODES:
            yield warned(
                "disk", f"{room.free_inodes} free inodes at {room.path}", "remove many small files there", about
            )
        else:
            yield passed("disk", free, about)


def octets(number: int) -> str:
    """`1.5 GB`."""
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if number >= length:
            return f"{number / length:.3g} {unit}"
    return f"{number} octets"


# --- kinds of file systems --------------------------------------------------------------------------------------------


def file_systems(config: Config, mountinfo: Path = Path("/proc/self/mountinfo")) -> list[tuple[str, Path, str]]:
    """Key, path and kind of file system of each place. Blocks for a moment; raises `OSError`."""
    mounts = list(read_mounts(mountinfo.read_text("utf-8", "replace")))
    places = (("storage.maildirs", config.storage.maildirs), ("storage.state", config.storage.state))
    return [(key, path, _kind(mounts, _nearest(path).resolve())) for key, path in places]


def read_mounts(text: str) -> Iterator[tuple[Path, str]]:
    """Where each file system of a proc_pid_mountinfo(5) hangs, and its kind; the one mounted last is last."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        words, kinds = before.split(" "), after.split(" ")
        if len(words) > 4 and kinds[0]:
            # Spaces and the like are written as octal escapes.
            yield Path(words[4].encode("ascii", "replace").decode("unicode_escape")), kinds[0]


def _kind(mounts: Iterable[tuple[Path, str]], path: Path) -> str:
    best, kind = -1, ""
    for place, name in mounts:
        if (path == place or place in path.parents) and len(place.parts) >= best:
            best, kind = len(place.parts), name
    return kind


def check_file_systems(found: Iterable[tuple[str, Path, str]]) -> Iterator[Check]:
    """Mail lies on file systems that keep what they have promised to keep."""
    name = "filesystem"
    for key, path, kind in found:
        elsewhere = f"put {key} on a disk of this machine (ext4, XFS, Btrfs)"
        if kind in _FORGETFUL:
            yield failed(name, f"{path} is on {kind}: everything there is gone with a restart", elsewhere, key)
        elif kind in _NETWORK or kind.startswith("fuse."):
            yield warned(name, f"{path} is on {kind}: what was said to be on disk there may not be", elsewhere, key)
        elif kind in _FOREIGN:
            yield warned(
                name, f"{path} is on {kind}: it has no owners and modes, and some names cannot be", elsewhere, key
            )
        elif kind == "overlay":
            yield warned(name, f"{path} is inside a container's image and goes with it", "mount a volume there", key)
        elif not kind:
            yield unknown(name, f"what {path} is on cannot be seen", about=key)
        else:
            yield passed(name, f"{path} is on {kind}", key)


# --- permissions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opening:
    """Something that others may do with a file or folder and should not, or that we cannot. One line each."""

    finding: str
    remedy: str
    is_fatal: bool = False


def openings(config: Config) -> list[Opening]:
    """Look at modes and owners; at most a few thousand files. Blocks; what cannot be read below is left out.

    Raises `OSError` when the state folder itself cannot be looked into.
    """
    found: list[Opening] = []
    state = config.storage.state
    if state.exists():
        os.scandir(state).close()
    # Another program on the same Maildirs gets there by its group.
    for folder, closed in ((state, stat.S_IWGRP | stat.S_IRWXO), (config.storage.maildirs, stat.S_IRWXO)):
        mode = _mode(folder)
        if mode is not None and mode & closed:
            found.append(
                Opening(
                    f"{folder} can be entered by others ({mode & 0o777:03o})",
                    f"chmod o-rwx,g-w {folder}" if folder == state else f"chmod o-rwx {folder}",
                )
            )
    secrets = (config.tls.private_key, config.relay.smarthost_password_file, config.accounts.file)
    for path in secrets:
        mode = _mode(path) if path is not None else None
        if mode is not None and mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
            found.append(Opening(f"{path} can be read or written by others ({mode & 0o777:03o})", f"chmod 640 {path}"))
    found += _strangers(state, config.sendmail.drop)
    return found


def _strangers(state: Path, drop: Path) -> Iterator[Opening]:
    """Files in the state folder of another owner than its own: the server cannot write these.

    The queue has many and is the server's alone; into `drop` everybody writes, and only there.
    """
    try:
        owner = state.stat().st_uid
    except OSError:
        return
    looked_at, strange = 0, []
    for folder, folders, files in os.walk(state):
        folders[:] = [one for one in folders if Path(folder, one) not in (state / "queue", drop)]
        for name in (*folders, *files):
            looked_at += 1
            path = Path(folder, name)
            try:
                status = path.lstat()
            except OSError:
                continue
            if status.st_uid != owner:
                strange.append(path)
            elif stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
                yield Opening(f"{path} can be read or written by others", f"chmod 600 {path}")
        if looked_at > _MAX_FILES:
            break
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        yield Opening(
            f"{strange[0]}{more} belongs to another user than {state}, so the server cannot change it",
            f"chown -R --reference={state} {state}",
            is_fatal=True,
        )


def check_permissions(found: Iterable[Opening]) -> Iterator[Check]:
    """Keys, accounts and mail are the server's alone."""
    name, all_well = "permissions", True
    for one in found:
        all_well = False
        tell = failed if one.is_fatal else warned
        yield tell(name, one.finding, one.remedy, "owner" if one.is_fatal else one.remedy.rpartition(" ")[2])
    if all_well:
        yield passed(name, "state, keys, accounts and mail are the server's alone")


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _nearest(path: Path) -> Path:
    """The path, or what there is of it."""
    return next(one for one in (path, *path.parents) if one.exists())


# --- backup -----------------------------------------------------------------------------------------------------------


def check_backup(last: float | None, now: float) -> Check:
    """The last backup is not old. `last` in seconds since the epoch; None: none was ever made."""
    if last is None:
        return skipped("backup", "no backup was ever made with mailserver backup")
    days = int((now - last) // 86400)
    if days > 7:
        return warned("backup", f"the last backup is {days} days old", "mailserver backup DIR, each night by a timer")
    when = "today" if days < 1 else "yesterday" if days == 1 else f"{days} days ago"
    return passed("backup", f"the last backup was made {when}")
