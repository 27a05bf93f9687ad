"""What an outcome does to a recipient: the next state, and which report is due. Pure.

`after_attempt` is the only place where a recipient's state changes, so every rule of giving up stands here: refused for
good at once, too old only after an attempt, unknown trouble never.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from mailserver.mail.envelope import Envelope, Notify, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Outcome, Stage
from mailserver.relay.dsn_fields import Action, RecipientReport
from mailserver.relay.schedule import Schedule
from mailserver.store.queue_orders import counted_age
from mailserver.store.spool_state import RecipientProgress, RecipientState, bounded_reply

# RFC 3463 3.5: delivery time expired. A persistent transient failure, hence 4.
EXPIRED_STATUS = "4.4.7"
_MAX_TEXT_CHARS = 500


@dataclass(frozen=True, slots=True)
class Moment:
    """When an attempt ended: `now` on the wall clock, the message's `age_s`, and the `spread` drawn for this pass."""

    now: float
    age_s: float
    spread: float


def after_attempt(before: RecipientProgress, outcome: Outcome, schedule: Schedule, moment: Moment) -> RecipientProgress:
    """The state after one more attempt. Texts of the other side are bounded here."""
    after = partial(
        replace,
        before,
        attempts=before.attempts + 1,
        last_attempt=moment.now,
        next_attempt=0.0,
        reply=bounded_reply(outcome.reply),
        host=outcome.host[:_MAX_TEXT_CHARS],
    )
    match outcome:
        case Delivered():
            return after(state=RecipientState.DELIVERED, reason="", stage=None)
        case Bounced():
            return after(
                state=RecipientState.BOUNCED,
                reason=outcome.reason[:_MAX_TEXT_CHARS],
                stage=outcome.stage,
                enhanced=outcome.enhanced[:20],
            )
        case Deferred():
            return _deferred(after(), outcome, schedule, moment)
        case _:
            assert_never(outcome)


def _deferred(after: RecipientProgress, outcome: Deferred, schedule: Schedule, moment: Moment) -> RecipientProgress:
    after = replace(
        after,
        reason=outcome.reason[:_MAX_TEXT_CHARS],
        stage=outcome.stage,
        first_deferred=after.first_deferred or moment.now,
    )
    age_s = counted_age(after, moment.age_s, moment.now)
    if schedule.is_expired(age_s) and not after.is_held:
        return replace(after, state=RecipientState.EXPIRED, enhanced=EXPIRED_STATUS)
    delay = schedule.delay(after.attempts, age_s, moment.spread)
    return replace(after, next_attempt=moment.now + delay)


def is_destination_trouble(outcome: Outcome) -> bool:
    """Whether the next hop as a whole did not take part: others that wait for it need not be tried now."""
    return isinstance(outcome, Deferred) and is_destination_stage(outcome.stage)


def is_destination_stage(stage: Stage | None) -> bool:
    """Whether an attempt that came no further than this says nothing of the message, only of the destination."""
    return stage in (Stage.DNS, Stage.CONNECT, Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.AUTH)


# --- reports ----------------------------------------------------------------------------------------------------------


def failure_report(recipient: Recipient, progress: RecipientProgress) -> RecipientReport | None:
    """What a bounce says of a recipient that was given up; None when it was not, or NOTIFY forbids it."""
    return given_up_report(recipient, progress) if recipient.wants(Notify.FAILURE) else None


def given_up_report(recipient: Recipient, progress: RecipientProgress) -> RecipientReport | None:
    """What can be said of a recipient that was given up, whoever wants to hear it; None when it was not."""
    is_given_up = progress.state in (RecipientState.BOUNCED, RecipientState.EXPIRED)
    return _report(recipient, progress, Action.FAILED) if is_given_up else None


def success_report(recipient: Recipient, progress: RecipientProgress) -> RecipientReport | None:
    """What a success report says; None when it is not delivered, or was not asked for (RFC 3461 5.2.2).

    The caller leaves out recipients whose next hop promised to report itself.
    """
    if progress.state is not RecipientState.DELIVERED or not recipient.wants(Notify.SUCCESS):
        return None
    return _report(recipient, progress, Action.RELAYED if progress.reply is not None else Action.DELIVERED)


def is_delay_notice_due(recipient: Recipient, progress: RecipientProgress, schedule: Schedule, age_s: float) -> bool:
    """Whether the sender is to be told now that this recipient takes longer; once. `age_s` is the one that counts."""
    return (
        progress.may_be_tried
        and progress.attempts > 0
        and not progress.is_delay_told
        and recipient.wants(Notify.DELAY)
        and schedule.is_notice_due(age_s)
    )


def delay_report(recipient: Recipient, progress: RecipientProgress, expires_at: float) -> RecipientReport:
    """What a delay notice says of a recipient."""
    return replace(_report(recipient, progress, Action.DELAYED), retry_until=expires_at)


def _report(recipient: Recipient, progress: RecipientProgress, action: Action) -> RecipientReport:
    return RecipientReport(
        recipient=recipient,
        action=action,
        enhanced=progress.enhanced if action is Action.FAILED else "",
        reason=progress.reason,
        reply=progress.reply,
        host=progress.host,
        stage=progress.stage,
        is_expired=progress.state is RecipientState.EXPIRED,
        last_attempt=progress.last_attempt,
        attempts=progress.attempts,
    )


def why_no_report(envelope: Envelope, action: Action) -> str:
    """Why the log says that a report was dropped."""
    if envelope.reverse_path is None:
        return f"the reverse-path is null, so nobody is told ({action.value})"
    if envelope.is_disowned:
        return f"the sender's domain says that it did not send this (SPF), so nobody is told ({action.value})"
    return f"the sender asked not to be told ({action.value})"
