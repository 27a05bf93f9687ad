"""What the runner tells the log and the journal: what became of recipients, files that cannot be used."""

from mailserver.mail.outcome import Delivered, Outcome
from mailserver.maillog import BouncedEvent, DeferredEvent, Filed, QueueFileDamaged, Sent, Sink, Trouble
from mailserver.relay.lanes import Job
from mailserver.relay.progress import Moment
from mailserver.relay.queue import LOCAL_LANE
from mailserver.store.spool import StoredMessage, Unreadable
from mailserver.store.spool_state import Progress, RecipientState


def tell_outcomes(
    sink: Sink, message: StoredMessage, progress: Progress, outcomes: dict[int, Outcome], moment: Moment, job: Job
) -> None:
    """One event for each recipient (its place in the envelope) of one attempt; `progress` is what is in force now."""
    for number, outcome in outcomes.items():
        one, recipient = progress[number], str(message.envelope.recipients[number].mailbox)
        reply = "" if one.reply is None else str(one.reply)
        if isinstance(outcome, Delivered):
            if outcome.reply is None and not outcome.host:
                sink(Filed(message.queue_id, recipient, recipient, outcome.file, outcome.folder))
            else:
                sink(Sent(message.queue_id, recipient, one.host, reply, moment.age_s, outcome.tls))
        elif one.is_waiting:
            wait = one.next_attempt - moment.now
            sink(
                DeferredEvent(
                    message.queue_id,
                    recipient,
                    one.host,
                    one.reason,
                    reply,
                    wait,
                    one.attempts,
                    "" if job.lane.key == LOCAL_LANE else job.lane.key,
                    is_shared=job.answer is not None,
                )
            )
        else:
            reason = f"expired: {one.reason}" if one.state is RecipientState.EXPIRED else one.reason
            stage = "" if one.stage is None else one.stage.value
            sink(BouncedEvent(message.queue_id, recipient, one.host, one.enhanced, reason, reply, stage))


def tell_unreadable(sink: Sink, item: Unreadable) -> None:
    """A file of the queue that could not be used."""
    if item.is_set_aside:
        sink(QueueFileDamaged(item.queue_id, str(item.path), item.reason))
    else:
        sink(Trouble(item.queue_id, f"{item.path} cannot be read", item.reason, "the message stays where it is"))
