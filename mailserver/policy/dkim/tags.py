"""Lists of `tag=value` as DKIM, its key records and ARC have them (RFC 6376 3.2). Reads each octet once."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
# Folding white space may stand around names, values and within base64.
WHITE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Tag:
    """One value without the white space around it, and where it stands in the list with that white space."""

    value: bytes
    start: int
    end: int

    @property
    def text(self) -> str:
        """The value as text; octets beyond ASCII become `?`, so that they match nothing."""
        return self.value.decode("ascii", "replace").replace("\ufffd", "?")


Tags = Mapping[str, Tag]


def parse_tags(octets: bytes) -> Tags | str:
    """The tags by name, or in words what is wrong. A name that comes twice makes the whole list wrong."""
    tags: dict[str, Tag] = {}
    position = 0
    while position < len(octets):
        end = octets.find(b";", position)
        end = len(octets) if end < 0 else end
        part = octets[position:end]
        name, equals, value = part.partition(b"=")
        name = name.strip(WHITE)
        if equals:
            if not _NAME.fullmatch(name):
                return "a tag without a proper name"
            key = name.decode("ascii")
            if key in tags:
                return f"the tag {key[:20]}= stands there twice"
            start = end - len(value)
            tags[key] = Tag(value.strip(WHITE), start, end)
        elif name or end < len(octets):  # only the last part may be empty
            return "something that is no tag"
        position = end + 1
    return tags


def from_base64(octets: bytes) -> bytes | None:
    """What base64 with white space in it stands for; None for what is no base64."""
    try:
        return base64.b64decode(octets.translate(None, WHITE), validate=True)
    except (binascii.Error, ValueError):
        return None


def number(tag: Tag, *, max_digits: int = 12) -> int | None:
    """An unsigned decimal number, or None."""
    text = tag.value
    return int(text) if text.isdigit() and len(text) <= max_digits else None


def words(octets: bytes) -> list[bytes]:
    """The parts of a list with colons, without white space, in lower case."""
    return [part.strip(WHITE).lower() for part in octets.split(b":")]
