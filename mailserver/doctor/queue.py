"""The queue: whether it is worked on, how old it is, which destinations are down; and the suppression list.

Only the oldest messages are read, a bounded number of them: what is wrong shows there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mailserver.config import Config
from mailserver.doctor.check import Check, failed, passed, unknown, warned
from mailserver.mail.ids import QueueId, is_queue_id, made_at
from mailserver.mail.outcome import Stage
from mailserver.store.files import DISK
from mailserver.store.spool import Spool, StoredMessage
from mailserver.store.spool_format import SpoolPaths
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.suppression import SuppressionFile, SuppressionList

MAX_READ = 500
MANY = 1000
# What is tried again after this long past its time is not tried at all.
OVERDUE_S = 3600.0
# A destination is worth a line when its senders have long been told.
DOWN_S = 86400.0
OLD_HELD_S = 7 * 86400.0
_NETWORK = (Stage.CONNECT, Stage.DNS)


@dataclass(slots=True)
class Waiting:
    """One destination domain: since when its oldest message waits, and what came of the last attempt."""

    since: float
    messages: int = 0
    last_words: str = ""
    is_unreached: bool = True  # no host of it was ever reached


@dataclass(slots=True)
class QueueFacts:
    """What was seen. `messages` are all, the rest is of the oldest `MAX_READ`. Times are seconds since the epoch."""

    messages: int = 0
    oldest: float = 0.0
    overdue: int = 0
    held: int = 0
    held_since: float = 0.0
    damaged: int = 0
    domains: dict[str, Waiting] = field(default_factory=dict)


def read_queue(state: Path, now: float) -> QueueFacts:
    """Look at the files; changes nothing. Blocks; raises `OSError`."""
    spool = Spool(SpoolPaths(state), DISK)
    names = [one for one in spool.ids() if is_queue_id(one)]
    facts = QueueFacts(messages=len(names), oldest=made_at(QueueId(names[0])) if names else 0.0)
    for message in spool.load(names[:MAX_READ], may_set_aside=False):
        if isinstance(message, StoredMessage):
            count(facts, message, now)
    damaged = spool.paths.damaged
    facts.damaged = sum(1 for _ in damaged.iterdir()) if damaged.is_dir() else 0
    return facts


def count(facts: QueueFacts, message: StoredMessage, now: float) -> None:
    """One more message."""
    concerned = set()
    for recipient, one in zip(message.envelope.recipients, message.progress, strict=True):
        if one.is_held:
            facts.held += 1
            facts.held_since = min(facts.held_since or one.held_since, one.held_since)
        if not one.may_be_tried:
            continue
        if now - max(one.next_attempt, message.received_at) > OVERDUE_S:
            facts.overdue += 1
        if not one.attempts:
            continue
        domain = recipient.mailbox.domain
        waiting = facts.domains.setdefault(domain, Waiting(message.received_at + one.held_s))
        waiting.since = min(waiting.since, message.received_at + one.held_s)
        waiting.last_words = str(one.reply) if one.reply is not None else one.reason
        waiting.is_unreached = waiting.is_unreached and one.reply is None and one.stage in _NETWORK
        if domain not in concerned:
            concerned.add(domain)
            waiting.messages += 1


def check_queue(facts: QueueFacts, now: float, *, is_running: bool) -> Iterator[Check]:
    """It is worked on, and not much waits."""
    name = "queue"
    amount = f"{facts.messages} message{'' if facts.messages == 1 else 's'}"
    if facts.damaged:
        remedy = "look at what is in queue/damaged below storage.state; docs/queue-format.md tells how"
        yield warned(
            name, f"{facts.damaged} files of the queue could not be read and were set aside", remedy, "damaged"
        )
    if facts.held and now - facts.held_since > OLD_HELD_S:
        remedy = "mailserver queue list --state held, then release or bounce them"
        found = f"{facts.held} recipients are held, the first for {span(now - facts.held_since)}"
        yield warned(name, found, remedy, "held")
    if not facts.messages:
        yield passed(name, "it is empty")
    elif facts.overdue and is_running:
        remedy = "see the log for trouble: journalctl -u mailserver -g '#warn'; then restart the server"
        yield failed(name, f"{facts.overdue} recipients should have been tried an hour ago and more", remedy)
    elif facts.messages >= MANY:
        yield warned(name, f"{amount} wait, the oldest for {span(now - facts.oldest)}", "mailserver queue")
    else:
        verb = "waits" if facts.messages == 1 else "wait"
        yield passed(name, f"{amount} {verb}, the oldest for {span(now - facts.oldest)}")


def check_destinations(facts: QueueFacts, now: float) -> Iterator[Check]:
    """Mail gets to where it is to go, within a day."""
    name = "destinations"
    late = {domain: one for domain, one in facts.domains.items() if now - one.since > DOWN_S}
    unreached = [one for one in facts.domains.values() if one.is_unreached]
    if len(unreached) >= 5 and len(unreached) * 5 >= len(facts.domains) * 4:
        yield failed(
            name,
            f"none of {len(unreached)} destinations can be reached: {unreached[0].last_words}",
            "see the checks port25 and resolver, and the network of this machine",
        )
    elif late:
        worst = sorted(late, key=lambda domain: late[domain].since)
        shown = ", ".join(worst[:3]) + (f" and {len(worst) - 3} more" if len(worst) > 3 else "")
        since = span(now - late[worst[0]].since)
        words = late[worst[0]].last_words
        yield warned(
            name, f"mail for {shown} waits, since {since}: {words}", "mailserver queue, mailserver route ADDRESS"
        )
    else:
        yield passed(name, "no destination keeps mail waiting for more than a day")


# --- suppression list -------------------------------------------------------------------------------------------------


def read_suppression(config: Config, now: float) -> tuple[int, int] | str:
    """How many addresses are suppressed, and how many of them since a week; or why that cannot be told. Blocks."""
    found = SuppressionList(config.relay.suppress_after, config.relay.suppress_for)
    try:
        SuppressionFile(config.storage.state, DISK).read(found)
    except (Damaged, NewerFormat) as trouble:
        return f"the suppression list cannot be read: {trouble}"
    listed = found.listed(now)
    return len(listed), sum(1 for one in listed if now - one.since < 7 * 86400.0)


def check_suppression(found: tuple[int, int] | str) -> Check:
    """Few recipients are refused for good; many at once are what bought addresses and stolen passwords look like."""
    name = "suppression"
    if isinstance(found, str):
        return unknown(name, found, "the server sets a damaged one aside at its next start")
    total, new = found
    if new >= 20:
        remedy = (
            "mailserver suppression list: does somebody send to old or bought addresses, or with a stolen password?"
        )
        return warned(name, f"{new} addresses were added within a week, {total} are there", remedy)
    if not total:
        return passed(name, "it is empty")
    return passed(name, f"nothing is sent to {total} address{'' if total == 1 else 'es'} that do not exist")


def span(seconds: float) -> str:
    """`3 hours`."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count_ = int(seconds // length)
            return f"{count_} {unit}{'' if count_ == 1 else 's'}"
    return "less than a minute"


def unreadable(names: Iterable[str], error: OSError) -> list[Check]:
    """What is said of checks whose files cannot be read."""
    words = f"{error.filename} cannot be read: {(error.strerror or str(error)).lower()}"
    return [unknown(name, words, "run this as root, or as the user the server runs as") for name in names]
