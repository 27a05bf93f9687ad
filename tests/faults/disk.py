"""A disk that keeps a log of every change, and may be told to fail at one of them.

It works on a real folder. `tests.faults.power_cut` makes after-crash states out of the log. fsync(2) is not called, for
what it would keep is decided there.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from mailserver.store.files import Files


@dataclass(frozen=True, slots=True)
class Step:
    """One change: `kind` is made, wrote, synced, sync failed, moved, removed, folder made, folder synced, or told.

    Paths are relative to the root. `file` is a number that a file keeps through its renames. `octets` is all that the
    file holds afterwards. `about` is what was acknowledged (told).
    """

    kind: str
    path: str = ""
    target: str = ""
    file: int = 0
    octets: bytes = b""
    about: object = None

    def __str__(self):
        return " ".join(str(part) for part in (self.kind, self.path, self.target, self.about or "") if part)


class NoSync(Files):
    """The disk of who only looks what a start makes of a folder."""

    def start_writeback(self, descriptor):
        pass

    def sync(self, descriptor):
        pass

    def sync_file_system(self, descriptor):
        pass

    def sync_folder(self, path):
        assert os.path.isdir(path)

    def sync_opened_folder(self, folder):
        pass


class Killed(BaseException):
    """The process is gone: nothing that follows in it happens."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Change number `at` fails with `code`, and `times` - 1 behind it."""

    at: int
    code: int
    times: int = 1


