"""POP3 responses as values, and the catalogue of every text the POP3 side says (RFC 1939 3, RFC 2449 8, RFC 3206).

No other module writes a response text. Public text never holds paths, host internals or exception strings. Response
codes are used only where they are true; `[AUTH]` means that the credentials are wrong, nothing else.
"""

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mailserver.mail.reply import printable

# RFC 2449 4: the first line of a response is at most 512 octets, CRLF included.
MAX_RESPONSE_LINE_OCTETS = 512
_END = ".\r\n"


class Status(Enum):
    """How a response begins."""

    OK = "+OK"
    ERR = "-ERR"
    CHALLENGE = "+"  # RFC 5034 4: the next line is the response to it


class PieceSource(Protocol):
    """The rest of a multi-line response that is too large to be held whole; ready for the wire, terminator included."""

    def next_piece(self) -> Awaitable[bytes]:
        """The next octets to send, `b""` at the end.

        When it raises, the response cannot be completed: the connection must be dropped without another octet.
        """

    def close(self) -> None:
        """Let go of it, at any time and any number of times; never raises."""


@dataclass(frozen=True, slots=True)
class Pop3Reply:
    """One response. `code` is a response code without brackets (RFC 2449 8) or empty.

    `body` is what follows the first line, terminator included; with `pieces` the body comes from there instead, and
    must be asked for to its end or closed. `opens_maildrop`: the login succeeded, TRANSACTION begins.
    """

    status: Status
    text: str
    code: str = ""
    body: bytes = b""
    pieces: PieceSource | None = None
    opens_maildrop: bool = False

    @property
    def is_positive(self) -> bool:
        """+OK."""
        return self.status is Status.OK

    def encode(self) -> bytes:
        """The octets to send, but for `pieces`. Controls become `?`; the first line is cut at 512 octets."""
        lead = f"{self.status.value} [{self.code}] " if self.code else f"{self.status.value} "
        line = (lead + printable(self.text)).encode("utf-8")
        # A challenge may be longer (RFC 5034 4).
        if len(line) > MAX_RESPONSE_LINE_OCTETS - 2 and self.status is not Status.CHALLENGE:
            line = line[: MAX_RESPONSE_LINE_OCTETS - 2].decode("utf-8", "ignore").encode("utf-8")
        return line + b"\r\n" + self.body

    def __str__(self) -> str:
        """The first line, for logs."""
        return f"{self.status.value} [{self.code}] {self.text}" if self.code else f"{self.status.value} {self.text}"


def ok(text: str, body: bytes = b"") -> Pop3Reply:
    """+OK."""
    return Pop3Reply(Status.OK, text, body=body)


def err(text: str, code: str = "") -> Pop3Reply:
    """-ERR."""
    return Pop3Reply(Status.ERR, text, code)


def _multi_line(text: str, lines: Iterable[str]) -> Pop3Reply:
    """`lines` are ours: ASCII, and none begins with a dot."""
    return ok(text, "".join([*(f"{line}\r\n" for line in lines), _END]).encode("ascii"))


# --- the connection ---------------------------------------------------------------------------------------------------


def greeting(hostname: str) -> Pop3Reply:
    """Without an APOP stamp: curl, s-nail and neomutt would try APOP and fail."""
    return ok(f"{hostname} POP3 server ready")


GOODBYE = ok("goodbye")
SHUTTING_DOWN = err("the server stops; please connect again later", "SYS/TEMP")
TOO_MANY_CONNECTIONS = err("too many connections; please try again later", "SYS/TEMP")
INTERNAL_ERROR = err("internal error; please connect again later", "SYS/TEMP")
BEGIN_TLS = ok("begin TLS")
TLS_NOT_AVAILABLE = err("TLS is not available here")
TLS_ALREADY_ACTIVE = err("TLS is active already")
INJECTED_OCTETS = err("nothing may be sent behind STLS before the TLS handshake")

# --- grammar and sequence ---------------------------------------------------------------------------------------------

UNKNOWN_COMMAND = err("unknown command")
EMPTY_COMMAND = err("empty command")
NOT_BEFORE_LOGIN = err("log in first")
NOT_AFTER_LOGIN = err("you are logged in already")
LINE_TOO_LONG = err("line too long")
LINE_WITH_CONTROLS = err("control characters are not allowed in a command")
NO_ARGUMENTS = err("this command takes no argument")
WANTS_NAME = err("this command wants a name")
WANTS_PASSWORD = err("this command wants a password")
WANTS_NUMBER = err("this command wants a message number, 1 or more")
WANTS_NUMBER_AND_LINES = err("this command wants a message number and a number of lines")
WANTS_MECHANISM = err("this command wants a mechanism and at most one response")
WANTS_LANGUAGE = err("this command wants one language tag or none")
NOT_UTF8 = err("the argument is not UTF-8 text")
TOO_MANY_ERRORS = err("too many errors; goodbye")

# --- login ------------------------------------------------------------------------------------------------------------

