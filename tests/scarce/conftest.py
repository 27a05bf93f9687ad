"""Small file systems for one test, and a clock that can be stepped."""

import os
import subprocess
from pathlib import Path

import pytest

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


class SmallDisk:
    """A tmpfs that can be filled to the last octet or inode, and given room again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @property
    def free_octets(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Leave no block."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError:
                    pass

    def use_up_inodes(self) -> None:
        """Leave no name for a new file."""
        self._ballast.mkdir()
        try:
            for number in range(100_000):
                (self._ballast / str(number)).touch()
        except OSError:
            return
        raise AssertionError("more inodes than a small disk has")

    def make_room(self) -> None:
        """Take the ballast out."""
        if self._ballast.is_dir():
            for path in self._ballast.iterdir():
                path.unlink()
            self._ballast.rmdir()
        else:
            self._ballast.unlink()


@pytest.fixture
def small_disk(tmp_path):
    """`small_disk("maildirs")` mounts one at that name of the test's folder."""
    mounted = []

    def mount(name, *, size="6m", inodes=4000):
        folder = tmp_path / name
        folder.mkdir()
        options = f"size={size},nr_inodes={inodes},mode=700"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.fail(
                f"this test mounts a small file system, which needs root ({done.stderr.strip()}): "
                "run it as root, or in a namespace of your own: unshare -rm make test-scarce"
            )
        mounted.append(folder)
        return SmallDisk(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Steps:
    """The wall clock of one process. Its monotonic clock goes on as it does."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faketime"
        self.step(0)
        assert FAKETIME, "this test needs libfaketime: apt install libfaketime"
        self.environment = {
            "LD_PRELOAD": str(FAKETIME[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """Set it so far from the true time, at once."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._file)


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path)
