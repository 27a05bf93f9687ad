"""The content of one message on its way to disk, and what is told about it.

Up to `LARGE_OCTETS` it is held in memory and committed with others in a group. Beyond that it is prepared from its
beginning and streams to a file; what only shows at the end (a bare newline, a NUL, its length) then discards the file.
"""

from collections.abc import Awaitable, Iterable, Set
from dataclasses import replace
from itertools import repeat

from twisted.logger import Logger

from mailserver.mail import reply as replies
from mailserver.mail.envelope import Recipient, path_text
from mailserver.mail.ids import QueueId
from mailserver.mail.reply import Reply
from mailserver.maillog import Accepted, Authenticated, Filed, Queued, Refused, ReportMade, Trouble
from mailserver.policy.dkim.result import ArcVerdict
from mailserver.ports import Acceptance, ContentWriter, Overloaded, StorageFull, StorageTrouble, StoredContent
from mailserver.ports import Filed as Committed
from mailserver.session.authentication import Findings
from mailserver.session.smtp_acceptance import LARGE_OCTETS, Arrival, Preparation, Prepared, Transaction
from mailserver.session.smtp_profile import SmtpDoors
from mailserver.wire.data import ContentFault

_MAX_PIECES = 1024

_log = Logger()

_FAULT_REPLIES = {
    ContentFault.TOO_LONG: replies.MESSAGE_TOO_BIG,
    ContentFault.BARE_NEWLINE: replies.BARE_NEWLINE_IN_CONTENT,
    ContentFault.NUL: replies.NUL_IN_CONTENT,
}


