"""The doors between rooms, as `typing.Protocol`.

A room that needs something of the world asks a door; `service` plugs the real thing in, tests a plain fake. Doors that
may wait are typed `-> Awaitable[T]`, so a coroutine and a Deferred both fit. Doors without `Awaitable` answer at once
from memory and never touch disk or network.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from mailserver.mail.address import Mailbox
from mailserver.mail.dns import AddressAnswer, IpAddress, MxAnswer, TextAnswer
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Outcome, Stage
from mailserver.mail.reply import Reply
from mailserver.mail.route import Login, Route
from mailserver.mail.transcript import Transcript

T = TypeVar("T")


# --- time -------------------------------------------------------------------------------------------------------------


class Cancellable(Protocol):
    """A call that has been scheduled."""

    def cancel(self) -> None:
        """Forget it. Cancelling what has run already is not an error."""


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for what is measured, and later calls."""

    def now(self) -> float:
        """Seconds since the epoch; may jump."""

    def monotonic(self) -> float:
        """Seconds that only grow; its zero means nothing."""

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Cancellable:
        """Run `call` after `delay_s` seconds of monotonic time; what it raises is logged."""

    def sleep(self, delay_s: float) -> Awaitable[None]:
        """Wait without holding anything."""


# --- blocking work ----------------------------------------------------------------------------------------------------


class Lane(Enum):
    """Separate bounded executors, so that work of one kind never starves another (design section 8)."""

    CONTENT = "content"  # large messages on their way to the disk
    MAILBOX = "mailbox"  # POP3 listings, reads and deletions
    PASSWORDS = "passwords"  # slow hashes, two at once
    QUEUE = "queue"  # spool files: reading, state changes, removal
    GENERAL = "general"


class Overloaded(Exception):
    """The lane's queue is full. The peer gets 421, 451 or 454 and comes back."""


class Blocking(Protocol):
    """Runs blocking calls away from the reactor thread."""

    def run(self, lane: Lane, call: Callable[..., T], *args: object) -> Awaitable[T]:
        """The result of `call(*args)`, or its exception. Raises `Overloaded` at once when the lane is full."""


# --- conversations ----------------------------------------------------------------------------------------------------


class Then(Enum):
    """What the connection does after a reply is on its way."""

    CONTINUE = "continue"
    START_TLS = "start_tls"  # only when the input buffer is empty; the machine forgets everything
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A session's answer to one event: the reply, and what follows it.

    `why` tells the log why we close, when it was not the client's wish.
    """

    reply: T
    then: Then = Then.CONTINUE
    why: str = ""


# --- accounts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """One account: `mailbox` is its address and the name of its Maildir."""

    mailbox: Mailbox
    is_enabled: bool = True
    # Further addresses (`x@example.org`) and whole domains (`@example.org`) it may send as (`may_send_as`).
    may_send_as: tuple[str, ...] = ()


class Directory(Protocol):
    """Domains, accounts and aliases, in memory, matched by `Mailbox.folded`; reloaded when their file changes."""

    def is_local_domain(self, domain: str) -> bool:
        """Whether mailboxes of this canonical domain live here; exact match, no sub-domains."""

    def account(self, mailbox: Mailbox) -> Account | None:
        """The account with exactly this address, enabled or not."""

    def alias(self, mailbox: Mailbox) -> tuple[Mailbox, ...] | None:
        """The targets of exactly this alias; None when there is none."""

    def catch_all(self, domain: str) -> tuple[Mailbox, ...] | None:
        """The targets of `@domain`; None when there is none."""

    def postmaster(self) -> Mailbox:
        """Who gets postmaster@ and abuse@ of every local domain, and the bare `postmaster`."""

    def reaches(self, account: Account) -> Iterable[Mailbox]:
        """Every alias address whose expansion contains this account's mailbox."""


class Credentials(Protocol):
    """Checks passwords; slow by intention, so it works in the `PASSWORDS` lane."""

    def verify(self, login: str, password: str) -> Awaitable[Account | None]:
        """The account when login and password fit and it is enabled, else None.

        Takes the same time for an unknown login as for a wrong password. Raises `Overloaded` when too many wait.
        """


# --- storage ----------------------------------------------------------------------------------------------------------


class StorageFull(Exception):
    """No space, no inodes or over a quota: 452, try later."""


class StorageTrouble(Exception):
    """Any other reason why nothing could be written: 451. The text is for the log."""


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """One copy for one mailbox here.

    `recipients` are the envelope's recipients that led to this mailbox (several may); they go to the spool when the
    mailbox cannot be written. `trace` is put before everything else: Return-Path and Delivered-To, CRLF line ends.
    """

    mailbox: Mailbox
    recipients: tuple[Recipient, ...]
    trace: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """A DSN of ours that must be on disk together with what it reports on. It becomes a spool file of its own."""

    queue_id: QueueId
    envelope: Envelope
    content: bytes


