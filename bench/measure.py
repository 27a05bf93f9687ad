"""What the kernel knows about a server's processes, and how figures are boiled down."""

import os
import secrets
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def processes(group: int) -> Iterator[tuple[int, list[str]]]:
    """Id and the fields of /proc/<id>/stat behind the name, for every process of a process group."""
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended meanwhile
            if int(fields[2]) == group:
                yield int(folder.name), fields


def cpu_seconds(group: int) -> float:
    """Processor time that the group's processes, and their children that have ended, took so far."""
    return sum(sum(map(int, fields[11:15])) for _, fields in processes(group)) / _TICK


def reset_peaks(group: int) -> None:
    """Make the kernel forget the highest resident sizes."""
    for process, _ in processes(group):
        try:
            (_PROC / str(process) / "clear_refs").write_text("5")
        except OSError:
            continue  # ended meanwhile


def resident_octets(group: int, field: str = "VmRSS") -> int:
    """Resident memory of all processes of the group; `VmHWM` gives the highest since `reset_peaks`."""
    total = 0
    for process, _ in processes(group):
        try:
            status = (_PROC / str(process) / "status").read_text()
        except OSError:
            continue  # ended meanwhile
        for line in status.splitlines():
            if line.startswith(field + ":"):
                total += int(line.split()[1]) * 1024
    return total


def median(figures: Sequence[float]) -> float:
    """The middle figure: one disturbed round does not move it."""
    return statistics.median(figures)


def wait_until(is_done: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Ask again every five milliseconds; TimeoutError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not done after {timeout_s:g} s")
        time.sleep(0.005)


def own_folder(parent: Path, name: str) -> Path:
    """The name of a folder, to be made, that gets block groups of its own on ext4 (`chattr +T` on `parent`).

    ext4 does not take an inode again for minutes after it was freed, and looks at each such inode whenever it needs a
    new one in that group. Without this, what was deleted on the same disk lately decides the figures: creating one file
    was seen to take from 20 to 500 microseconds. The group is chosen by a hash of the name, hence the random part. On
    other file systems nothing happens.
    """
    with suppress(OSError):
        subprocess.run(["chattr", "+T", parent], check=False, capture_output=True, timeout=10)
    return parent / f"{name}-{secrets.token_hex(4)}"


def count_files(folder: Path) -> int:
    """How many entries a folder has; 0 when it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return sum(1 for _ in entries)
    except FileNotFoundError:
        return 0
