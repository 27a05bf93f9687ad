"""What every check of a record needs: the questions it asks, and the ways to say what came of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from mailserver.mail.dns import CannotTell, IpAddress, NoSuchName, TextAnswer
from mailserver.mail.reply import printable
from mailserver.policy.records.findings import Finding, Verdict
from mailserver.policy.records.values import TTL_S, Record, Site, quoted
from mailserver.ports import Clock, RecordResolver

MAX_SHOWN_CHARS = 2000
MAX_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Look:
    """One look into DNS for one site."""

    site: Site
    resolver: RecordResolver
    clock: Clock

    async def ours(self) -> frozenset[IpAddress] | CannotTell:
        """The addresses at which this server is: those that are known here, else what its host name leads to."""
        if self.site.addresses:
            return frozenset(self.site.addresses)
        answer = await self.resolver.addresses(self.site.hostname)
        if isinstance(answer, CannotTell):
            return answer
        return frozenset(answer) if isinstance(answer, tuple) else frozenset()

    async def leads_here(self, host: str) -> bool | CannotTell:
        """Whether a host name is this server."""
        if host == self.site.hostname:
            return True
        answer = await self.resolver.addresses(host)
        if isinstance(answer, CannotTell):
            return answer
        if not isinstance(answer, tuple):
            return False
        ours = await self.ours()
        return ours if isinstance(ours, CannotTell) else not ours.isdisjoint(answer)


def right(record: Record, found: Iterable[str], reason: str = "") -> Finding:
    """Nothing is to be done; `reason` is worth knowing."""
    return Finding(record, Verdict.RIGHT, shown(found), reason)


def wrong(
    record: Record, found: Iterable[str], reason: str, *, publish: str | None = None, is_harmful: bool = False
) -> Finding:
    """Something else stands there. `publish` is the value to publish instead; None: the record's own."""
    value = record.value if publish is None else publish
    return Finding(record, Verdict.WRONG, shown(found), printable(reason), line(record, value), is_harmful)


def missing(record: Record, answer: object, found: Iterable[str] = ()) -> Finding:
    """Nothing of it stands there. A name that is not there at all is told so: often the zone is the wrong one."""
    is_nothing = isinstance(answer, NoSuchName)
    reason = f"DNS does not know the name {record.name}" if is_nothing else f"there is no such record at {record.name}"
    return Finding(record, Verdict.MISSING, shown(found), reason, record.zone_line)


def unknown(record: Record, trouble: CannotTell) -> Finding:
    """DNS cannot tell now."""
    return Finding(record, Verdict.UNKNOWN, reason=printable(f"it could not be looked up: {trouble.reason}"))


def line(record: Record, value: str) -> str:
    """A zone-file line with the name and type of a record."""
    return f"{record.name}. {TTL_S} IN {record.kind} {value}"


def shown(found: Iterable[str]) -> tuple[str, ...]:
    """What strangers published, safe and short enough to be shown."""
    return tuple(printable(one[:MAX_SHOWN_CHARS]) for one in list(found)[:MAX_SHOWN])


def as_found(texts: TextAnswer) -> tuple[str, ...]:
    """TXT records as a zone file has them."""
    return tuple(quoted(text) for text in texts) if isinstance(texts, tuple) else ()
