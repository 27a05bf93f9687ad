"""What the POP3 machine tells: one frozen value for each thing a client can do. Each wants exactly one reply."""

from dataclasses import dataclass, field

from mailserver.mail.pop3_reply import Pop3Reply
from mailserver.wire.sasl import Mechanism, Step


@dataclass(frozen=True, slots=True)
class User:
    """USER; the name as typed, without blanks around it."""

    name: str


@dataclass(frozen=True, slots=True)
class Password:
    """PASS; everything behind one blank, blanks included."""

    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH, and every further response of its exchange. A challenge as the reply asks for the next response."""

    mechanism: Mechanism
    step: Step


@dataclass(frozen=True, slots=True)
class Mechanisms:
    """AUTH without a mechanism: what is there?"""


@dataclass(frozen=True, slots=True)
class Stat:
    """STAT."""


@dataclass(frozen=True, slots=True)
class List:
    """LIST, of one message or (None) of all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class UniqueIds:
    """UIDL, of one message or (None) of all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Retrieve:
    """RETR."""

    number: int


@dataclass(frozen=True, slots=True)
class Top:
    """TOP: the header section and so many lines of the body."""

    number: int
    lines: int


@dataclass(frozen=True, slots=True)
class Delete:
    """DELE."""

    number: int


@dataclass(frozen=True, slots=True)
class Reset:
    """RSET."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT; whatever was sent behind it is dropped."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """CAPA."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """STLS with nothing behind it; after +OK the machine waits for `tls_started`."""


@dataclass(frozen=True, slots=True)
class InjectedOctets:
    """Octets came behind STLS before the handshake (CVE-2011-0411 and its kin); they are gone. Refuse and close."""


@dataclass(frozen=True, slots=True)
class Utf8:
    """UTF8 (RFC 6856 2)."""


@dataclass(frozen=True, slots=True)
class Language:
    """LANG: choose a language by its tag, or (None) list them (RFC 6856 3)."""

    tag: str | None


@dataclass(frozen=True, slots=True)
class Faulted:
    """A command that the machine refuses: unknown, out of sequence, or against the grammar. `verb` is ours or empty."""

    verb: str
    reply: Pop3Reply


Pop3Event = (
    Retrieve
    | Delete
    | Top
    | Stat
    | List
    | UniqueIds
    | User
    | Password
    | Auth
    | Mechanisms
    | Reset
    | Noop
    | Quit
    | Capabilities
    | StartTls
    | InjectedOctets
    | Utf8
    | Language
    | Faulted
)