class WatchedDisk(Files):
    """`log` has all changes since it was made, `points` the kinds of the calls that could fail.

    `dies_at`: at this call, and at all that the dead process tries later.
    """

    def __init__(self, root: Path):
        self.root = str(root)
        self.log = []
        self.points = []
        self.fault = None
        self.dies_at = None
        self._files = {}
        self._of_path = {}
        self._next = 1

    # --- for tests ----------------------------------------------------------------------------------------------------

    def told(self, about):
        """Something was acknowledged."""
        self.log.append(Step("told", about=about))

    def all_told(self):
        return [step.about for step in self.log if step.kind == "told"]

    def kill(self):
        """The process is dead: its descriptors are closed, and its files are what they are. Another goes on here."""
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()
        self.dies_at = None

    def fail(self, fault):
        """Points count from here."""
        self.points.clear()
        self.fault = fault

    # --- the door -----------------------------------------------------------------------------------------------------

    def create(self, path):
        self._point("create", path)
        descriptor = super().create(path)
        self._made(descriptor, path)
        return descriptor

    def create_in(self, folder, name):
        self._point("create", name)
        descriptor = super().create_in(folder, name)
        self._made(descriptor, f"{_path_of(folder)}/{name}")
        return descriptor

    def open_lock(self, path):
        self._point("open_lock", path)
        is_new = not os.path.lexists(path)
        descriptor = super().open_lock(path)
        if is_new:
            self._made(descriptor, path)
        return descriptor

    def duplicate(self, descriptor):
        self._point("duplicate", "")
        second = super().duplicate(descriptor)
        self._files[second] = self._files[descriptor]
        return second

    def write(self, descriptor, pieces):
        octets = b"".join(pieces)
        try:
            self._point("write", "")
        except OSError:
            octets = octets[: len(octets) // 2]
            raise
        finally:
            super().write(descriptor, (octets,))
            self._wrote(descriptor)

    def write_at(self, descriptor, octets, offset):
        self._point("write_at", "")
        super().write_at(descriptor, octets, offset)
        self._wrote(descriptor)

    def overwrite(self, descriptor, octets):
        self._point("overwrite", "")
        super().overwrite(descriptor, octets)

    def set_mode(self, descriptor, mode):
        self._point("set_mode", "")
        super().set_mode(descriptor, mode)

    def set_owner(self, descriptor, uid, gid):
        self._point("set_owner", "")
        super().set_owner(descriptor, uid, gid)

    def start_writeback(self, descriptor):
        pass

    def sync(self, descriptor):
        try:
            self._point("sync", "")
        except OSError:
            self.log.append(Step("sync failed", file=self._files[descriptor]))
            raise
        self._synced(self._files[descriptor])

    def sync_file_system(self, descriptor):
        self._point("sync", "")
        for number in set(self._of_path.values()):
            self._synced(number)
        for folder, _, _ in os.walk(self.root):
            self.log.append(Step("folder synced", folder[len(self.root) + 1 :]))

    def close(self, descriptor):
        self._files.pop(descriptor, None)
        super().close(descriptor)
        self._point("close", "")

    def rename(self, source, target):
        self._point("rename", target)
        super().rename(source, target)
        self._moved(source, target)

    def rename_in(self, folder, name, target_folder, target):
        self._point("rename", target)
        super().rename_in(folder, name, target_folder, target)
        self._moved(f"{_path_of(folder)}/{name}", f"{_path_of(target_folder)}/{target}")

    def link(self, path, second):
        self._point("link", second)
        super().link(path, second)

    def set_time(self, descriptor, modified_ns):
        self._point("set_time", "")
        super().set_time(descriptor, modified_ns)

    def remove_folder(self, path):
        self._point("remove_folder", path)
        super().remove_folder(path)

    def unlink(self, path):
        self._point("unlink", path)
        super().unlink(path)
        self._removed(path)

    def unlink_in(self, folder, name):
        self._point("unlink", name)
        super().unlink_in(folder, name)
        self._removed(f"{_path_of(folder)}/{name}")

    def sync_folder(self, path):
        self._point("sync_folder", path)
        assert os.path.isdir(path)
        if path.startswith(self.root):
            self.log.append(Step("folder synced", self._name(path)))

    def sync_opened_folder(self, folder):
        self._point("sync_folder", "")
        self.log.append(Step("folder synced", self._name(_path_of(folder))))

    def make_folder(self, path):
        self._point("make_folder", path)
        is_new = not os.path.isdir(path)
        super().make_folder(path)
        if is_new:
            self._folder_made(path)

    def make_new_folder(self, path):
        self._point("make_folder", path)
        super().make_new_folder(path)
        self._folder_made(path)

    def make_folder_in(self, folder, name):
        self._point("make_folder", name)
        super().make_folder_in(folder, name)
        self._folder_made(f"{_path_of(folder)}/{name}")

    # --- the log ------------------------------------------------------------------------------------------------------

    def _point(self, kind, path):
        self.points.append(kind)
        fault, number = self.fault, len(self.points)
        if self.dies_at is not None and number >= self.dies_at:
            raise Killed
        if fault is not None and fault.at <= number < fault.at + fault.times:
            raise OSError(fault.code, os.strerror(fault.code), path)

    def _name(self, path):
        assert str(path).startswith(self.root), f"{path} is outside of {self.root}"
        return str(path)[len(self.root) + 1 :]

    def _made(self, descriptor, path):
        number, self._next = self._next, self._next + 1
        self._files[descriptor] = self._of_path[self._name(path)] = number
        self.log.append(Step("made", self._name(path), file=number))

    def _wrote(self, descriptor):
        octets = os.pread(descriptor, 1 << 30, 0)
        self.log.append(Step("wrote", file=self._files[descriptor], octets=octets))

    def _moved(self, source, target):
        source, target = self._name(source), self._name(target)
        number = self._of_path.pop(source, None)
        self._of_path.pop(target, None)
        if number is not None:
            self._of_path[target] = number
        self.log.append(Step("moved", source, target, number or 0))

    def _removed(self, path):
        path = self._name(path)
        self.log.append(Step("removed", path, file=self._of_path.pop(path, 0)))

    def _synced(self, number):
        self.log.append(Step("synced", file=number))

    def _folder_made(self, path):
        self.log.append(Step("folder made", self._name(path)))


def _path_of(descriptor):
    return os.readlink(f"/proc/self/fd/{descriptor}")
