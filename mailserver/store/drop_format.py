"""A file in the drop folder, as octets, and its name. Pure; shared by the `sendmail` command and the server.

    mailserver-drop 1
    {"sender": "joe", "ret": null, "envid": null, "body": "8BITMIME", "size": 1234}
    {"recipient": "root", "notify": [], "orcpt": null}

    From: Joe <joe>
    (the content with CRLF line ends, `size` octets, to the end of the file)

The first part is ASCII with LF line ends, each line but the first one JSON object, as in a queue file. Addresses are as
RFC 5321 writes them, and may lack their domain: it is the server that knows it. `sender` null is whoever owns the file,
an empty text the null reverse-path.

Anybody on the machine may have written such a file, so nothing in it is believed but the wish to send: who sends is the
file's owner. A higher version than ours is `NewerFormat`, anything else that cannot be read `Damaged`.
"""

import json
import re
import secrets
import time
from dataclasses import dataclass

from mailserver.mail.envelope import Body, Notify, OriginalRecipient, Ret
from mailserver.store.spool_json import Damaged, read_count, read_maybe_text, read_object, read_text

DROP_VERSION = 1
MAX_DROP_RECIPIENTS = 10_000
MAX_DROP_HEAD_OCTETS = 8 * 1024 * 1024
# RFC 3461 4.4 and 4.2.
_MAX_ENVID_CHARS = 100
_MAX_ORCPT_CHARS = 500

# Where files are written before they get a name under which they are picked up.
TEMPORARY_PREFIX = "tmp."
_NAME = re.compile(r"[0-9]{16}\.[0-9a-f]{32}\Z", re.ASCII)

_MAGIC = b"mailserver-drop "
_HEAD_END = b"\n\n"
_KEYS = frozenset(("sender", "ret", "envid", "body", "size"))
_RECIPIENT_KEYS = frozenset(("recipient", "notify", "orcpt"))


class NewerDrop(Exception):
    """Written by the `sendmail` of a later release."""


@dataclass(frozen=True, slots=True)
class DropRecipient:
    """One recipient, as text that may lack its domain."""

    address: str
    notify: frozenset[Notify] = frozenset()
    orcpt: OriginalRecipient | None = None


@dataclass(frozen=True, slots=True)
class DropHead:
    """What the sender wishes. `length` is how many octets the first part takes, `size_octets` what follows it."""

    sender: str | None
    recipients: tuple[DropRecipient, ...]
    ret: Ret | None = None
    envid: str | None = None
    body: Body = Body.SEVENBIT
    size_octets: int = 0
    length: int = 0


def new_name() -> str:
    """A name that sorts by time and that nobody can guess: the folder cannot be listed by others."""
    return f"{int(time.time() * 1_000_000):016d}.{secrets.token_hex(16)}"


def is_drop_name(name: str) -> bool:
    """Whether `name` could have come from `new_name`."""
    return _NAME.match(name) is not None


def encode_drop(head: DropHead, content: bytes) -> bytes:
    """A whole file."""
    about = {
        "sender": head.sender,
        "ret": None if head.ret is None else head.ret.value,
        "envid": head.envid,
        "body": head.body.value,
        "size": len(content),
    }
    lines = [f"mailserver-drop {DROP_VERSION}", json.dumps(about)]
    for one in head.recipients:
        orcpt = None if one.orcpt is None else [one.orcpt.address_type, one.orcpt.address]
        notify = sorted(word.value for word in one.notify)
        lines.append(json.dumps({"recipient": one.address, "notify": notify, "orcpt": orcpt}))
    return ("\n".join(lines) + "\n\n").encode("ascii") + content


def drop_head_end(octets: bytes) -> int:
    """Where the content starts in a file's beginning; 0 when the first part is not whole yet."""
    end = octets.find(_HEAD_END)
    return 0 if end < 0 else end + len(_HEAD_END)


def decode_drop_head(octets: bytes) -> DropHead:
    """Read the first part back; what follows it in `octets` is ignored. Raises `Damaged` or `NewerDrop`."""
    _check_version(octets)
    length = drop_head_end(octets)
    if not length:
        raise Damaged("the first part does not end")
    lines = octets[: length - len(_HEAD_END)].split(b"\n")
    if not 3 <= len(lines) <= MAX_DROP_RECIPIENTS + 2:
        raise Damaged("there are no recipients, or too many")
    about = read_object(lines[1], _KEYS, "envelope")
    ret, envid = read_maybe_text(about, "ret"), read_maybe_text(about, "envid")
    if envid is not None and not (envid.isascii() and envid.isprintable() and len(envid) <= _MAX_ENVID_CHARS):
        raise Damaged("envid is not one")
    try:
        return DropHead(
            sender=read_maybe_text(about, "sender"),
            recipients=tuple(_recipient(line) for line in lines[2:]),
            ret=None if ret is None else Ret(ret),
            envid=envid,
            body=Body(read_text(about, "body")),
            size_octets=read_count(about, "size"),
            length=length,
        )
    except ValueError:
        raise Damaged("the envelope holds an unknown word") from None


def _check_version(octets: bytes) -> None:
    line = octets[: octets.find(b"\n")] if b"\n" in octets[:64] else b""
    number = line[len(_MAGIC) :]
    if not line.startswith(_MAGIC) or not number.isdigit() or not 1 <= len(number) <= 9 or int(number) < 1:
        raise Damaged("it does not begin like a dropped message")
    if int(number) > DROP_VERSION:
        raise NewerDrop(f"written in format {int(number)}, and this release reads up to format {DROP_VERSION}")


def _recipient(line: bytes) -> DropRecipient:
    about = read_object(line, _RECIPIENT_KEYS, "recipient")
    notify, orcpt = about.get("notify", []), about.get("orcpt")
    if not isinstance(notify, list) or not all(isinstance(word, str) for word in notify):
        raise Damaged("notify is not a list of words")
    words = frozenset(Notify(word) for word in notify)
    if Notify.NEVER in words and len(words) > 1:
        raise Damaged("NEVER stands alone")
    return DropRecipient(read_text(about, "recipient"), words, None if orcpt is None else _original(orcpt))


def _original(value: object) -> OriginalRecipient:
    if not isinstance(value, list) or len(value) != 2:
        raise Damaged("orcpt is not a pair")
    kind, address = value
    if not isinstance(kind, str) or not isinstance(address, str):
        raise Damaged("orcpt is not a pair of texts")
    # It is written into reports and into RCPT (CVE-2020-28026 was a line end hidden here).
    if not re.fullmatch("[A-Za-z0-9-]{1,30}", kind) or not address.isprintable() or len(address) > _MAX_ORCPT_CHARS:
        raise Damaged("orcpt is not one")
    return OriginalRecipient(kind, address)
