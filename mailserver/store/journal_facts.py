"""From an event to what the journal keeps of it: a row, and the texts under which it is found. Pure.

Facts are stored, not sentences: the fields of the event by name, as JSON. What a row can be found by are *mentions*,
each with a letter for its kind, folded so that a search need not know how somebody wrote it:

    a:alice@example.org      an address: sender, recipient, mailbox, login
    p:192.0.2.1              a peer's address, without its port
    m:1@outside.example      a Message-ID, without brackets
    f:1750000000.M1P2Q3.h    a file in a Maildir, by the unique part of its name; one in the drop folder, by its name
    q:25X8TJJVS6600          another message, by its queue id: what a report is about
    d:example.net            a destination of the queue: when it was down and came back
    w:example.net            the same: the hosts that were to be tried for it

Never kept: passwords (no event has one), content beyond Subject and Message-ID, and a wrong login that is no address,
because people type their password into the wrong field. Every text is bounded, so that a peer cannot fill the history.
"""

import ipaddress
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from email.errors import MessageError
from email.header import decode_header
from math import isfinite

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.ids import is_queue_id
from mailserver.mail.reply import printable
from mailserver.maillog import (
    DestinationBack,
    DestinationDown,
    Disconnected,
    LoginRefused,
    LookedUp,
    MailEvent,
    Refused,
    SetAside,
)

MAX_TEXT_CHARS = 1000
# Recipients of one message; more than any sane limit on them.
MAX_ITEMS = 2000
# What one address may have noted of its refused attempts in an hour; a scanner must not push out everybody's history.
MAX_ATTEMPTS_NOTED = 200
_HOUR_S = 3600.0
_MAX_CLIENTS = 10_000

# `[time, queue id, word, fields]`, and the mentions.
Row = tuple[float, str, str, dict[str, object]]
Fact = tuple[Row, list[str]]

_ATTEMPTS = (Refused, LoginRefused, Disconnected)
# Facts of our own, beside the events'.
THINNED = "thinned"
LOST = "history-lost"


class Facts:
    """Makes facts. With `subjects` or `message_ids` off, these are forgotten here. For one thread."""

    def __init__(self, *, subjects: bool = True, message_ids: bool = True) -> None:
        self._left_out = {name for name, is_kept in (("subject", subjects), ("message_id", message_ids)) if not is_kept}
        self._plans: dict[type[MailEvent], tuple[tuple[str, KeyOf | None], ...]] = {}
        self._attempts: dict[str, tuple[float, int]] = {}

    def of(self, time: float, event: MailEvent) -> Fact | None:
        """The fact, or None for an event that nobody could ask for, or one too many of the same peer's."""
        if isinstance(event, LoginRefused) and not _is_address(event.login):
            event = replace(event, login="")
        kind = type(event)
        kept: dict[str, object] = {}
        mentions: dict[str, None] = {}
        for name, key_of in self._plans.get(kind) or self._plan(kind):
            value = _bounded(getattr(event, name))
            if value is None:
                continue
            kept[name] = value
            if key_of is not None:
                for text in _texts(name, value):
                    if key := key_of(text):
                        mentions[key] = None
        queue_id = _text(getattr(event, "queue_id", ""))
        if not queue_id and not mentions:
            return None
        if not queue_id and isinstance(event, _ATTEMPTS):
            return self._attempt(time, event, kept, list(mentions))
        return (time, queue_id, event.word, kept), list(mentions)

    def _plan(self, kind: type[MailEvent]) -> tuple[tuple[str, "KeyOf | None"], ...]:
        """The fields to keep, each with what makes mentions of it; worked out once for each kind of event."""
        unwanted = {"queue_id", *self._left_out}
        keys = _KEYS | _MORE_KEYS.get(kind, {})
        plan = self._plans[kind] = tuple(
            (one.name, keys.get(one.name)) for one in fields(kind) if one.name not in unwanted
        )
        return plan

    def _attempt(
        self, time: float, event: Refused | LoginRefused | Disconnected, kept: dict[str, object], mentions: list[str]
    ) -> Fact | None:
        count = self._count(event.peer, time)
        if count < MAX_ATTEMPTS_NOTED:
            return (time, "", event.word, kept), mentions
        if count == MAX_ATTEMPTS_NOTED:
            return (time, "", THINNED, {"peer": event.peer}), [peer_key(event.peer)]
        return None

    def _count(self, peer: str, time: float) -> int:
        """How many attempts of this client were told within the hour, this one included."""
        client = _client(peer)
        since, count = self._attempts.get(client, (time, 0))
        if not 0 <= time - since < _HOUR_S:
            since, count = time, 0
        if len(self._attempts) >= _MAX_CLIENTS:
            self._attempts.clear()
        self._attempts[client] = since, count + 1
        return count + 1


