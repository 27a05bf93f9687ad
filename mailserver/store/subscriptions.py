"""The folders of a mailbox that mail programs show, as Dovecot keeps them: the file `subscriptions` in the Maildir.

    V	2

    Junk

One name a line below that head; older files have the names only. Dovecot replaces the file while it holds
`subscriptions.lock`, and so does this. Nothing hangs on it: a folder that is not subscribed is there all the same.
"""

import contextlib
import os

from mailserver.store.files import Files

_NAME = "subscriptions"
_HEAD = b"V\t2\n\n"
_MAX_OCTETS = 1 << 20


def subscribe(files: Files, maildir: str, name: str) -> None:
    """Add a folder, if it is not there. Blocks; never raises: when it cannot be done now, it is left."""
    with contextlib.suppress(OSError):
        _subscribe(files, f"{maildir}/{_NAME}", os.fsencode(name))


def _subscribe(files: Files, path: str, name: bytes) -> None:
    known = _read(path)
    if known is None or name in known.split(b"\n"):
        return
    if known and not known.endswith(b"\n"):
        known += b"\n"
    files.replace(path, f"{path}.lock", (known or _HEAD) + name + b"\n")


def _read(path: str) -> bytes | None:
    """What the file holds, nothing for none; None for one that is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        octets = os.read(descriptor, _MAX_OCTETS)
    finally:
        os.close(descriptor)
    return octets if len(octets) < _MAX_OCTETS else None
