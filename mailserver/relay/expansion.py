"""An alias with several targets, met by the queue: the message goes on as a copy with a recipient for each target.

Each target then has its own outcome, and its reports are the business of the copy (RFC 3461 5.2.7). The copy gets into
the queue the way a report does (`reporting`): the alias is done and the copy's queue id is written down in one write,
then the copy, then the mark that it is there; only then it is sent. So a crash in between repeats nothing. Async over
doors.
"""

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import OriginalRecipient, Recipient
from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Delivered, Outcome
from mailserver.mail.trace import source_of_copies
from mailserver.maillog import Expanded, Trouble
from mailserver.ports import Lane, LocalMailboxes, Overloaded, Report
from mailserver.relay.doors import RelayDoors
from mailserver.relay.ledger import Ledger
from mailserver.store.spool import StoredMessage
from mailserver.store.spool_state import RecipientProgress, RecipientState

# In the place of the host that took a message; no host has such a name, so the state tells it after a crash too.
_BEHIND = "the addresses behind the alias"
EXPANDED = Delivered(host=_BEHIND, dsn_passed_on=True)

_BUSY_S = 1.0
_DISK_S = 10.0


def is_expansion(outcome: Outcome) -> bool:
    """Whether this attempt ended with an alias that is to be expanded."""
    return isinstance(outcome, Delivered) and outcome.host == _BEHIND


def owes_copy(progress: RecipientProgress) -> bool:
    """Whether what is owed for this recipient is a copy and not a report."""
    return progress.state is RecipientState.DELIVERED and progress.host == _BEHIND


class Expansion:
    """Puts the copies into the queue's folder."""

    def __init__(self, doors: RelayDoors, ledger: Ledger) -> None:
        self._doors = doors
        self._ledger = ledger

    async def copy(self, copy_id: QueueId, message: StoredMessage, number: int) -> Report | None:
        """The copy for one recipient, durable; None when the message itself has gone meanwhile.

        When the alias has changed since, the copy is addressed to it and not to what was behind it. A disk that does
        not give the content out is asked again until it does.
        """
        content = await self._content(message)
        if content is None:
            return None
        alias = message.envelope.recipients[number]
        destination = self._doors.find_destination(alias.mailbox, 0)
        targets: tuple[Mailbox, ...] = (alias.mailbox,)
        if isinstance(destination, LocalMailboxes):
            targets = (*destination.mailboxes, *destination.outside)
        envelope = message.envelope.with_recipients(_behind(alias, mailbox) for mailbox in targets)
        copy = Report(copy_id, envelope, content, source_of_copies(message.source))
        await self._ledger.add_report(copy)
        addresses = tuple(str(mailbox) for mailbox in targets)
        self._doors.sink(Expanded(copy_id, message.queue_id, str(alias.mailbox), addresses))
        return copy

    async def _content(self, message: StoredMessage) -> bytes | None:
        is_told = False
        while True:
            try:
                return await self._doors.blocking.run(
                    Lane.QUEUE, self._doors.spool.read_content, message.content, message.content.length
                )
            except FileNotFoundError:
                return None
            except Overloaded:
                await self._doors.clock.sleep(_BUSY_S)
            except OSError as trouble:
                if not is_told:
                    effect = f"the addresses behind its alias wait; tried every {_DISK_S:g} s"
                    self._doors.sink(Trouble(message.queue_id, "reading a message", str(trouble), effect))
                    is_told = True
                await self._doors.clock.sleep(_DISK_S)


def _behind(alias: Recipient, mailbox: Mailbox) -> Recipient:
    orcpt = alias.orcpt or OriginalRecipient("rfc822" if alias.mailbox.is_ascii else "utf-8", str(alias.mailbox))
    return Recipient(mailbox, alias.notify, orcpt)
