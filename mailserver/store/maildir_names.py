"""File names in a Maildir: how ours are built, and how anybody's are read.

Ours are `<seconds>.M<microseconds>P<pid>Q<counter>.<host>,S=<octets as stored>,W=<octets with CRLF>`, and in `cur/`
`:2,` and flags after that (design section 5). Names of other programs (Dovecot, mutt, qmail, Courier, Postfix) are
read as far as they tell something. Nothing here touches the disk.

The words: the *base* of a name is what stands before `:` and stays the same when flags change; the *unique part* is
what stands before the first `,` or `:` and is what other programs keep through every rename.
"""

import re
from dataclasses import dataclass

# Unique part: 10 + 2 + 6 + 1 + pid 7 + 1 + counter + 1 + 24 stays under the 70 octets of a POP3 unique-id.
MAX_HOST_OCTETS = 24
SEEN = "S"
# No file is larger than so many digits can say.
MAX_SIZE_DIGITS = 15

_HOST_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_")
_SECONDS = re.compile(r"([0-9]{1,15})(?:\.([^.]*))?")
_MICROSECONDS = re.compile(r"M([0-9]{1,9})")
# Ours is Q<counter>; mutt writes <pid>_<counter>, Courier and Dovecot's import end in _<counter>.
_COUNTER = re.compile(r"[Q_]([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What a file's name tells. Sizes are None where it does not say; `flags` are letters in ASCII order as found."""

    name: str
    unique: str
    stored_octets: int | None
    wire_octets: int | None
    flags: str


def build_name(
    seconds: int, microseconds: int, pid: int, counter: int, host: str, stored_octets: int, wire_octets: int
) -> str:
    """A name for `new/`. The caller owes uniqueness: one counter in a process, never set back, whatever the clock does.

    What comes from the queue has its queue id in the place of the counter, as a number of up to 19 digits.

    `seconds` and `microseconds` are the moment of delivery, `stored_octets` the file's length with LF, `wire_octets`
    its length with CRLF (what POP3 sends, dots not doubled).
    """
    # Six digits, so that the names of one process sort by time as text.
    unique = f"{max(seconds, 0)}.M{microseconds:06d}P{pid}Q{counter}.{host_part(host)}"
    return f"{unique},S={stored_octets},W={wire_octets}"


def host_part(host: str) -> str:
    r"""`host` as a name may hold it: at most 24 octets, `/` as `\057`, `:` as `\072`, all else unusual likewise."""
    out = ""
    for octet in host.encode("utf-8", "replace"):
        char = chr(octet)
        piece = char if char in _HOST_PLAIN else f"\\{octet:03o}"
        if len(out) + len(piece) > MAX_HOST_OCTETS:
            break
        out += piece
    return out or "localhost"


def base_of(name: str) -> str:
    """The name without its flags."""
    return name.partition(":")[0]


def unique_of(name: str) -> str:
    """The name up to the first `,` or `:`."""
    return name.partition(",")[0].partition(":")[0]


def parse_name(name: str) -> ParsedName:
    """Read any file's name; a strange one is not an error, it only tells less."""
    base, _, info = name.partition(":")
    unique, *fields = base.split(",")
    stored = wire = None
    for field in fields:
        if field.startswith("S="):
            stored = octets_of(field[2:])
        elif field.startswith("W="):
            wire = octets_of(field[2:])
    return ParsedName(name, unique, stored, wire, info[2:] if info.startswith("2,") else "")


def octets_of(text: str) -> int | None:
    """A size as names write it: ASCII digits only, no more than fit a file; None for anything else."""
    return int(text) if 0 < len(text) <= MAX_SIZE_DIGITS and text.isascii() and text.isdigit() else None


def with_flag(name: str, flag: str) -> str:
    """The name that `name` gets in `cur/` with `flag` added: flags in ASCII order, each once, others' flags kept."""
    base, _, info = name.partition(":")
    flags = info[2:] if info.startswith("2,") else ""
    return f"{base}:2,{''.join(sorted(set(flags) | {flag}))}"


def delivery_order(name: str) -> tuple[int, int, int, str]:
    """A sort key: seconds, microseconds, counter, and the name's base where these tell nothing.

    A name without a time sorts first, so that what arrives later never moves it.
    """
    base = base_of(name)
    match = _SECONDS.match(base)
    if match is None:
        return 0, 0, 0, base
    middle = match[2] or ""
    microseconds = _MICROSECONDS.search(middle)
    counter = _COUNTER.search(middle)
    return int(match[1]), int(microseconds[1]) if microseconds else 0, int(counter[1]) if counter else 0, base
