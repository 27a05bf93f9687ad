"""From a transaction and the beginning of its content to an `Acceptance`: header checks, trace fields, copies. Pure.

Only the header section is looked at (RFC 5322 2.2); the body passes by. The content itself is not changed, but for what
RFC 6409 8 lets a submission server add, and for the empty line without which a content that has no header would be
read as one behind our trace fields.

Decisions: Return-Path fields that a content brings are left alone (RFC 5321 4.4 lets us remove them; ours stands above
them and wins, and removing would break what POP3 returns octet for octet). The address of a submitting client stays in
Received, as 4.4 wants it: it is what finds a misused login.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mailserver.mail import reply as replies
from mailserver.mail.address import Mailbox
from mailserver.mail.address_fields import with_domains
from mailserver.mail.envelope import Envelope, Notify, OriginalRecipient, Recipient
from mailserver.mail.headers import count_fields, fields_named, first_value, header_end
from mailserver.mail.ids import QueueId
from mailserver.mail.junk import without_marks
from mailserver.mail.peer import Peer
from mailserver.mail.reply import Reply
from mailserver.mail.trace import local_trace, protocol_name, received_field, received_from_user, source_text
from mailserver.policy.routing import Here, Route
from mailserver.ports import (
    Acceptance,
    Account,
    LocalCopy,
    Report,
    SuccessReport,
    TlsDetails,
)
from mailserver.session.authentication import MessageAuthentication
from mailserver.session.seal import Seal
from mailserver.session.sender_check import NOT_ASKED, SenderCheck, SpfFindings
from mailserver.session.smtp_profile import SmtpDoors
from mailserver.session.submission_header import completed, from_refusal

if TYPE_CHECKING:
    from mailserver.policy.dnsbl import Listing
    from mailserver.session.list_check import ListCheck
    from mailserver.session.weighing import ClientName, Weighing

# Contents up to this size are held in memory whole; of larger ones this much was seen when they are prepared.
LARGE_OCTETS = 256 * 1024
# How much of a Message-ID goes into the log.
_MESSAGE_ID_OCTETS = 250
# And of a Subject into the journal.
_SUBJECT_OCTETS = 500


@dataclass(frozen=True, slots=True)
class LocalUser:
    """A user of this machine, who called `sendmail`. `mailbox` is the sender of who names none."""

    uid: int
    name: str
    mailbox: Mailbox

    def __str__(self) -> str:
        """`joe(1000)`, as the log has it."""
        return f"{self.name}({self.uid})"


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message comes in."""

    hostname: str
    peer: Peer
    hello: str = ""
    is_extended: bool = False
    tls: TlsDetails | None = None
    account: Account | None = None
    # Whose app password the login was done with.
    device: str = ""
    local_user: LocalUser | None = None
    # Whether the client is in one of `trusted_networks`.
    is_trusted: bool = False

    @property
    def is_stranger(self) -> bool:
        """Whether nothing is known of who hands the message in."""
        return self.submitter is None and not self.is_trusted

    @property
    def submitter(self) -> Mailbox | None:
        """The mailbox of who submits; None when the message is no submission."""
        if self.account is not None:
            return self.account.mailbox
        return None if self.local_user is None else self.local_user.mailbox

    @property
    def login(self) -> str:
        """Who submits; empty for nobody."""
        if self.local_user is not None:
            return str(self.local_user)
        return "" if self.account is None else str(self.account.mailbox)

    def protocol(self, envelope: Envelope) -> str:
        """The name in Received."""
        if self.local_user is not None:
            return "local"
        return protocol_name(
            is_extended=self.is_extended,
            is_tls=self.tls is not None,
            is_authenticated=self.account is not None,
            smtputf8=envelope.smtputf8,
        )


