"""A network of one's own: only a loopback, on which every port is free, low ones too. Needs root."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.peers.programs import need, need_root

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """Move this thread, and what it starts from now on, into a new network; back at the end."""
    need_root("a network of its own")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        try:
            subprocess.run([need("ip"), "link", "set", "lo", "up"], check=True, timeout=10)
            yield
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET), "setns")
    finally:
        os.close(before)


def _check(answer: int, what: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
