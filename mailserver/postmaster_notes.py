"""Short mails from the server to its postmaster, about something a person has to see to.

They go through the queue like everything else, so an alias, a forward or a full mailbox changes nothing. Their
reverse-path is the null one: nobody is told when they cannot be delivered, but the log.
"""

from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, formatdate

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Notify, Recipient
from mailserver.mail.ids import QueueId
from mailserver.mail.trace import OUR_OWN
from mailserver.maillog import ReportMade, Sink, Trouble
from mailserver.ports import Acceptance, Clock, Committer, Overloaded, StorageFull, StorageTrouble
from mailserver.relay.bounce import Reporter


class PostmasterNotes:
    """`send` is what others are given."""

    def __init__(
        self,
        reporter: Reporter,
        committer: Committer,
        new_queue_id: Callable[[], QueueId],
        clock: Clock,
        log: Sink,
    ) -> None:
        self._reporter = reporter
        self._committer = committer
        self._new_queue_id = new_queue_id
        self._clock = clock
        self._log = log

    async def send(self, subject: str, text: str, owner: Mailbox | None = None) -> bool:
        """Whether it is on disk now; for `owner` too, where somebody else is concerned.

        Trouble is told in the log; whoever sends decides whether to try again.
        """
        queue_id, now = self._new_queue_id(), self._clock.now()
        readers = (self._reporter.sender,) if owner is None else (owner, self._reporter.sender)
        content = self._content(queue_id, readers, subject, text, now)
        body = Body.SEVENBIT if content.isascii() else Body.EIGHTBITMIME
        recipients = tuple(Recipient(one, frozenset({Notify.NEVER})) for one in readers)
        envelope = Envelope(None, recipients, body=body, size_octets=len(content))
        acceptance = Acceptance(queue_id, now, envelope, b"", remote=envelope.recipients, source=OUR_OWN)
        try:
            await self._committer.commit(acceptance, content)
        except (StorageFull, StorageTrouble, Overloaded) as trouble:
            self._log(Trouble("", "a note to the postmaster", str(trouble), f"it said: {subject}"))
            return False
        self._log(ReportMade(queue_id, "", "note", ", ".join(map(str, readers))))
        return True

    def _content(self, queue_id: QueueId, readers: tuple[Mailbox, ...], subject: str, text: str, now: float) -> bytes:
        sender = self._reporter.sender
        message = EmailMessage(policy=SMTP)
        message["From"] = formataddr((f"Mail server {self._reporter.hostname}", str(sender)))
        message["To"] = ", ".join(map(str, readers))
        message["Subject"] = " ".join(subject.split())
        message["Date"] = formatdate(now)
        message["Message-ID"] = f"<{queue_id}.note@{self._reporter.hostname}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text, charset="utf-8", cte="7bit" if text.isascii() else "quoted-printable")
        return self._reporter.sign(message.as_bytes())