@dataclass(slots=True)
class Transaction:
    """One envelope on its way: the accepted recipients, and where each goes. `arrival` is what was so at MAIL."""

    envelope: Envelope
    arrival: Arrival
    # By the mailbox as it was written: other servers may tell upper from lower case in a local-part.
    routes: dict[Mailbox, tuple[Recipient, Route]] = field(default_factory=dict)
    # Whether a recipient too many was told of in the log already.
    has_overflowed: bool = False
    # What is asked about a stranger's envelope meanwhile, and what came of it.
    sender_check: SenderCheck | None = None
    spf: SpfFindings = NOT_ASKED
    # What block lists say, and the client's name in DNS, where somebody wants to know.
    listing: "Listing | None" = None
    domain_check: "ListCheck | None" = None
    client_name: "ClientName | None" = None
    # Why it was refused, where the reply does not say all of it.
    detail: str = ""

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        """The accepted recipients in order, each once."""
        return tuple(recipient for recipient, _ in self.routes.values())


@dataclass(frozen=True, slots=True)
class Prepared:
    """What can be committed. `content` takes the place of the octets that were prepared."""

    acceptance: Acceptance
    content: bytes
    message_id: str
    subject: bytes  # as it came, unfolded and cut
    looped: tuple[Mailbox, ...]  # mailboxes that had this message before and do not get it again
    # What is worked out over the body, from this offset of `content` on; None for nothing.
    seal: Seal | None = None
    body_start: int = 0
    # What finds out whether it is junk; None for nothing.
    weighing: "Weighing | None" = None