@dataclass(frozen=True, slots=True)
class SuccessReport:
    """RFC 3461 6.2: what is said to a sender who asked to be told that `recipients` have their copies here.

    `report` is about all of them. When some copies have to wait in the queue, which reports them later, `fewer` makes
    the one about the others; it is called in a worker thread.
    """

    recipients: tuple[Recipient, ...]
    report: Report
    fewer: Callable[[tuple[Recipient, ...]], Report | None]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Everything that must be on disk before one 250.

    `envelope` names all recipients that go to the spool (`remote` of them; empty for none): its recipients are ignored
    otherwise. `received` is our Received field, CRLF line end, put before the content of every copy.
    """

    queue_id: QueueId
    received_at: float
    envelope: Envelope
    received: bytes
    local: tuple[LocalCopy, ...] = ()
    remote: tuple[Recipient, ...] = ()
    success: SuccessReport | None = None
    # Who handed it in, for the spool file: peer address, login, protocol. Shown by `queue show`.
    source: str = ""
    # Reports that are due whatever becomes of the copies.
    reports: tuple[Report, ...] = ()


# A success report (RFC 3461 6.2) about recipients that asked for it and are being filed here: it becomes part of the
# same acceptance, so that both are on disk together. Takes the acceptance without it, those recipients, and the header
# section; None when there is nobody to report to (null reverse-path).
MakeSuccessReport = Callable[[Acceptance, tuple[Recipient, ...], bytes], Report | None]


@dataclass(frozen=True, slots=True)
class Filed:
    """What a commit did. `spooled` lists the local copies that could not be filed now and wait in the queue instead.

    `report` is the success report that went to the spool as well. `files` are the unique parts of the file names of
    `filed`, in its order.
    """

    filed: tuple[LocalCopy, ...]
    spooled: tuple[tuple[LocalCopy, str], ...] = ()
    report: Report | None = None
    files: tuple[str, ...] = field(default=(), compare=False)


class ContentWriter(Protocol):
    """Takes one large content as it comes, straight to its place on disk under a temporary name."""

    def write(self, piece: bytes) -> Awaitable[None] | None:
        """Hand over the next octets (CRLF line ends, dots removed). An awaitable means: wait before the next piece.

        Trouble is remembered and told by `commit`.
        """

    def commit(self) -> Awaitable[Filed]:
        """Make it durable in all its places; returns when file and directory are synced.

        Raises `StorageFull` or `StorageTrouble`, then nothing is left behind.
        """

    def discard(self) -> None:
        """Forget it and remove the temporary file; never raises."""


class Committer(Protocol):
    """The way to disk for everything accepted: group commit (design section 8)."""

    def commit(self, acceptance: Acceptance, content: bytes) -> Awaitable[Filed]:
        """Write one content of moderate size, CRLF line ends, to all its places; durable when it answers.

        All or nothing, but for a local copy whose own mailbox is in trouble, which is spooled. Raises `StorageFull`,
        `StorageTrouble` or `Overloaded`; then nothing is left behind.
        """

    def open(self, acceptance: Acceptance) -> ContentWriter:
        """Begin a large content."""

    def has_room(self, size_octets: int) -> bool:
        """Whether `size_octets` more leave `min_free` on both file systems; from a figure at most a second old."""


class MailboxWriter(Protocol):
    """Files a message that waited in the queue into one Maildir."""

    def file(self, mailbox: Mailbox, trace: bytes, content: "StoredContent") -> Awaitable[str]:
        """Durable when it answers with the unique part of the file's name; raises `StorageFull` or `StorageTrouble`."""


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Content inside a file: `length` octets from `offset`, CRLF line ends (the content part of a spool file)."""

    path: Path
    offset: int
    length: int


class MaildropInUse(Exception):
    """Another session has this maildrop open: -ERR [IN-USE]."""


class MessageGone(Exception):
    """Another program removed the message after the snapshot was taken, or it is no regular file any more."""


class LargeMessage(Protocol):
    """One message too large to be read whole; octets as stored, so line ends may be LF or CRLF."""

    def next_piece(self) -> Awaitable[bytes]:
        """The next octets, at most 256 KiB; `b""` at the end. Raises `StorageTrouble` or `Overloaded`."""

    def close(self) -> None:
        """Let go of the file, at any time and any number of times; never raises."""


class Maildrop(Protocol):
    """One mailbox as one POP3 session sees it: numbered from 1, locked, unmoved by what others do (RFC 1939)."""

    @property
    def sizes(self) -> Sequence[int]:
        """Octets of each message as POP3 sends it (CRLF, dots not doubled), message 1 first. Never changes."""

    def file_name(self, number: int) -> str:
        """The unique part of the name of this message's file, for the journal; at once, from memory."""

    def unique_ids(self) -> Awaitable[Sequence[str]]:
        """The unique-id of each message, 1 to 70 printable octets, all different. Raises `Overloaded`."""

    def read(self, number: int) -> Awaitable[bytes | LargeMessage]:
        """The stored octets whole up to 1 MiB, else in pieces. Raises `MessageGone`, `StorageTrouble`, `Overloaded`."""

    def measured(self, number: int, octets: int) -> Awaitable[None]:
        """Tell how many octets message `number` really was when sent; a wrong size is right in the next session."""

    def update(self, deleted: Collection[int], retrieved: Collection[int]) -> Awaitable[int]:
        """Remove `deleted` for good, mark the rest of `retrieved` as seen, and close.

        Answers how many could not be removed; what another program removed already counts as removed. Durable, and
        the lock is free, when it answers. Raises `StorageTrouble` or `Overloaded`; the lock is free then too.
        """

    def close(self) -> None:
        """Free the lock and forget everything, changing nothing; at any time and any number of times, never raises."""


