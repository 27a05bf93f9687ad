"""Which of the records to publish the world sees: asked for together, and none waited for too long."""

from collections.abc import Iterable
from dataclasses import replace

from mailserver.policy.records.check import check_record, unanswered
from mailserver.policy.records.findings import Finding, Verdict
from mailserver.policy.records.values import Record, Site
from mailserver.ports import Clock, RecordResolver
from mailserver.survey.waiting import together, within

LIMIT_S = 30.0
# For the second look.
AUTHORITY_S = 15.0
# More questions at once than this some resolvers drop.
AT_ONCE = 40
_STILL_OLD = (
    "it is right at the name servers of the domain; a cache still tells the old one, for as long as its TTL says"
)


async def check_records(
    records: Iterable[Record],
    site: Site,
    resolver: RecordResolver,
    clock: Clock,
    *,
    limit_s: float = LIMIT_S,
    authority: RecordResolver | None = None,
) -> tuple[Finding, ...]:
    """A finding for each record, in their order. What has no answer within `limit_s` is *unknown*.

    With `authority`, which asks the name servers of each zone themselves, what seems missing or wrong is looked at once
    more there, for 15 s at most: a cache may remember for hours that there was nothing.
    """
    found = await _all(list(records), site, resolver, clock, limit_s)
    again = [index for index, one in enumerate(found) if one.is_trouble]
    if authority is None or not again:
        return tuple(found)
    fresh = await _all([found[index].record for index in again], site, authority, clock, min(AUTHORITY_S, limit_s))
    for index, finding in zip(again, fresh, strict=True):
        if finding.verdict is Verdict.RIGHT:
            found[index] = replace(finding, reason=_STILL_OLD)
        elif finding.is_trouble:
            found[index] = finding
    return tuple(found)


async def _all(
    records: list[Record], site: Site, resolver: RecordResolver, clock: Clock, limit_s: float
) -> list[Finding]:
    ends_at = clock.monotonic() + limit_s
    found: dict[int, Finding] = {}
    waiting = list(enumerate(records))[::-1]

    async def work() -> None:
        while waiting:
            index, record = waiting.pop()
            left_s = ends_at - clock.monotonic()
            late = unanswered(record)
            if left_s > 0:
                late = await within(clock, left_s, check_record(record, site, resolver, clock), late)
            found[index] = late

    await together(work() for _ in range(AT_ONCE))
    return [found[index] for index in range(len(records))]