class Preparation:
    """Makes acceptances; holds what does not change from message to message."""

    def __init__(self, doors: SmtpDoors, *, max_hops: int) -> None:
        self._directory = doors.directory
        self._make_success_report = doors.make_success_report
        self._signer = doors.signer
        self._authentication = doors.authentication
        self._weigher = doors.weigher
        self._max_hops = max_hops

    def prepare(self, transaction: Transaction, content: bytes, queue_id: QueueId, now: float) -> Prepared | Reply:
        """Check the header at the start of `content`, which may be only the first part of a large one.

        An authenticated client's message is a submission, on every port.
        """
        arrival = transaction.arrival
        end = header_end(content)
        section = content[:end]
        if count_fields(section, b"received") > self._max_hops:
            return replies.TOO_MANY_HOPS
        if arrival.submitter is not None:
            refusal = self._submission_refusal(section, content, arrival.account)
            if refusal is not None:
                return refusal
        if self._authentication is not None and self._concerns(arrival):
            refusal = self._authentication.refusal(transaction.spf)
            if refusal is not None:
                return refusal
            # A field that says it is ours would pass unseen further on.
            if not _is_whole_header(section, content):
                return replies.HEADER_TOO_BIG
        local, looped = _without_loops(local_copies(transaction), section)
        remote = remote_recipients(transaction)
        if not local and not remote:
            return replies.DELIVERED_HERE_BEFORE
        authentication = self._authentication_of(transaction, section, content)
        if authentication is not None and self._authentication is not None:
            content = self._authentication.without_forged(content)
            section = content[: header_end(content)]
        if self._is_weighed(arrival) and arrival.is_stranger:
            content = without_marks(content)
            section = content[: header_end(content)]
        section, content = _completed(transaction, section, content, queue_id, now)
        acceptance = Acceptance(
            queue_id=queue_id,
            received_at=now,
            envelope=_envelope(transaction),
            received=self._trace(transaction) + _received(transaction, queue_id, now),
            local=local,
            remote=remote,
            source=_source(transaction),
        )
        return Prepared(
            self._with_report(acceptance, section),
            content,
            first_value(section, b"message-id")[:_MESSAGE_ID_OCTETS].decode("utf-8", "replace"),
            first_value(section, b"subject")[:_SUBJECT_OCTETS],
            looped,
            self._seal(arrival, acceptance.received, authentication, section),
            body_start(section, content),
            self._weighing(transaction, queue_id),
        )

    def begin_sender_check(self, transaction: Transaction) -> None:
        """Begin to find out what the envelope of a stranger tells; once for each transaction."""
        arrival = transaction.arrival
        if self._weigher is not None and self._is_weighed(arrival):
            transaction.client_name = self._weigher.begin_name(arrival.peer)
        if self._authentication is not None and self._concerns(arrival):
            transaction.sender_check = self._authentication.begin_sender(
                transaction.envelope, arrival.peer, arrival.hello
            )

    def _concerns(self, arrival: Arrival) -> bool:
        return self._authentication is not None and arrival.is_stranger and self._authentication.concerns(arrival.peer)

    def _is_weighed(self, arrival: Arrival) -> bool:
        return self._weigher is not None and self._weigher.concerns(
            arrival.peer, is_stranger=arrival.is_stranger, is_login=arrival.account is not None
        )

    def _weighing(self, transaction: Transaction, queue_id: QueueId) -> "Weighing | None":
        if self._weigher is None or not self._is_weighed(transaction.arrival):
            return None
        return self._weigher.weighing(transaction, queue_id)

    def _trace(self, transaction: Transaction) -> bytes:
        return b"" if self._authentication is None else self._authentication.trace(transaction.spf)

    def _authentication_of(
        self, transaction: Transaction, section: bytes, content: bytes
    ) -> MessageAuthentication | None:
        if self._authentication is None or not self._concerns(transaction.arrival):
            return None
        is_whole = _is_whole_header(section, content)
        seen = _seen_by_lenient_readers(section, content)
        return self._authentication.begin(section, is_whole_header=is_whole, spf=transaction.spf, seen=seen)

    def _seal(
        self, arrival: Arrival, received: bytes, authentication: MessageAuthentication | None, section: bytes
    ) -> Seal | None:
        """`section` is the header as it is stored. A stranger's message is never signed, whatever its From."""
        if arrival.is_stranger or self._signer is None:
            return None if authentication is None else Seal(received, authentication=authentication)
        signing = self._signer.begin(section)
        return None if signing is None else Seal(received, signer=self._signer, signing=signing)

    def _submission_refusal(self, section: bytes, content: bytes, account: Account | None) -> Reply | None:
        # The header of a large content must end in the part we hold, or fields further on would pass unseen.
        if not _is_whole_header(section, content):
            return replies.HEADER_TOO_BIG
        if account is None:  # a user of this machine writes whom he likes into From, as with every sendmail
            return None
        return from_refusal(_seen_by_lenient_readers(section, content), account, self._directory)

    def _with_report(self, acceptance: Acceptance, section: bytes) -> Acceptance:
        """RFC 3461 6.2: a recipient that asked for it is told about final delivery here."""
        if acceptance.envelope.is_disowned:
            return acceptance
        asking = dict.fromkeys(
            recipient for copy in acceptance.local for recipient in copy.recipients if recipient.wants(Notify.SUCCESS)
        )
        if not asking:
            return acceptance

        def make(recipients: tuple[Recipient, ...]) -> Report | None:
            return self._make_success_report(acceptance, recipients, section)

        report = make(tuple(asking))
        return acceptance if report is None else replace(acceptance, success=SuccessReport(tuple(asking), report, make))


def _envelope(transaction: Transaction) -> Envelope:
    envelope = transaction.envelope.with_recipients(transaction.recipients)
    return replace(envelope, is_disowned=True) if transaction.spf.is_fail else envelope


def local_copies(transaction: Transaction) -> tuple[LocalCopy, ...]:
    """One copy for each mailbox here, however many recipients lead to it."""
    found: dict[str, tuple[Mailbox, list[Recipient]]] = {}
    for recipient, route in transaction.routes.values():
        if isinstance(route, Here):
            for mailbox in route.mailboxes:
                found.setdefault(mailbox.folded, (mailbox, []))[1].append(recipient)
    reverse_path = transaction.envelope.reverse_path
    return tuple(
        LocalCopy(mailbox, tuple(recipients), local_trace(reverse_path, mailbox))
        for mailbox, recipients in found.values()
    )


