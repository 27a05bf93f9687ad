r"""`<maildir>/mailserver-index`: what file names do not tell (design section 5). Blocking, no Twisted.

A text file in UTF-8: the line `mailserver-index 1`, then one line an entry, in any order:

    w <octets> <name without flags>      size with CRLF: of a file whose name has no `W=`, or a wrong one
    u <unique-id> <name up to the first , or :>   a unique-id that an import brought along

Sizes may be deleted at any time, they are measured again; unique-ids of an import may not. A newer version is refused.

| state after a crash | what happens |
|---|---|
| `mailserver-index.<pid>.<n>` left over | never read; removed by the next write |
| the old file | sizes are measured again |
| a damaged file | lines that do not fit are ignored; a file without its first line counts as empty, and is told |
"""

import contextlib
import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mailserver.ports import StorageTrouble
from mailserver.store.files import Files
from mailserver.store.maildir_names import MAX_SIZE_DIGITS, octets_of

NAME = "mailserver-index"
_HEADING = "mailserver-index "
VERSION = 1
MAX_UNIQUE_ID_OCTETS = 70

_SIZE_LINES = re.compile(rf"^w ([0-9]{{1,{MAX_SIZE_DIGITS}}}) (.+)$", re.MULTILINE)
_UNIQUE_ID_LINES = re.compile(r"^u ([^ \n]+) (.+)$", re.MULTILINE)

T = TypeVar("T")

_numbers = itertools.count(1)


@dataclass(slots=True)
class MaildropIndex:
    """`sizes` by a name's base, `unique_ids` by a name's unique part."""

    sizes: dict[str, int] = field(default_factory=dict)
    unique_ids: dict[str, str] = field(default_factory=dict)


def read_index(folder: str) -> MaildropIndex:
    """The index of a Maildir; empty when there is none or it is damaged.

    Raises `StorageTrouble` when a newer version of this server wrote it, and `OSError`.
    """
    try:
        octets = Path(folder, NAME).read_bytes()
    except FileNotFoundError:
        return MaildropIndex()
    heading, _, entries = octets.decode("utf-8", "surrogateescape").partition("\n")
    version = octets_of(heading.removeprefix(_HEADING)) if heading.startswith(_HEADING) else None
    if version is None:
        return MaildropIndex()
    if version > VERSION:
        raise StorageTrouble(f"{NAME} has version {version}, this server reads up to {VERSION}")
    # Both kinds by one search each: a mailbox that another program fills has a line for every message.
    sizes, unique_ids = _SIZE_LINES.findall(entries), _UNIQUE_ID_LINES.findall(entries)
    return MaildropIndex(
        {name: int(size) for size, name in sizes},
        {name: unique_id for unique_id, name in unique_ids if is_unique_id(unique_id)},
    )


def write_index(files: Files, folder: str, index: MaildropIndex) -> None:
    """Replace the index atomically; durable when this returns. Raises `OSError`."""
    _remove_leftovers(files, folder)
    lines = [f"{_HEADING}{VERSION}"]
    lines += [f"w {size} {name}" for name, size in _one_line(index.sizes.items())]
    lines += [f"u {unique_id} {name}" for name, unique_id in _one_line(index.unique_ids.items())]
    octets = ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
    path = f"{folder}/{NAME}"
    files.replace(path, f"{path}.{os.getpid()}.{next(_numbers)}", octets)


def is_unique_id(text: str) -> bool:
    """RFC 1939 7: one to 70 characters in the range 0x21 to 0x7E."""
    return 0 < len(text) <= MAX_UNIQUE_ID_OCTETS and text.isascii() and text.isprintable() and " " not in text


def _one_line(items: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    """A foreign name may hold a line feed; it is not remembered but measured each time."""
    return [item for item in items if "\n" not in item[0]]


def _remove_leftovers(files: Files, folder: str) -> None:
    """The lock on the maildrop is ours, so no other write is under way."""
    with os.scandir(folder) as entries:
        leftovers = [entry.path for entry in entries if entry.name.startswith(NAME + ".")]
    for path in leftovers:
        with contextlib.suppress(FileNotFoundError):
            files.unlink(path)