class Maildrops(Protocol):
    """Opens maildrops, one session each."""

    def open(self, account: Account) -> Awaitable[Maildrop]:
        """Lock and list. A Maildir that does not exist yet is empty.

        Raises `MaildropInUse`, `StorageTrouble` or `Overloaded`; then nothing is locked.
        """


class Spooler(Protocol):
    """Puts a message of our own making (a bounce, a delay notice) into the queue."""

    def spool(self, report: Report) -> Awaitable[None]:
        """Durable when it answers, and the queue knows of it; raises `StorageFull` or `StorageTrouble`."""


# --- network ----------------------------------------------------------------------------------------------------------


class Resolver(Protocol):
    """DNS. Never raises: a failure is `CannotTell`. Names are canonical ASCII without trailing dot."""

    def mx(self, domain: str) -> Awaitable[MxAnswer]:
        """All MX records, unsorted."""

    def addresses(self, host: str, *, ipv4: bool = True, ipv6: bool = True) -> Awaitable[AddressAnswer]:
        """A and AAAA together, CNAMEs followed within bounds. `CannotTell` only if no wanted family gave addresses."""

    def text(self, name: str) -> Awaitable[TextAnswer]:
        """TXT records, the strings of each joined."""

    def pointer(self, address: IpAddress) -> Awaitable[TextAnswer]:
        """PTR names of an address."""


class ConnectionFailed(Exception):
    """No connection, or one that broke. The text is plain words for the log, such as `connection refused`."""


class TlsFailed(Exception):
    """The handshake did not succeed. The text is plain words for the log."""


@dataclass(frozen=True, slots=True)
class TlsRequirement:
    """What a handshake must prove. `verify_host` empty means: encrypt, verify nothing (RFC 7435)."""

    server_name: str
    verify_host: str = ""
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class TlsDetails:
    """What was agreed: `TLSv1.3`, `TLS_AES_256_GCM_SHA384`."""

    version: str
    cipher: str


@dataclass(frozen=True, slots=True)
class PeerTls:
    """What protected the last conversations with a host; times are seconds since the epoch, 0.0 for never.

    `version` is the last TLS version it did (`TLSv1.3`; nothing was verified), empty when it never had any. `seen_at`
    is when. `clear_since`: it has been without from then on; `told_at` is when that was last said.
    """

    version: str
    seen_at: float
    clear_since: float = 0.0
    told_at: float = 0.0


class HistoryStore(Protocol):
    """What is remembered of other servers. Answers at once from memory; a crash may cost the last minutes of it."""

    def tls(self, host: str) -> PeerTls | None:
        """What is known of a host, by its name (an address for a host without one)."""

    def remember_tls(self, host: str, seen: PeerTls) -> None:
        """Know this of it from now on. The hosts heard of longest ago are forgotten first."""


class Stream(Protocol):
    """An open connection, read and written by one conversation."""

    @property
    def peer(self) -> str:
        """Address and port of the other side, for the log."""

    def read(self) -> Awaitable[bytes]:
        """The next octets, `b""` at the end of the stream. Raises `ConnectionFailed`."""

    def write(self, octets: bytes) -> Awaitable[None]:
        """Answers when the octets are on their way and little waits before them. Raises `ConnectionFailed`."""

    def start_tls(self, requirement: TlsRequirement) -> Awaitable[TlsDetails]:
        """Upgrade. Raises `TlsFailed` or `ConnectionFailed`; octets that came before the handshake are an error."""

    def close(self) -> None:
        """Say goodbye to the transport after what was written is out; never raises."""

    def abort(self) -> None:
        """Drop it now; never raises. A `read`, `write` or `start_tls` that waits raises `ConnectionFailed`."""


class Dialer(Protocol):
    """Opens streams, nothing more."""

    def dial(self, address: IpAddress | str, port: int, *, timeout_s: float) -> Awaitable[Stream]:
        """Connect to an address (a name only for a smarthost or route). Raises `ConnectionFailed`."""


# --- outbound conversations -------------------------------------------------------------------------------------------


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
    """The queue cannot deliver there and never will: the account was removed meanwhile. `enhanced` for the DSN."""

    reason: str
    enhanced: str


Destination = Route | LocalMailboxes | NoDestination


class FindDestination(Protocol):
    """Where a queued recipient goes now; asked before every attempt, from memory, so that new routes count at once."""

    def __call__(self, mailbox: Mailbox, attempts: int = 0) -> Destination:
        """`attempts` are those that were made without success."""