def remote_recipients(transaction: Transaction) -> tuple[Recipient, ...]:
    """Who goes to the queue: recipients of other domains, and the outside addresses of aliases, each once."""
    found: dict[Mailbox, Recipient] = {}
    for recipient, route in transaction.routes.values():
        if not isinstance(route, Here):
            found.setdefault(recipient.mailbox, recipient)
            continue
        for outside in route.outside:
            found.setdefault(outside, _behind_alias(recipient, outside))
    return tuple(found.values())


def _behind_alias(recipient: Recipient, outside: Mailbox) -> Recipient:
    """RFC 3461 5.2.7: the request for reports goes on with the address that the sender knows."""
    kind = "rfc822" if recipient.mailbox.is_ascii else "utf-8"
    orcpt = recipient.orcpt or OriginalRecipient(kind, str(recipient.mailbox))
    return Recipient(outside, recipient.notify, orcpt)


def _without_loops(copies: tuple[LocalCopy, ...], section: bytes) -> tuple[tuple[LocalCopy, ...], tuple[Mailbox, ...]]:
    """Leave out mailboxes that are named in a Delivered-To already: the message came back through a forwarder."""
    seen = frozenset(_delivered_to(section))
    if not seen:
        return copies, ()
    looped = tuple(copy.mailbox for copy in copies if copy.mailbox.folded in seen)
    return tuple(copy for copy in copies if copy.mailbox.folded not in seen), looped


def _delivered_to(section: bytes) -> Iterator[str]:
    for one in fields_named(section, b"delivered-to"):
        yield one.value.decode("utf-8", "replace").strip("<> ").lower()


def _is_whole_header(section: bytes, content: bytes) -> bool:
    """Whether the header section ends within `content`, which may be only the first part of a large one."""
    if len(content) <= LARGE_OCTETS:
        return True
    return b"\r\n\r\n" in content or len(section) <= content.rfind(b"\r\n")


def _seen_by_lenient_readers(section: bytes, content: bytes) -> bytes:
    """Where From has to be looked for: some readers skip a line that is no field and go on to the empty line, or to the
    end if there is none.
    """
    end = content.find(b"\r\n\r\n")
    return content[: end + 2 if end >= 0 else None] if section else section


def body_start(section: bytes, content: bytes) -> int:
    """Where the body begins, behind the header section and the empty line (RFC 5322 2.1)."""
    end = len(section)
    return end + 2 if content.startswith(b"\r\n", end) else end


def _completed(
    transaction: Transaction, section: bytes, content: bytes, queue_id: QueueId, now: float
) -> tuple[bytes, bytes]:
    """Header section and content as they are stored."""
    arrival = transaction.arrival
    if not section and content and not content.startswith(b"\r\n"):
        content = b"\r\n" + content  # the empty line between our fields and a body
    if arrival.submitter is None:
        return section, content
    header = completed(
        section if arrival.local_user is None else with_domains(section, arrival.local_user.mailbox.domain),
        sender=transaction.envelope.reverse_path or arrival.submitter,
        queue_id=queue_id,
        hostname=arrival.hostname,
        now=now,
    )
    return header, header + content[len(section) :]


def _received(transaction: Transaction, queue_id: QueueId, now: float) -> bytes:
    arrival = transaction.arrival
    tls = "" if arrival.tls is None else f"{arrival.tls.version} {arrival.tls.cipher}"
    only = next(iter(transaction.routes.values()))[0].mailbox if len(transaction.routes) == 1 else None
    if arrival.local_user is not None:
        user = arrival.local_user
        return received_from_user(user.name, user.uid, arrival.hostname, queue_id, only, now)
    return received_field(
        hello=arrival.hello,
        peer=arrival.peer,
        hostname=arrival.hostname,
        protocol=arrival.protocol(transaction.envelope),
        tls=tls,
        queue_id=queue_id,
        recipient=only,
        now=now,
    )


def _source(transaction: Transaction) -> str:
    """For `queue show`: how the message came."""
    arrival = transaction.arrival
    return source_text(str(arrival.peer), arrival.login, arrival.protocol(transaction.envelope))
