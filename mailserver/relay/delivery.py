"""One attempt: a message's recipients, each to where it goes now, each with an outcome. Async over doors.

Whatever happens here, the answer is an outcome; trouble that nobody named is `Deferred`, with its traceback in the log
(promise 3).
"""

from collections.abc import Mapping

from mailserver.mail.outcome import Bounced, Deferred, Delivered, Outcome, Stage
from mailserver.mail.route import Route
from mailserver.mail.trace import local_trace
from mailserver.mail.transcript import Transcript
from mailserver.maillog import Trouble
from mailserver.ports import (
    Destination,
    LocalMailboxes,
    NoDestination,
    Overloaded,
    StorageFull,
    StorageTrouble,
)
from mailserver.relay.doors import RelayDoors
from mailserver.relay.expansion import EXPANDED
from mailserver.relay.ledger import Ledger
from mailserver.store.spool import StoredMessage

_UNEXPECTED = "unexpected trouble on our side"
_UNTOLD = "the attempt ended without a result"


class Delivery:
    """Makes attempts. `ledger` takes what was said in them."""

    def __init__(self, doors: RelayDoors, ledger: Ledger, *, keeps_transcripts: bool = False) -> None:
        self._doors = doors
        self._keeps_transcripts = keeps_transcripts
        self._ledger = ledger

    async def attempt(self, message: StoredMessage, attempts: Mapping[int, int]) -> dict[int, Outcome]:
        """Try these recipients (place in the envelope -> attempts so far): one outcome for each. Never raises."""
        outcomes: dict[int, Outcome] = {}
        groups: dict[Destination, list[int]] = {}
        try:
            for number, tries in attempts.items():
                outcomes[number] = Deferred(_UNEXPECTED, Stage.LOCAL)
                mailbox = message.envelope.recipients[number].mailbox
                groups.setdefault(self._doors.find_destination(mailbox, tries), []).append(number)
            for destination, together in groups.items():
                outcomes.update(await self._to(destination, message, together))
        except Exception as error:  # noqa: BLE001
            self._doors.tell_failure(f"delivering {message.queue_id}", error)
        return outcomes

    async def _to(self, destination: Destination, message: StoredMessage, numbers: list[int]) -> dict[int, Outcome]:
        match destination:
            case LocalMailboxes():
                return {number: await self._file(destination, message, number) for number in numbers}
            case NoDestination(reason, enhanced):
                return {number: Bounced(reason, Stage.LOCAL, enhanced) for number in numbers}
            case _:
                return await self._send_on(destination, message, numbers)

    async def _send_on(self, route: Route, message: StoredMessage, numbers: list[int]) -> dict[int, Outcome]:
        """Nobody who is on the suppression list is asked for."""
        outcomes: dict[int, Outcome] = {}
        if self._doors.suppression is not None:
            for number in numbers:
                verdict = self._doors.suppression.verdict(message.envelope.recipients[number].mailbox)
                if verdict is not None:
                    outcomes[number] = verdict
        rest = [number for number in numbers if number not in outcomes]
        return {**outcomes, **await self._transmit(route, message, rest)} if rest else outcomes

    async def _transmit(self, route: Route, message: StoredMessage, numbers: list[int]) -> dict[int, Outcome]:
        recipients = message.envelope.recipients
        envelope = message.envelope.with_recipients(recipients[number] for number in numbers)
        transcript = Transcript(self._doors.clock.monotonic) if self._keeps_transcripts else None
        told = await self._doors.transmitter.send(route, envelope, message.content, message.queue_id, transcript)
        if transcript is not None and any(isinstance(outcome, Deferred) for outcome in told.values()):
            # Before the state: while the state is being written, the message is surely there.
            self._ledger.write_transcript(message.queue_id, str(route), transcript.text)
        return {number: told.get(recipients[number], Deferred(_UNTOLD, Stage.CONNECT)) for number in numbers}

    # --- here ---------------------------------------------------------------------------------------------------------

    async def _file(self, destination: LocalMailboxes, message: StoredMessage, number: int) -> Outcome:
        try:
            if len(destination.mailboxes) == 1 and not destination.outside:
                mailbox = destination.mailboxes[0]
                trace = local_trace(message.envelope.reverse_path, mailbox)
                folder = self._doors.junk_folder(mailbox) if message.envelope.is_junk else ""
                file = await self._doors.mailboxes.file(mailbox, trace, message.content, folder)
                return Delivered(file=file, folder=folder)
            return EXPANDED
        except StorageFull as trouble:
            return self._put_off(message, "the mailbox has no room", trouble)
        except (StorageTrouble, OSError) as trouble:
            return self._put_off(message, "the mailbox cannot be written", trouble)
        except Overloaded:
            return Deferred("the disk is busy", Stage.LOCAL)

    def _put_off(self, message: StoredMessage, reason: str, trouble: Exception) -> Outcome:
        """The log gets the details, the outcome (and so a report) only plain words."""
        self._doors.sink(Trouble(message.queue_id, reason, str(trouble), "deferred"))
        return Deferred(reason, Stage.LOCAL)
