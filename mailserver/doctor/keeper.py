"""The daily look of the running server: what it finds is set beside what was remembered, and a change is told by mail.

Mail is never disturbed: all checks have their time, what blocks runs in a lane of its own, and what breaks is told in
the log. No host of others is connected to but name servers, our own policy hosts, and what `[doctor]` names.

The checks themselves are imported with the first look, which is some minutes after the start.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mailserver.maillog import DoctorLooked, Sink, Trouble
from mailserver.ports import Blocking, Clock, Lane, Overloaded

if TYPE_CHECKING:
    from mailserver.doctor.changes import Changes
    from mailserver.doctor.check import Check
    from mailserver.doctor.remembered import LastLook, ResultsFile

DAY_S = 86400.0
# The first look after the start, when everything has settled; and by how much looks are spread.
FIRST_S = 300.0
JITTER_S = 3600.0
# How often it is asked whether it is time.
POLL_S = 30.0
# After trouble with our own disk or queue.
SOON_S = 3600.0

Examine = Callable[[], Awaitable["list[Check]"]]
TellPostmaster = Callable[[str, str], Awaitable[bool]]


class DoctorKeeper:
    """`examine` runs all checks; `tell_postmaster` takes subject and text, and says whether it is on disk."""

    def __init__(
        self,
        results: "ResultsFile",
        examine: Examine,
        tell_postmaster: TellPostmaster,
        hostname: str,
        *,
        blocking: Blocking,
        clock: Clock,
        log: Sink,
        rng: random.Random,
    ) -> None:
        self._results = results
        self._examine = examine
        self._tell_postmaster = tell_postmaster
        self._hostname = hostname
        self._blocking = blocking
        self._clock = clock
        self._log = log
        self._rng = rng
        self._due: float | None = None

    async def look(self) -> None:
        """To be called every half minute or so: does what is due."""
        now = self._clock.monotonic()
        if self._due is None:
            self._due = now + await self._first_wait()
        if now < self._due:
            return
        # Set first, so that what breaks below is not done again at once.
        self._due = now + DAY_S + self._rng.uniform(-JITTER_S, JITTER_S)
        if not await self._look():
            self._due = now + SOON_S

    async def _first_wait(self) -> float:
        """A server that is restarted does not look more often than once a day."""
        first = FIRST_S + self._rng.uniform(0.0, FIRST_S)
        last = await self._last()
        if last is None or last.looked_at > self._clock.now():
            return first
        return max(first, last.looked_at + DAY_S - self._clock.now())

    async def _look(self) -> bool:
        """Whether it is remembered and, if there was news, told."""
        from mailserver.doctor.changes import compare
        from mailserver.doctor.letter import subject, text
        from mailserver.doctor.remembered import LastLook

        found = await self._examine()
        last = await self._last()
        changes = compare(None if last is None else last.known, found)
        self._log(_event(found, changes))
        if changes.is_news:
            words = text(changes, self._hostname, is_first=last is None)
            if not await self._tell_postmaster(subject(changes, self._hostname), words):
                # It is told at the next look instead: what was remembered stays as it was.
                return False
        try:
            look = LastLook(self._clock.now(), changes.remembered)
            await self._blocking.run(Lane.GENERAL, self._results.write, look)
        except (OSError, Overloaded) as trouble:
            self._log(Trouble("", "the daily look", str(trouble), "what it found may be told twice"))
            return False
        return True

    async def _last(self) -> "LastLook | None":
        from mailserver.store.spool_json import Damaged, NewerFormat

        try:
            return await self._blocking.run(Lane.GENERAL, self._results.read)
        except (OSError, Overloaded, Damaged, NewerFormat) as trouble:
            self._log(
                Trouble("", "the results of the last daily look", str(trouble), "the next one counts as the first")
            )
            return None


def _event(found: "list[Check]", changes: "Changes") -> DoctorLooked:
    count = dict.fromkeys(("pass", "warn", "fail", "unknown", "skip"), 0)
    for one in found:
        count[one.verdict.value] += 1
    return DoctorLooked(
        count["pass"],
        count["warn"],
        count["fail"],
        count["unknown"],
        tuple(one.key for one in changes.worse),
        tuple(one.key for one in changes.mended),
    )