class MessageIntake:
    """One message at a time; `forget` between two, which also discards what was written of an unfinished one."""

    def __init__(self, preparation: Preparation, doors: SmtpDoors) -> None:
        self._preparation = preparation
        self._doors = doors
        self._pieces: list[bytes] = []
        self._octets = 0
        self._refusal: Reply | None = None
        self._prepared: Prepared | None = None
        self._writer: ContentWriter | None = None
        # Counts the messages, so that what was waited for finds out that its message is gone.
        self._message = 0

    def forget(self) -> None:
        """Begin anew. A commit that is under way goes on; nothing else is left behind."""
        self._message += 1
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.discard()
        self._pieces.clear()
        self._octets = 0
        self._refusal = None
        self._prepared = None

    def refusal(self, faults: Set[ContentFault]) -> Reply | None:
        """What is wrong with the content as far as it came; None when nothing is."""
        found = next((reply for fault, reply in _FAULT_REPLIES.items() if fault in faults), None)
        return found or self._refusal

    def take(self, transaction: Transaction, piece: bytes) -> Awaitable[None] | None:
        """The next piece. An awaitable means: wait before the next one."""
        if self._writer is not None:
            if self._prepared is not None and self._prepared.seal is not None:
                self._prepared.seal.body(piece)
            return self._writer.write(piece)
        if self._refusal is not None:
            return None
        self._pieces.append(piece)
        self._octets += len(piece)
        if self._octets > LARGE_OCTETS:
            if transaction.sender_check is None:
                return self._begin_large(transaction)
            return self._begin_large_later(transaction)
        if len(self._pieces) >= _MAX_PIECES:
            # A client that sends octet by octet must not cost a Python object for each.
            self._pieces = [b"".join(self._pieces)]
        return None

    async def _begin_large_later(self, transaction: Transaction) -> None:
        """Wait for what the envelope tells: it belongs into the first octets on the disk."""
        if await self._settled(transaction):
            waiting = self._begin_large(transaction)
            if waiting is not None:
                await waiting

    async def _settled(self, transaction: Transaction) -> bool:
        """What the envelope tells is known now; False when the message was given up meanwhile."""
        check, message = transaction.sender_check, self._message
        if check is not None:
            transaction.spf = await check.findings()
        return message == self._message

    def _begin_large(self, transaction: Transaction) -> Awaitable[None] | None:
        prepared = self._prepare(transaction)
        if isinstance(prepared, Reply):
            self._refusal = prepared
            return None
        seal, acceptance = prepared.seal, prepared.acceptance
        if seal is not None:
            acceptance = replace(acceptance, received=seal.room())
            seal.body(prepared.content[prepared.body_start :])
        if prepared.weighing is not None:
            acceptance = replace(acceptance, received=prepared.weighing.place() + acceptance.received)
        try:
            writer = self._doors.committer.open(acceptance)
        except (StorageFull, StorageTrouble, Overloaded) as trouble:
            self._refusal = self._told_trouble(prepared.acceptance, trouble)
            return None
        self._prepared = prepared
        self._writer = writer
        return writer.write(prepared.content)

    def _prepare(self, transaction: Transaction) -> Prepared | Reply:
        content = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        now = self._doors.clock.now()
        return self._preparation.prepare(transaction, content, self._doors.new_queue_id(), now)

    async def finish(self, transaction: Transaction, size_octets: int, faults: Set[ContentFault]) -> Reply:
        """The end of the content: a 250 when everything is on disk, else why not. Nothing is left behind then."""
        refused = self.refusal(faults)
        if refused is not None:
            return refused
        if transaction.sender_check is not None and not await self._settled(transaction):
            return replies.TEMPORARY_TROUBLE  # nobody is there to hear it
        prepared = self._prepared or self._prepare(transaction)
        if isinstance(prepared, Reply):
            return prepared
        writer, self._writer = self._writer, None  # from here on it is not discarded, whatever the client does
        acceptance = prepared.acceptance
        try:
            committed = await self._commit(prepared, writer)
            if isinstance(committed, Reply):
                transaction.detail = "" if prepared.weighing is None else prepared.weighing.detail
                return committed
        except (StorageFull, StorageTrouble, Overloaded) as trouble:
            return self._told_trouble(acceptance, trouble)
        except Exception as trouble:  # noqa: BLE001 - unknown trouble is temporary (promise 3), and is told with its traceback
            _log.failure("message {queue_id} could not be committed", queue_id=acceptance.queue_id)
            return self._told_trouble(acceptance, trouble)
        self._tell(prepared, committed, transaction.arrival, size_octets)
        return replies.message_accepted(acceptance.queue_id)

    async def _commit(self, prepared: Prepared, writer: ContentWriter | None) -> Committed | Reply:
        """Make it durable; a reply is why not, for what only the whole content tells. Nothing is left behind then."""
        if prepared.seal is None and prepared.weighing is None:
            return await (
                self._doors.committer.commit(prepared.acceptance, prepared.content)
                if writer is None
                else writer.commit()
            )
        try:
            acceptance = await self._finished(prepared, writer)
        except BaseException:  # nobody else knows of the file any more
            if writer is not None:
                writer.discard()
            raise
        if isinstance(acceptance, Reply):
            if writer is not None:
                writer.discard()
            return acceptance
        if writer is None:
            return await self._doors.committer.commit(acceptance, prepared.content)
        return await writer.commit(acceptance)

    async def _finished(self, prepared: Prepared, writer: ContentWriter | None) -> Acceptance | Reply:
        """The acceptance with what only the whole content tells, or why it is refused."""
        seal, weighing, acceptance = prepared.seal, prepared.weighing, prepared.acceptance
        received = acceptance.received
        if seal is not None:
            if writer is None:
                seal.body(prepared.content[prepared.body_start :])
            received = await seal.finish()
            if seal.refusal is not None:
                return seal.refusal
        if weighing is None:
            return replace(acceptance, received=received)

        async def content() -> bytes | StoredContent:
            return prepared.content if writer is None else await writer.written()

        refusal = await weighing.finish(None if seal is None else seal.findings, content)
        if refusal is not None:
            return refusal
        return weighing.applied(acceptance, received)

    def _told_trouble(self, acceptance: Acceptance, trouble: Exception) -> Reply:
        is_full = isinstance(trouble, StorageFull)
        what = "the disk is full" if is_full else "a message could not be stored"
        reason = str(trouble) or type(trouble).__name__
        self._doors.log(Trouble(acceptance.queue_id, what, reason, "refused for now; the sender tries again"))
        return replies.DISK_NEARLY_FULL if is_full else replies.TEMPORARY_TROUBLE

    def _tell(self, prepared: Prepared, committed: Committed, arrival: Arrival, size_octets: int) -> None:
        """The log's lines about a message that is on disk."""
        log, acceptance = self._doors.log, prepared.acceptance
        queue_id, envelope = acceptance.queue_id, acceptance.envelope
        peer, sender = str(arrival.peer), path_text(envelope.reverse_path)
        log(
            Accepted(
                queue_id,
                peer,
                sender,
                _addresses(envelope.recipients),
                size_octets,
                arrival.protocol(envelope),
                arrival.login,
                "" if arrival.tls is None else f"{arrival.tls.version}/{arrival.tls.cipher}",
                prepared.message_id,
                arrival.hello,
                prepared.subject,
                arrival.device,
            )
        )
        if prepared.seal is not None and prepared.seal.findings is not None:
            self._tell_findings(prepared.seal.findings, queue_id, peer)
        weighed = None if prepared.weighing is None else prepared.weighing.event(queue_id, peer)
        if weighed is not None:
            log(weighed)
        for copy, file in zip(committed.filed, committed.files or repeat(""), strict=False):
            log(Filed(queue_id, str(copy.mailbox), ",".join(_addresses(copy.recipients)), file, copy.folder))
        if acceptance.remote:
            log(Queued(queue_id, _addresses(acceptance.remote)))
        for copy, reason in committed.spooled:
            log(Queued(queue_id, _addresses(copy.recipients), reason))
        if committed.report is not None:
            log(ReportMade(committed.report.queue_id, queue_id, "delivered", str(envelope.reverse_path)))
        for mailbox in prepared.looped:
            log(Refused(queue_id, peer, "DATA", str(replies.DELIVERED_HERE_BEFORE), str(mailbox), sender))

    def _tell_findings(self, findings: Findings, queue_id: QueueId, peer: str) -> None:
        dkim = tuple(str(one) for one in findings.signatures.dkim)
        arc = "" if findings.signatures.arc.verdict is ArcVerdict.NONE else str(findings.signatures.arc)
        spf = tuple(str(one.result) for one in findings.spf.told)
        dmarc = "" if findings.dmarc is None else str(findings.dmarc)
        if dkim or arc or spf or dmarc:
            self._doors.log(Authenticated(queue_id, peer, dkim, arc, spf, dmarc))


def _addresses(recipients: Iterable[Recipient]) -> tuple[str, ...]:
    return tuple(str(recipient.mailbox) for recipient in recipients)
