"""Which of the records to publish the world sees: all asked for at once, none waited for too long."""

from collections.abc import Iterable

from mailserver.policy.records.check import check_record, unanswered
from mailserver.policy.records.findings import Finding
from mailserver.policy.records.values import Record, Site
from mailserver.ports import Clock, RecordResolver
from mailserver.survey.waiting import together, within

LIMIT_S = 30.0


async def check_records(
    records: Iterable[Record], site: Site, resolver: RecordResolver, clock: Clock, *, limit_s: float = LIMIT_S
) -> tuple[Finding, ...]:
    """A finding for each record, in their order. Ends within `limit_s`; what has no answer by then is *unknown*."""
    found = await together(
        within(clock, limit_s, check_record(one, site, resolver, clock), unanswered(one)) for one in records
    )
    return tuple(found)