USER_NOTED = ok("now the password")
USER_FIRST = err("USER comes before PASS")
LOGIN_NEEDS_TLS = err("use STLS first; passwords are not taken in clear here")
LOGIN_WITHOUT_TLS_IMPOSSIBLE = err("passwords are not taken in clear here; use the port with TLS")
LOGIN_WRONG = err("login name or password is wrong", "AUTH")
LOGIN_WRONG_TOO_OFTEN = err("login name or password is wrong; goodbye", "AUTH")
LOGIN_BUSY = err("too many logins at the moment; please try again later", "SYS/TEMP")
ACCOUNT_CHANGED = err("this login counts no longer; nothing was deleted, please log in again")
MAILDROP_IN_USE = err("another session has this mailbox open; please try again later", "IN-USE")
MAILDROP_TROUBLE = err("the mailbox cannot be opened at the moment; please try again later", "SYS/TEMP")
MECHANISM_UNKNOWN = err("this mechanism is not offered")
AUTH_CANCELLED = err("login cancelled")


def auth_malformed(reason: str) -> Pop3Reply:
    """A response that does not follow its mechanism; `reason` in our own words."""
    return err(reason)


def challenge(encoded: str) -> Pop3Reply:
    """A SASL challenge in base64; empty for PLAIN, whose line is `+ ` with the blank (curl waits for it)."""
    return Pop3Reply(Status.CHALLENGE, encoded)


def mechanisms(names: Iterable[str]) -> Pop3Reply:
    """The answer to a bare AUTH, which old clients send to see what there is."""
    return _multi_line("mechanisms follow", names)


def logged_in(messages: int, octets: int) -> Pop3Reply:
    """The maildrop is locked and ready."""
    return Pop3Reply(Status.OK, f"{messages} messages ({octets} octets)", opens_maildrop=True)


# --- the maildrop -----------------------------------------------------------------------------------------------------

NO_SUCH_MESSAGE = err("no such message")
MESSAGE_DELETED = err("this message is marked as deleted")
MESSAGE_GONE = err("another program has removed this message")
MESSAGE_TROUBLE = err("this message cannot be read at the moment; please try again later", "SYS/TEMP")
BUSY = err("the server is busy; please try again", "SYS/TEMP")
NOOP_DONE = ok("nothing done")
NOT_ALL_REMOVED = err("some deleted messages were not removed", "SYS/TEMP")


def stat(messages: int, octets: int) -> Pop3Reply:
    """RFC 1939 5, STAT: the first line's form is fixed."""
    return ok(f"{messages} {octets}")


def list_one(number: int, octets: int) -> Pop3Reply:
    """RFC 1939 5, LIST with a number."""
    return ok(f"{number} {octets}")


def listing(messages: int, octets: int, lines: list[str]) -> Pop3Reply:
    """RFC 1939 5, LIST; `lines` with their CRLF, one for each message."""
    return ok(f"{messages} messages ({octets} octets)", ("".join(lines) + _END).encode("ascii"))


def listing_in_pieces(messages: int, octets: int, pieces: PieceSource) -> Pop3Reply:
    """RFC 1939 5, LIST of very many messages."""
    return Pop3Reply(Status.OK, f"{messages} messages ({octets} octets)", pieces=pieces)


def unique_ids_in_pieces(pieces: PieceSource) -> Pop3Reply:
    """RFC 1939 7, UIDL of very many messages."""
    return Pop3Reply(Status.OK, "unique-ids follow", pieces=pieces)


def unique_id(number: int, unique: str) -> Pop3Reply:
    """RFC 1939 7, UIDL with a number."""
    return ok(f"{number} {unique}")


def unique_ids(lines: list[str]) -> Pop3Reply:
    """RFC 1939 7, UIDL; `lines` with their CRLF, one for each message."""
    return ok("unique-ids follow", ("".join(lines) + _END).encode("ascii"))


def message(octets: int, body: bytes) -> Pop3Reply:
    """RFC 1939 5, RETR of a message held whole."""
    return Pop3Reply(Status.OK, f"{octets} octets", body=body)


def message_in_pieces(octets: int, pieces: PieceSource) -> Pop3Reply:
    """RFC 1939 5, RETR of a large message."""
    return Pop3Reply(Status.OK, f"{octets} octets", pieces=pieces)


def top(body: bytes) -> Pop3Reply:
    """RFC 1939 7, TOP."""
    return ok("the top of the message follows", body)


def top_in_pieces(pieces: PieceSource) -> Pop3Reply:
    """RFC 1939 7, TOP of a large message."""
    return Pop3Reply(Status.OK, "the top of the message follows", pieces=pieces)


def deleted(number: int) -> Pop3Reply:
    """RFC 1939 5, DELE: nothing is removed before QUIT."""
    return ok(f"message {number} will be deleted at QUIT")


def reset(messages: int, octets: int) -> Pop3Reply:
    """RFC 1939 5, RSET."""
    return ok(f"no message is marked as deleted; {messages} messages ({octets} octets)")


def updated(removed: int) -> Pop3Reply:
    """RFC 1939 6: the removals are on disk."""
    return ok(f"goodbye; {removed} messages deleted" if removed else "goodbye")


# --- capabilities and languages ---------------------------------------------------------------------------------------

UTF8_ENABLED = ok("UTF8 enabled")
LANGUAGE_UNKNOWN = err("this language is not spoken here")
LANGUAGES = _multi_line("languages follow", ("en English",))
# RFC 6856 3.1: the tag stands first in the answer.
LANGUAGE_ENGLISH = ok("en this is English")


def capabilities(lines: Iterable[str]) -> Pop3Reply:
    """RFC 2449 5."""
    return _multi_line("capabilities follow", lines)
