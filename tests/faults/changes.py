"""The same enumeration for changes that are no message: one file, one folder, one command at a time."""

import contextlib
import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.disk import Fault, WatchedDisk
from tests.faults.enumerate import CODES, FOREVER, next_root
from tests.faults.power_cut import Disk, crash_points, put_down, taken
from tests.faults.server import Lost


@dataclass(frozen=True, slots=True)
class Change:
    """`act(root, disk)` makes the changes and tells what is done; with a fault it may raise one of `errors`.

    `check(root, told)` is the start after a crash: it raises `Lost`, and makes a change of its own.
    """

    name: str
    before: Callable
    act: Callable
    check: Callable
    errors: tuple[type[BaseException], ...] = (OSError,)
    about: dict = field(default_factory=dict)


def begun(change, base):
    """A folder as it is before."""
    root = next_root(base)
    root.mkdir()
    change.before(root)
    tree = taken(root)
    shutil.rmtree(root)
    return tree


def _checked(change, state, told, base):
    root = next_root(base)
    put_down(state, root)
    try:
        change.check(root, told)
    finally:
        shutil.rmtree(root)


def power_cuts_of(change, base, make_disk=WatchedDisk):
    """Every state after a power cut at every point; how many points and states. Raises `Lost`."""
    tree = begun(change, base)
    root = next_root(base)
    put_down(tree, root)
    disk = make_disk(root)
    change.act(root, disk)
    shutil.rmtree(root)
    points = states = 0
    for number, step, told, found in crash_points(tree, disk.log, **change.about):
        points += 1
        for state in found:
            states += 1
            try:
                _checked(change, state, told, base)
            except Lost as loss:
                raise Lost(f"{change.name}: power cut behind step {number}, {step}: {loss}") from None
    return points, states


def failures_of(change, base, codes_at_a_point=5):
    """Every call fails, once and for good; then it is done again. How many points and runs. Raises `Lost`."""
    tree = begun(change, base)
    root = next_root(base)
    put_down(tree, root)
    disk = WatchedDisk(root)
    change.act(root, disk)
    kinds = list(disk.points)
    shutil.rmtree(root)
    runs = 0
    for at in range(1, len(kinds) + 1):
        for turn in range(codes_at_a_point):
            code = CODES[(at + turn) % len(CODES)]
            for times in (1, FOREVER) if turn == 0 else (1,):
                runs += 1
                try:
                    _one_failure(change, base, tree, Fault(at, code, times))
                except Lost as loss:
                    raise Lost(
                        f"{change.name}: {errno.errorcode[code]} at call {at}, {kinds[at - 1]}: {loss}"
                    ) from None
    return len(kinds), runs


def _one_failure(change, base, tree, fault):
    root = next_root(base)
    put_down(tree, root)
    disk = WatchedDisk(root)
    disk.fail(fault)
    with contextlib.suppress(change.errors):
        change.act(root, disk)
    disk.fail(None)
    told = disk.all_told()
    final = Disk(tree, **change.about)
    for step in disk.log:
        final.replay(step)
    _checked(change, final.worst(), told, base)
    change.check(root, told)
    shutil.rmtree(root)
