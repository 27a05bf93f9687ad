"""The queue in totals: how much waits, in which state, for which domains. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailserver.cli.queue_text import size, span
from mailserver.mail.reply import printable
from mailserver.store.spool import StoredMessage

HEADINGS = ("DOMAIN", "MESSAGES", "WAITING", "HELD", "OLDEST", "LAST WORDS")
_MAX_WORDS = 120


@dataclass(slots=True)
class Domain:
    """One destination domain. `last_words` are those of the latest attempt, `last_at` when that was."""

    messages: int = 0
    states: Counter[str] = field(default_factory=Counter)
    oldest: float = 0.0
    last_words: str = ""
    last_at: float = 0.0


@dataclass(slots=True)
class Totals:
    """All messages that were counted. `states` are recipients by the word for their state."""

    messages: int = 0
    octets: int = 0
    oldest: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    domains: dict[str, Domain] = field(default_factory=dict)

    def count(self, message: StoredMessage) -> None:
        """One more. Recipients that are at their end count by state only, for nothing waits at their domain."""
        self.messages += 1
        self.octets += message.size_octets
        self.oldest = min(self.oldest or message.received_at, message.received_at)
        concerned: set[str] = set()
        for recipient, one in zip(message.envelope.recipients, message.progress, strict=True):
            self.states[one.shown_state] += 1
            if not one.is_waiting:
                continue
            name = recipient.mailbox.domain
            domain = self.domains.setdefault(name, Domain())
            domain.states[one.shown_state] += 1
            domain.oldest = min(domain.oldest or message.received_at, message.received_at)
            if one.last_attempt >= domain.last_at and one.attempts:
                domain.last_at = one.last_attempt
                domain.last_words = str(one.reply) if one.reply is not None else one.reason
            if name not in concerned:
                concerned.add(name)
                domain.messages += 1

    def ordered(self) -> list[tuple[str, Domain]]:
        """The domains, most recipients first."""
        return sorted(self.domains.items(), key=lambda item: (-item[1].states.total(), item[0]))


def rows(totals: Totals, now: float) -> Iterator[tuple[str, ...]]:
    """A row for each domain."""
    for name, one in totals.ordered():
        yield (
            name,
            str(one.messages),
            str(one.states["waiting"]),
            str(one.states["held"]),
            span(now - one.oldest),
            printable(one.last_words)[:_MAX_WORDS],
        )


def sentence(totals: Totals) -> str:
    """The last line, as `mailq` has it."""
    if not totals.messages:
        return "the queue is empty"
    states = ", ".join(f"{count} {state}" for state, count in sorted(totals.states.items()))
    messages = f"{totals.messages} message{'' if totals.messages == 1 else 's'}"
    return f"{messages}, {size(totals.octets)}; recipients: {states}"


def as_object(totals: Totals) -> dict[str, object]:
    """For programs."""
    return {
        "messages": totals.messages,
        "octets": totals.octets,
        "oldest": round(totals.oldest, 3) if totals.messages else None,
        "states": dict(sorted(totals.states.items())),
        "domains": [
            {
                "domain": name,
                "messages": one.messages,
                "states": dict(sorted(one.states.items())),
                "oldest": round(one.oldest, 3),
                "last_words": one.last_words,
                "last_attempt": round(one.last_at, 3) if one.last_at else None,
            }
            for name, one in totals.ordered()
        ],
    }
