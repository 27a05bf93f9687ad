"""Opening and reading the queue's files, as octets. Blocking.

Only regular files are opened, and no more is read than the format allows.
"""

import os
import stat
from pathlib import Path

from mailserver.store.spool_format import FORMAT_VERSION, MAX_HEAD_OCTETS, head_end
from mailserver.store.spool_json import Damaged
from mailserver.store.transcripts import MAX_CHARS

_FIRST_READ_OCTETS = 4096
# Of a file in a newer format nothing more is read.
_KNOWN = tuple(b"mailserver-queue %d\n" % version for version in range(1, FORMAT_VERSION + 1))


def open_regular(path: str) -> int:
    """Open for reading. A link, folder, device or FIFO (which would hang us) is `Damaged`; raises `OSError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as trouble:
        if os.path.islink(path):  # noqa: PTH114 - a path is made only for who needs one
            raise Damaged("it is a link") from trouble
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Damaged("it is not a regular file")
    return descriptor


def read_head(descriptor: int) -> bytes:
    """The beginning of a message file up to the end of its first part, and some content with it. Raises `OSError`."""
    octets = os.read(descriptor, _FIRST_READ_OCTETS)
    if not octets.startswith(_KNOWN):
        return octets
    # The end may lie across two reads, so the search begins one octet early.
    pieces, total = [octets], len(octets)
    while not head_end(octets) and total <= MAX_HEAD_OCTETS:
        more = os.read(descriptor, 1 << 18)
        if not more:
            break
        octets = pieces[-1][-1:] + more
        pieces.append(more)
        total += len(more)
    return b"".join(pieces)


def read_all(descriptor: int, limit: int) -> bytes:
    """What is left of the file, at most `limit` octets. Raises `OSError`."""
    pieces = []
    while limit > 0 and (piece := os.read(descriptor, min(limit, 1 << 20))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


def read_transcript(path: Path) -> str | None:
    """What was said in the last attempts; None when nothing is kept. Raises `OSError` or `Damaged`."""
    try:
        descriptor = open_regular(str(path))
    except FileNotFoundError:
        return None
    try:
        return read_all(descriptor, 4 * MAX_CHARS).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
