"""Mail on its way out: conversations as the client, attempts, and where a queued recipient goes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.outcome import Outcome, Stage
from mailserver.mail.reply import Reply
from mailserver.mail.route import Login, Route
from mailserver.mail.transcript import Transcript
from mailserver.ports.network import Stream, TlsDetails, TlsRequirement
from mailserver.ports.storage import StoredContent


class TlsUse(Enum):
    """What TLS is to an outgoing conversation."""

    NEVER = "never"
    OPPORTUNISTIC = "opportunistic"  # STARTTLS when offered; without it, or when it is refused, in clear (RFC 7435)
    REQUIRED = "required"  # STARTTLS or nothing
    IMPLICIT = "implicit"  # from the first octet (RFC 8314)


@dataclass(frozen=True, slots=True)
class NextHop:
    """What a conversation has to know of the host it talks to.

    `host` is its text in outcomes, such as `mx.example.net[192.0.2.1]`. `helo` is our name. `may_auth_in_clear` is for
    loopback hosts only.
    """

    host: str
    helo: str
    tls: TlsUse
    requirement: TlsRequirement
    login: Login | None = None
    may_auth_in_clear: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """The next hop takes messages. `tls` None: the conversation is in clear.

    `is_tls_refused`: it offered STARTTLS and then did not do it, and we go on without.
    """

    tls: TlsDetails | None
    is_tls_refused: bool = False


@dataclass(frozen=True, slots=True)
class NotOpened:
    """The next hop takes no message from us now; the connection is closed. Never a reason to bounce.

    `may_try_in_clear`: the TLS handshake did not succeed, and only that is known to be wrong with this host.
    """

    reason: str
    stage: Stage
    reply: Reply | None = None
    may_try_in_clear: bool = False


class ContentSource(Protocol):
    """One content on its way out, in pieces of moderate size; may be read several times, one after the other."""

    @property
    def length(self) -> int:
        """All octets, CRLF line ends, dots not doubled."""

    def pieces(self) -> AsyncIterator[bytes]:
        """From the start to the end. Raises `OSError`; may end early when the file was cut, so count the octets."""


class Conversation(Protocol):
    """One SMTP conversation as the client, over one open stream. Nothing a peer does makes it raise."""

    def open(self) -> Awaitable[Opened | NotOpened]:
        """Greeting, EHLO, STARTTLS, AUTH."""

    def transcribe(self, transcript: Transcript | None) -> None:
        """From now on note there what is said; None: nowhere."""

    def send(self, envelope: Envelope, content: ContentSource) -> Awaitable[dict[Recipient, Outcome]]:
        """One message, in one or several transactions: an outcome for each recipient. May be repeated."""

    @property
    def can_send(self) -> bool:
        """Whether another message may follow on this connection."""

    def quit(self) -> Awaitable[None]:
        """QUIT and close. The answer is not waited for: nothing depends on it."""

    def abort(self) -> None:
        """Drop the connection now; what waits answers soon after."""


ConversationFactory = Callable[[Stream, NextHop], Conversation]


class Transmitter(Protocol):
    """One delivery attempt. Never raises for anything that the network or a peer does."""

    def send(
        self,
        route: Route,
        envelope: Envelope,
        content: StoredContent,
        queue_id: str = "",
        transcript: Transcript | None = None,
    ) -> Awaitable[dict[Recipient, Outcome]]:
        """Try to hand the message on: exactly one outcome for each of the envelope's recipients.

        All recipients must belong to `route`. Returns within a bounded time. `queue_id` is for what is told on the way.
        `transcript` gets what is said, but for passwords and content.
        """


@dataclass(frozen=True, slots=True)
class LocalMailboxes:
    """Delivered here, to these mailboxes; `outside` are further addresses that an alias names. Not both empty."""

    mailboxes: tuple[Mailbox, ...]
    outside: tuple[Mailbox, ...] = ()


@dataclass(frozen=True, slots=True)
class NoDestination:
    """The queue cannot deliver there and never will: no such account, or none any more. `enhanced` for the DSN."""

    reason: str
    enhanced: str


Destination = Route | LocalMailboxes | NoDestination


class FindDestination(Protocol):
    """Where a queued recipient goes now; asked before every attempt, from memory, so that new routes count at once."""

    def __call__(self, mailbox: Mailbox, attempts: int = 0) -> Destination:
        """`attempts` are those that were made without success."""
