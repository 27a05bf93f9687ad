"""What the SMTP server machine tells: one frozen value for each thing a client can do (RFC 5321 4.1).

All but `Content` want exactly one reply.
"""

from dataclasses import dataclass

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.reply import Reply
from mailserver.wire.data import ContentFault
from mailserver.wire.sasl import Mechanism, Step


@dataclass(frozen=True, slots=True)
class Hello:
    """EHLO (`is_extended`) or HELO. `name` is printable text of at most 255 octets that nobody has checked further."""

    name: str
    is_extended: bool


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL: the envelope so far, without recipients."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT."""

    recipient: Recipient


@dataclass(frozen=True, slots=True)
class Data:
    """DATA with at least one accepted recipient; a 354 lets the content come."""


@dataclass(frozen=True, slots=True)
class Content:
    """A piece of content: CRLF line ends, dots removed. Wants no reply. Content that has a fault is not told."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class EndOfContent:
    """The end of DATA, or of the last BDAT chunk. `size_octets` counts what came, also what was not told."""

    size_octets: int
    faults: frozenset[ContentFault]
    is_chunked: bool


@dataclass(frozen=True, slots=True)
class EndOfChunk:
    """The end of a BDAT chunk that is not the last. A reply that is not positive ends the transaction."""

    chunk_octets: int
    faults: frozenset[ContentFault]


@dataclass(frozen=True, slots=True)
class Reset:
    """RSET."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Verify:
    """VRFY; whom is not told, because the answer is the same for all."""


@dataclass(frozen=True, slots=True)
class Help:
    """HELP."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT; whatever was sent behind it is dropped."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS with nothing behind it; after a 220 the machine waits for `tls_started`."""


@dataclass(frozen=True, slots=True)
class InjectedOctets:
    """Octets came behind STARTTLS before the handshake (CVE-2011-0411); they are gone. Refuse and close."""


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH, and every further response of its exchange. A 334 asks for the next response."""

    mechanism: Mechanism
    step: Step


@dataclass(frozen=True, slots=True)
class Faulted:
    """A command that the machine refuses: unknown, out of sequence, or against the grammar.

    `verb` is one of ours or empty, never the client's text. `must_close` tells that what follows cannot be told apart
    from commands any more.
    """

    verb: str
    reply: Reply
    must_close: bool = False


SmtpEvent = (
    Hello
    | Mail
    | Rcpt
    | Data
    | Content
    | EndOfContent
    | EndOfChunk
    | Reset
    | Noop
    | Verify
    | Help
    | Quit
    | StartTls
    | InjectedOctets
    | Auth
    | Faulted
)
