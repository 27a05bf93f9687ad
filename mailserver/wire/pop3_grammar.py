"""The arguments of POP3 commands: octets behind the verb in, an event or the refusal out (RFC 1939 3, RFC 2449 4).

Each function takes what follows the verb and one blank; None when nothing follows. Numbers are ASCII digits and
nothing else: `1_0`, `+1`, `-1` and full-width digits, which `int` would take, are refused, and so is message 0.
"""

from collections.abc import Callable

from mailserver.mail import pop3_reply as replies
from mailserver.mail.pop3_reply import Pop3Reply
from mailserver.wire.pop3_events import (
    Delete,
    Language,
    List,
    Password,
    Pop3Event,
    Retrieve,
    Top,
    UniqueIds,
    User,
)

# More digits than any maildrop has messages or any message lines.
_MAX_DIGITS = 15

Parse = Callable[[bytes | None], Pop3Event | Pop3Reply]


def bare(event: Pop3Event) -> Parse:
    """A command without arguments; blanks behind it are harmless."""

    def parse(rest: bytes | None) -> Pop3Event | Pop3Reply:
        return event if not rest or not rest.strip(b" ") else replies.NO_ARGUMENTS

    return parse


def parse_user(rest: bytes | None) -> Pop3Event | Pop3Reply:
    """The login name; a quoted local-part may hold blanks. UTF-8 (RFC 6856 2.2)."""
    try:
        name = (rest or b"").strip(b" ").decode("utf-8")
    except UnicodeDecodeError:
        return replies.NOT_UTF8
    if not name:
        return replies.WANTS_NAME
    return User(name) if name.isprintable() else replies.LINE_WITH_CONTROLS


def parse_pass(rest: bytes | None) -> Pop3Event | Pop3Reply:
    """Everything behind the one blank, blanks included: passwords have them (RFC 1939 7, PASS).

    Deviation: octets that are not UTF-8 are read as Latin-1, in which old clients send the same password.
    """
    if rest is None:
        return replies.WANTS_PASSWORD
    try:
        return Password(rest.decode("utf-8"))
    except UnicodeDecodeError:
        return Password(rest.decode("latin-1"))


def parse_list(rest: bytes | None) -> Pop3Event | Pop3Reply:
    """One number or none."""
    return _optional_number(rest, List)


def parse_uidl(rest: bytes | None) -> Pop3Event | Pop3Reply:
    """One number or none."""
    return _optional_number(rest, UniqueIds)


def parse_retr(rest: bytes | None) -> Pop3Event | Pop3Reply:
    """One number."""
    return _one_number(rest, Retrieve)


def parse_dele(rest: bytes | None) -> Pop3Event | Pop3Reply:
    """One number."""
    return _one_number(rest, Delete)


def parse_top(rest: bytes | None) -> Pop3Event | Pop3Reply:
    """A message number, and a number of lines that may be 0."""
    words = _words(rest)
    if len(words) != 2:
        return replies.WANTS_NUMBER_AND_LINES
    number, lines = message_number(words[0]), digits(words[1])
    if number is None or lines is None:
        return replies.WANTS_NUMBER_AND_LINES
    return Top(number, lines)


def parse_lang(rest: bytes | None) -> Pop3Event | Pop3Reply:
    """A language tag (RFC 5646), `*`, or nothing."""
    words = _words(rest)
    if not words:
        return Language(None)
    if len(words) > 1 or not words[0].isascii():
        return replies.WANTS_LANGUAGE
    return Language(words[0].decode("ascii"))


def message_number(word: bytes) -> int | None:
    """1 or more; None for anything else."""
    return digits(word) or None


def digits(word: bytes) -> int | None:
    """ASCII digits, as many as make sense; None for anything else."""
    return int(word) if word.isdigit() and len(word) <= _MAX_DIGITS else None


def _optional_number(rest: bytes | None, event: Callable[[int | None], Pop3Event]) -> Pop3Event | Pop3Reply:
    words = _words(rest)
    if not words:
        return event(None)
    return _one_number(rest, event)


def _one_number(rest: bytes | None, event: Callable[[int], Pop3Event]) -> Pop3Event | Pop3Reply:
    words = _words(rest)
    number = message_number(words[0]) if len(words) == 1 else None
    return replies.WANTS_NUMBER if number is None else event(number)


def _words(rest: bytes | None) -> list[bytes]:
    """Split at blanks only: `bytes.split()` would also take tabs and other controls for blanks."""
    return [word for word in rest.split(b" ") if word] if rest else []
