"""The one way from an address to a folder name (design section 5, hazards "Files").

A mailbox comes from a table, yet its text may still be anything a quoted local-part can hold. `maildir_path` gives a
folder two levels below the root and never anywhere else: every octet that a path, a shell or a terminal might take
for something else is written as `%xx`. Plain addresses keep their spelling, so that the folder of
`alice@example.org` is `example.org/alice`. Nothing here touches the disk.
"""

import hashlib
import unicodedata
from pathlib import Path

from mailserver.mail.address import Mailbox

# The longest file name on ext4, xfs, btrfs and zfs.
MAX_NAME_OCTETS = 255

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789!#$&'*+-=?^_`{|}~.")
_UPPER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
# What address literals need: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
_LITERAL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ[]:")
# An over-long name is its beginning, this mark, and a digest. `%` is followed by two hex digits everywhere else.
_CUT_MARK = "%~"
_DIGEST_LENGTH = 40
_EMPTY = "%"


def maildir_path(root: Path, mailbox: Mailbox) -> Path:
    """The Maildir of `mailbox` below `root`: `<domain>/<local-part>`, two levels, never outside.

    Mailboxes whose `folded` is equal share one path; all others have different ones. Not plain and so written as
    `%xx` (octets of the UTF-8 form, lower-case hex): `/`, `%`, a leading dot, spaces, quotes and other characters that
    need quoting in an address, controls and other invisible characters. Letters of other scripts stay as they are, in
    UTF-8. A name over 255 octets is cut and ends in a digest of the whole.

    Raises `ValueError` for the bare `postmaster`, which has no domain: whoever asks has to know whose mailbox it is.
    """
    if not mailbox.domain:
        raise ValueError(f"{mailbox} has no domain and therefore no Maildir")
    local_part = mailbox.folded.removesuffix("@" + mailbox.domain)
    return root / folder_name(mailbox.domain, _LITERAL) / folder_name(local_part)


def subfolder_path(maildir: str, name: str) -> str:
    """A folder inside a Maildir (Maildir++): `.Junk`. One level below it and never anywhere else.

    The full stop sets it apart from `new`, `cur` and `tmp`; one within the name would mean a folder in a folder, so it
    is escaped as all that is not plain.
    """
    return f"{maildir}/.{folder_name(name, _UPPER).replace('.', '%2e')}"


def is_subfolder(path: str) -> bool:
    """Whether this is a folder inside a Maildir: no mailbox's own name begins with a full stop."""
    return path.rpartition("/")[2].startswith(".")


def folder_name(text: str, also_plain: frozenset[str] = frozenset()) -> str:
    """One path component for `text`: never empty, never `.` or `..`, no `/`, no NUL, at most 255 octets."""
    name = "".join(
        char if _stays(char, is_first=index == 0, also_plain=also_plain) else _escaped(char)
        for index, char in enumerate(text)
    )
    if not name:
        return _EMPTY
    encoded = name.encode("utf-8")
    if len(encoded) <= MAX_NAME_OCTETS:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:_DIGEST_LENGTH]
    room = MAX_NAME_OCTETS - len(_CUT_MARK) - _DIGEST_LENGTH
    # "ignore" drops a character that the cut went through.
    return encoded[:room].decode("utf-8", "ignore") + _CUT_MARK + digest


def _stays(char: str, *, is_first: bool, also_plain: frozenset[str]) -> bool:
    if char == ".":
        # A leading dot hides the folder, and Maildir++ takes it for a sub-folder.
        return not is_first
    if char in _PLAIN or char in also_plain:
        return True
    # C: controls, format characters, surrogates, unassigned; Z: blanks of all kinds.
    return ord(char) > 127 and unicodedata.category(char)[0] not in "CZ"


def _escaped(char: str) -> str:
    return "".join(f"%{octet:02x}" for octet in char.encode("utf-8", "surrogatepass"))
