"""What the operator's orders do to the recipients of one queued message. Pure: values in, values out.

The running server and the command line without it follow the same functions, so an order means the same either way.
Only recipients that are still waiting are ever changed.

Held recipients are not attempted. The time while they are held counts neither for expiry nor for the delay notice:
whoever holds mail for a week must not see it bounce at its release.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Notify
from mailserver.mail.outcome import Stage
from mailserver.store.spool_state import HELD, Progress, RecipientProgress, RecipientState

# RFC 3463 has no code for "given up by the operator"; this says no more than that it is final.
GIVEN_UP_STATUS = "5.0.0"
_MAX_TEXT_CHARS = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """Which recipients of the chosen messages are meant: all, or those of a domain, with a text in their address, or in
    a state (its word in lists)."""

    domain: str = ""
    recipient: str = ""
    state: str = ""

    def takes(self, mailbox: Mailbox, progress: RecipientProgress) -> bool:
        """Whether this recipient is meant."""
        return (
            self.domain in ("", mailbox.domain)
            and self.recipient.lower() in str(mailbox).lower()
            and self.state in ("", progress.shown_state)
        )

    def waiting(self, envelope: Envelope, progress: Progress) -> Iterator[int]:
        """The places of those that are meant and not at their end."""
        for number, (recipient, one) in enumerate(zip(envelope.recipients, progress, strict=True)):
            if one.is_waiting and self.takes(recipient.mailbox, one):
                yield number


def held(one: RecipientProgress, by: str, reason: str, now: float) -> RecipientProgress:
    """Held from now on. One that is held already keeps who held it and why."""
    if not one.may_be_tried:
        return one
    return replace(one, held_by=by or "somebody", held_reason=reason[:_MAX_TEXT_CHARS], held_since=now)


def released(one: RecipientProgress, now: float) -> RecipientProgress:
    """Due at once."""
    if not one.is_held:
        return one
    return replace(_unheld(one, now), next_attempt=0.0)


def given_up(one: RecipientProgress, reason: str, now: float) -> RecipientProgress:
    """Bounced in the operator's words; what the other side said last stays."""
    if not one.is_waiting:
        return one
    return replace(
        _unheld(one, now) if one.is_held else one,
        state=RecipientState.BOUNCED,
        next_attempt=0.0,
        reason=given_up_text(reason)[:_MAX_TEXT_CHARS],
        stage=Stage.LOCAL,
        enhanced=GIVEN_UP_STATUS,
    )


def given_up_text(reason: str) -> str:
    """What the sender reads."""
    said = f": {reason}" if reason else ""
    return f"the administrator of this mail server stopped the delivery{said}"


def with_report(envelope: Envelope, progress: Progress, numbers: Collection[int], report_id: str) -> Progress:
    """The report `report_id` is owed about those of `numbers` whose sender wants to know (RFC 3461 4.1).

    Nobody is told about a message with the null reverse-path.
    """
    if envelope.reverse_path is None:
        return progress
    return tuple(
        replace(one, report=report_id) if n in numbers and envelope.recipients[n].wants(Notify.FAILURE) else one
        for n, one in enumerate(progress)
    )


def counted_age(one: RecipientProgress, age_s: float, now: float) -> float:
    """The age that counts for expiry and notices: without the time in which it was held."""
    current = max(0.0, now - one.held_since) if one.is_held else 0.0
    return max(0.0, age_s - one.held_s - current)


def _unheld(one: RecipientProgress, now: float) -> RecipientProgress:
    total = one.held_s + max(0.0, now - one.held_since)
    return replace(one, held_by="", held_reason="", held_since=0.0, held_s=total)


__all__ = [
    "GIVEN_UP_STATUS",
    "HELD",
    "Choice",
    "counted_age",
    "given_up",
    "given_up_text",
    "held",
    "released",
    "with_report",
]