def lost(time: float, count: int) -> Fact:
    """A gap in the history: so many events were dropped before this moment."""
    return (time, "", LOST, {"count": count}), [f"{LOST}:"]


# --- what a search looks for ------------------------------------------------------------------------------------------


def address_key(text: str) -> str:
    """The mention of an address; `<>` and what is none give the empty text."""
    text = text.removeprefix("<").removesuffix(">")
    if "@" not in text:
        return ""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return "a:" + text.casefold()


def mailbox_key(mailbox: Mailbox) -> str:
    """The mention of a parsed address."""
    return address_key(str(mailbox))


def peer_key(text: str) -> str:
    """The mention of a peer, with or without its port: `192.0.2.1:25`, `[2001:db8::1]:25`, `2001:db8::1`, `local`."""
    if text.startswith("["):
        return "p:" + text[1:].partition("]")[0]
    return "p:" + (text.rpartition(":")[0] if text.count(":") == 1 else text)


def message_id_key(text: str) -> str:
    """The mention of a Message-ID, with or without its brackets; they are compared exactly."""
    return "m:" + text.strip().removeprefix("<").removesuffix(">")


def file_key(name: str) -> str:
    """The mention of a file in a Maildir."""
    return "f:" + name


def queue_id_key(queue_id: str) -> str:
    """The mention of another message."""
    return "q:" + queue_id


def destination_key(text: str) -> str:
    """The mention of a destination: a domain in the spelling that DNS wants, or host and port."""
    return "d:" + text.casefold()


def way_key(text: str) -> str:
    """The mention of the hosts that lead to a destination."""
    return "w:" + text.casefold()


# --- parts ------------------------------------------------------------------------------------------------------------


def _about_key(text: str) -> str:
    return queue_id_key(text) if is_queue_id(text) else address_key(text)


# Takes a text of a field, gives its mention; empty for none.
KeyOf = Callable[[str], str]
_KEYS: dict[str, KeyOf] = {
    "reverse_path": address_key,
    "recipients": address_key,
    "recipient": address_key,
    "mailbox": address_key,
    "login": address_key,
    "about": _about_key,
    "peer": peer_key,
    "message_id": message_id_key,
    "file": file_key,
}
# Other events have a destination too, and are found by their message.
_MORE_KEYS: dict[type[MailEvent], dict[str, KeyOf]] = {
    DestinationDown: {"destination": destination_key},
    DestinationBack: {"destination": destination_key},
    LookedUp: {"destination": way_key},
    SetAside: {"path": lambda path: file_key(path.rpartition("/")[2])},
}


def _texts(name: str, value: object) -> Sequence[str]:
    if isinstance(value, str):
        # One copy in a mailbox may be for several recipients.
        return value.split(",") if name == "recipient" and '"' not in value else (value,)
    return value if isinstance(value, list) else ()


def _bounded(value: object) -> object:
    """What JSON can hold, within bounds; None for nothing."""
    if isinstance(value, str):
        return _text(value) if value else None
    if isinstance(value, tuple):
        return [_text(str(item)) for item in value[:MAX_ITEMS]] or None
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, bytes):
        return _text(decoded(value)) if value else None
    return value


def _text(text: str) -> str:
    if len(text) <= MAX_TEXT_CHARS and text.isascii() and text.isprintable():
        return text
    return printable(text[:MAX_TEXT_CHARS])


def decoded(value: bytes) -> str:
    """A header field's value in letters (RFC 2047); what cannot be decoded stays as it came."""
    text = value.decode("utf-8", "replace")
    if "=?" not in text:
        return text
    try:
        return "".join(_letters(part, charset) for part, charset in decode_header(text)) or text
    except (MessageError, LookupError, ValueError):
        return text


def _letters(part: str | bytes, charset: str | None) -> str:
    return part if isinstance(part, str) else part.decode(charset or "ascii", "replace")


def _is_address(text: str) -> bool:
    mailbox = parse_mailbox(text)
    return isinstance(mailbox, Mailbox) and mailbox.domain != ""


def _client(peer: str) -> str:
    """Who is counted as one: an IPv4 address, an IPv6 /64."""
    address = peer_key(peer)[2:]
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, 64), strict=False))
    except ValueError:
        return address
