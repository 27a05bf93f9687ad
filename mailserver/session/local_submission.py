"""One message that a user of this machine left with `sendmail`: from what it wishes to a commit. Async over doors.

The caller of `sendmail` has his exit status 0 already, so nothing can be refused to his face any more:

- a recipient that does not exist goes to the queue with the others, which bounces it at once (NOTIFY is honored);
- a message that cannot be taken at all (a loop, too large) comes back as a report;
- trouble of ours leaves it where it is, to be tried again.

Who may send as whom: users of this machine are trusted with any sender, as every sendmail trusts them (cron sends as
root, a list server as its members). Who it really was stands in Received and in the log.

Mail to the bare name `root` reaches the postmaster when there is neither account nor alias of that name: half of what
a machine has to say is addressed so.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from mailserver.mail import reply as replies
from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Recipient, path_text
from mailserver.mail.ids import QueueId
from mailserver.mail.peer import Peer
from mailserver.mail.reply import Reply
from mailserver.maillog import Refused, ReportMade
from mailserver.policy.routing import Here, UnknownMailbox, find_route
from mailserver.ports import Acceptance, Overloaded, Report, StorageFull, StorageTrouble
from mailserver.session.smtp_acceptance import Arrival, LocalUser, Preparation, Transaction
from mailserver.session.smtp_intake import MessageIntake
from mailserver.session.smtp_profile import SmtpDoors, SmtpSettings
from mailserver.wire.data import ContentCheck

# So much of a message may come back in a report.
_KEPT_OCTETS = 64 * 1024

# A report that nothing of this message is delivered, for this reason: takes the report's id, the message's, its
# envelope, its time of arrival, the reason, and its beginning. None when nobody is to be told.
MakeRefusalReport = Callable[[QueueId, QueueId, Envelope, float, Reply, bytes], Report | None]


class Disposal(Enum):
    """What is to be done with the file."""

    REMOVE = "everything is on disk elsewhere"
    KEEP = "try again later"
    SET_ASIDE = "it can neither be delivered nor go back"


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a message, and in which words."""

    disposal: Disposal
    reply: Reply


class LocalSubmission:
    """Takes messages of local users, one after the other."""

    def __init__(self, settings: SmtpSettings, doors: SmtpDoors, make_refusal_report: MakeRefusalReport) -> None:
        self._settings = settings
        self._doors = doors
        self._make_refusal_report = make_refusal_report

    async def submit(
        self, user: LocalUser, envelope: Envelope, size_octets: int, next_piece: Callable[[], Awaitable[bytes]]
    ) -> Submitted:
        """Take one message; `next_piece` gives its content, empty at the end, with any line ends.

        All is on disk when the answer says REMOVE. Raises what `next_piece` raises; then nothing is left behind.
        """
        if not self._doors.committer.has_room(size_octets):
            return Submitted(Disposal.KEEP, replies.DISK_NEARLY_FULL)
        arrival = Arrival(hostname=self._settings.hostname, peer=Peer(None), local_user=user)
        transaction = Transaction(envelope, arrival)
        for recipient in envelope.recipients:
            self._add(transaction, recipient)
        preparation = Preparation(self._doors, max_hops=self._settings.max_hops)
        intake = MessageIntake(preparation, self._doors)
        try:
            reply, beginning = await self._taken(intake, transaction, next_piece)
        finally:
            intake.forget()
        if reply.is_positive:
            return Submitted(Disposal.REMOVE, reply)
        if reply.is_temporary:
            return Submitted(Disposal.KEEP, reply)
        return await self._given_back(transaction, reply, beginning)

    def _add(self, transaction: Transaction, recipient: Recipient) -> None:
        mailbox = recipient.mailbox
        route = find_route(mailbox, self._doors.directory)
        if isinstance(route, UnknownMailbox) and mailbox.local_part == "root":
            postmaster = find_route(Mailbox("postmaster", mailbox.domain), self._doors.directory)
            route = postmaster if isinstance(postmaster, Here) else route
        transaction.routes.setdefault(mailbox, (recipient, route))

    async def _taken(
        self, intake: MessageIntake, transaction: Transaction, next_piece: Callable[[], Awaitable[bytes]]
    ) -> tuple[Reply, bytes]:
        check = ContentCheck(max_octets=self._settings.max_message_octets, repairs=True)
        beginning = b""
        while piece := await next_piece():
            octets = check.take_any(piece)
            beginning += piece[: max(0, _KEPT_OCTETS - len(beginning))]
            if check.faults:
                break
            waits = intake.take(transaction, octets)
            if waits is not None:
                await waits
        last = check.finish()
        waits = intake.take(transaction, last) if last else None
        if waits is not None:
            await waits
        return await intake.finish(transaction, check.size_octets, check.faults), _presentable(beginning)

    async def _given_back(self, transaction: Transaction, reply: Reply, beginning: bytes) -> Submitted:
        doors, envelope = self._doors, transaction.envelope
        queue_id, report_id, now = doors.new_queue_id(), doors.new_queue_id(), doors.clock.now()
        sender = path_text(envelope.reverse_path)
        doors.log(Refused(queue_id, str(transaction.arrival.peer), "DROP", str(reply), reverse_path=sender))
        report = self._make_refusal_report(report_id, queue_id, envelope, now, reply, beginning)
        if report is None:
            return Submitted(Disposal.SET_ASIDE, reply)
        acceptance = Acceptance(
            report_id, now, report.envelope, b"", remote=report.envelope.recipients, source=report.source
        )
        try:
            await doors.committer.commit(acceptance, report.content)
        except (StorageFull, StorageTrouble, Overloaded):
            return Submitted(Disposal.KEEP, replies.TEMPORARY_TROUBLE)
        doors.log(ReportMade(report_id, queue_id, "failed", str(envelope.reverse_path)))
        return Submitted(Disposal.REMOVE, reply)


def _presentable(octets: bytes) -> bytes:
    """The beginning of a content for a report: nothing was refused of it yet, so it may hold anything."""
    octets = octets.replace(b"\0", b"?").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return octets.replace(b"\n", b"\r\n")
