"""Our own reports: made once a day from what was counted, and put into the queue like any other mail.

A report is made for each domain that wants one, at a moment of the day that differs from server to server, a few at a
time. It goes out with the null reverse-path: what cannot be delivered is dropped by the queue, and nobody is told but
the log. What happens when the process ends in the middle:

| state | what follows |
|---|---|
| counted, not made | made after the restart |
| in the queue, not yet noted as made | made again; the same Report-ID lets receivers count it once |
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Notify, Recipient
from mailserver.mail.ids import QueueId
from mailserver.mail.reports import DAY_S, Report, TlsReport
from mailserver.mail.trace import OUR_OWN
from mailserver.maillog import ReportMade, ReportsSent, Sink, Trouble
from mailserver.policy.reports.counted import DMARC, Period, dmarc_report, tls_report
from mailserver.policy.reports.destinations import AskAgain, PostTo, ReportTo, dmarc_destinations, tls_destinations
from mailserver.policy.reports.letters import Letterhead, letter, packed_tls
from mailserver.ports import (
    Acceptance,
    Blocking,
    Clock,
    Committer,
    ConnectionFailed,
    Lane,
    Overloaded,
    Resolver,
    StorageFull,
    StorageTrouble,
)
from mailserver.store.journal_format import JournalUnavailable
from mailserver.store.reports import ReportStore

# Of one look, so that the reports of a day go out over hours where there are many.
MAX_AT_ONCE = 20
# After midnight UTC, when others' clocks have passed it too.
_EARLIEST_S, _LATEST_S = 900.0, 4 * 3600.0
# What cannot be looked up or handed over is tried again after so long, and given up after so many days.
AGAIN_S = 3600.0
GIVEN_UP_AFTER_DAYS = 3
_PRUNE_EACH_S = 6 * 3600.0
_TOLD_AGAIN_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """How long reports are kept, and how large they may grow."""

    keep_s: float
    max_octets: int


# Hands a packed report to a web address; raises `ConnectionFailed`.
Post = Callable[[str, bytes], Awaitable[None]]


@dataclass(slots=True)
class _Tally:
    sent: int = 0
    unwanted: int = 0
    given_up: int = 0


class ReportSender:
    """`look` is to be called every few minutes. `kinds` are those that are switched on, `sign` puts signatures on.

    `offset_s` is how long after midnight (UTC) the reports about the day before are made.
    """

    def __init__(
        self,
        store: ReportStore,
        head: Letterhead,
        kinds: tuple[str, ...],
        kept: Kept,
        *,
        sign: Callable[[bytes], bytes],
        post: Post,
        committer: Committer,
        new_queue_id: Callable[[], QueueId],
        resolver: Resolver,
        blocking: Blocking,
        clock: Clock,
        rng: random.Random,
        log: Sink,
    ) -> None:
        self._store = store
        self._head = head
        self._kinds = kinds
        self._kept = kept
        self._sign = sign
        self._post = post
        self._not_before: dict[tuple[str, int, str], float] = {}
        self._committer = committer
        self._new_queue_id = new_queue_id
        self._resolver = resolver
        self._blocking = blocking
        self._clock = clock
        self._log = log
        self.offset_s = rng.uniform(_EARLIEST_S, _LATEST_S)
        self._tallies: dict[tuple[str, int], _Tally] = {}
        self._prunes_at = float("-inf")
        self._told_at = float("-inf")

    async def look(self) -> None:
        """Make what is due, and forget what is old. Trouble is told, and the next look tries again."""
        try:
            await self._prune()
            for kind in self._kinds:
                await self._make_due(kind)
        except Overloaded:
            return
        except (JournalUnavailable, StorageFull, StorageTrouble) as trouble:
            now = self._clock.monotonic()
            if now - self._told_at > _TOLD_AGAIN_S:
                self._told_at = now
                self._log(Trouble("", "our own reports", str(trouble), "they wait until it is over"))

    async def _prune(self) -> None:
        if self._clock.monotonic() >= self._prunes_at:
            self._prunes_at = self._clock.monotonic() + _PRUNE_EACH_S
            older_than = self._clock.now() - self._kept.keep_s
            await self._blocking.run(Lane.GENERAL, self._store.prune, older_than, self._kept.max_octets)

    async def _make_due(self, kind: str) -> None:
        # Days that were over so long ago that the moment for their reports has come.
        before_day = int((self._clock.now() - self.offset_s) // DAY_S)
        due = await self._blocking.run(Lane.GENERAL, self._store.due, kind, before_day)
        now = self._clock.now()
        due = [one for one in due if self._not_before.get((kind, *one), 0.0) <= now]
        for day, domain in due[:MAX_AT_ONCE]:
            outcome = await self._make(kind, day, domain)
            self._not_before.pop((kind, day, domain), None)
            if not outcome:
                self._not_before[kind, day, domain] = self._clock.now() + AGAIN_S
            else:
                await self._blocking.run(
                    Lane.GENERAL, self._store.settle, kind, day, domain, self._clock.now(), outcome
                )
        if len(due) <= MAX_AT_ONCE:
            self._tell_tallies(kind)

    async def _make(self, kind: str, day: int, domain: str) -> str:
        """What became of it, in a word; empty for what is tried again."""
        tally = self._tallies.setdefault((kind, day), _Tally())
        is_late = self._clock.now() >= (day + 1 + GIVEN_UP_AFTER_DAYS) * DAY_S
        try:
            wanted = await self._destinations(kind, domain)
            if not wanted:
                tally.unwanted += 1
                return "nobody wants it"
            report = await self._report(kind, day, domain)
            if report is None:
                return "there is nothing to tell"
            to = await self._send(report, domain, wanted)
        except (AskAgain, ConnectionFailed) as trouble:
            if not is_late:
                return ""
            tally.given_up += 1
            return f"given up: {trouble}"
        if not to:
            tally.given_up += 1
            return "larger than its destinations take"
        tally.sent += 1
        return f"sent to {', '.join(to)}"

    async def _destinations(self, kind: str, domain: str) -> tuple[ReportTo | PostTo, ...]:
        if kind == DMARC:
            return await dmarc_destinations(domain, self._resolver, self._clock)
        return await tls_destinations(domain, self._resolver)

    async def _report(self, kind: str, day: int, domain: str) -> Report | None:
        sender = self._head.sender
        period = Period(sender.domain, str(sender), self._head.hostname, domain, day)
        counted = await self._blocking.run(Lane.GENERAL, self._store.seen, kind, day, domain)
        make = dmarc_report if kind == DMARC else tls_report
        return await self._blocking.run(Lane.GENERAL, make, period, counted)

    async def _send(self, report: Report, domain: str, wanted: tuple[ReportTo | PostTo, ...]) -> list[str]:
        """To each destination; who gets one. Raises `ConnectionFailed` when the only ones that could do not take it."""
        told: list[str] = []
        trouble: ConnectionFailed | None = None
        for to in wanted:
            if isinstance(to, ReportTo):
                told += await self._queue(report, domain, to)
                continue
            try:
                assert isinstance(report, TlsReport), "only reports about TLS are posted"
                await self._post(to.url, await self._blocking.run(Lane.GENERAL, packed_tls, report))
                told.append(to.url)
            except ConnectionFailed as failed:
                trouble = failed
        # One destination that took it is enough (RFC 8460 3).
        if trouble is not None and not told:
            raise trouble
        return told

    async def _queue(self, report: Report, domain: str, to: ReportTo) -> list[str]:
        """A message of its own for one mailbox."""
        content = await self._blocking.run(Lane.GENERAL, self._content, report, domain, to.mailbox)
        if not to.takes(len(content)):
            return []
        queue_id, now = self._new_queue_id(), self._clock.now()
        recipient = Recipient(to.mailbox, frozenset({Notify.NEVER}))
        body = Body.SEVENBIT if content.isascii() else Body.EIGHTBITMIME
        envelope = Envelope(None, (recipient,), body=body, size_octets=len(content))
        acceptance = Acceptance(queue_id, now, envelope, b"", remote=envelope.recipients, source=OUR_OWN)
        await self._committer.commit(acceptance, content)
        self._log(ReportMade(queue_id, domain, "report", str(to.mailbox)))
        return [str(to.mailbox)]

    def _content(self, report: Report, domain: str, to: Mailbox) -> bytes:
        return self._sign(letter(self._head, report, domain, (to,), self._clock.now()))

    def _tell_tallies(self, kind: str) -> None:
        for (told, day), tally in list(self._tallies.items()):
            if told == kind:
                del self._tallies[told, day]
                if tally.sent or tally.given_up or tally.unwanted:
                    date = datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()
                    self._log(ReportsSent(kind, date, tally.sent, tally.unwanted, tally.given_up))
