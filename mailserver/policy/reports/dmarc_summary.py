"""Who sends in a domain's name: what reporters told, summed up by source, and what follows from it in words. Pure.

What nobody vouches for is shown, marked, and not counted in advice: anybody can send such a report.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mailserver.mail.reports import KeptRow
from mailserver.policy.reports.proof import shown

# Before a stricter policy is advised, all must have been well for so long, with so many messages.
_DAYS_FOR_QUARANTINE, _DAYS_FOR_REJECT = 14, 28
_MESSAGES_FOR_ADVICE = 20
_MOST_NAMED = 3
_MOST_LISTED = 10


@dataclass(slots=True)
class Source:
    """One address. `messages` in all, of which `passed` passed DMARC, `spf` and `dkim` by that; `unproven` are those
    that only reports say of which nobody vouches for."""

    address: str
    is_ours: bool = False
    messages: int = 0
    passed: int = 0
    spf: int = 0
    dkim: int = 0
    unproven: int = 0
    dispositions: Counter[str] = field(default_factory=Counter)
    reporters: dict[str, bool] = field(default_factory=dict)
    from_domains: dict[str, None] = field(default_factory=dict)
    dkim_domains: dict[str, None] = field(default_factory=dict)
    spf_domains: dict[str, None] = field(default_factory=dict)
    proven_messages: int = 0
    proven_passed: int = 0

    def take(self, row: KeptRow) -> None:
        """Add what one reporter told."""
        self.messages += row.count
        is_pass = row.dkim or row.spf
        self.passed += row.count * is_pass
        self.spf += row.count * row.spf
        self.dkim += row.count * row.dkim
        self.dispositions[row.disposition] += row.count
        if row.proven:
            self.proven_messages += row.count
            self.proven_passed += row.count * is_pass
        else:
            self.unproven += row.count
        name = shown(row.reporter, row.proven)
        self.reporters[name] = self.reporters.get(name, False) or bool(row.proven)
        for names, found in (
            (self.from_domains, (row.header_from,)),
            (self.dkim_domains, row.dkim_domains),
            (self.spf_domains, row.spf_domains),
        ):
            names.update(dict.fromkeys(name for name in found if name and len(names) < _MOST_LISTED))

    @property
    def failed(self) -> int:
        """Messages that passed neither."""
        return self.messages - self.passed


@dataclass(frozen=True, slots=True)
class Summary:
    """One domain; sources with the most messages first. `policy` is the newest that a reporter saw."""

    domain: str
    sources: tuple[Source, ...]
    days: int
    policy: str

    @property
    def messages(self) -> int:
        """All messages."""
        return sum(source.messages for source in self.sources)


def summaries(rows: Iterable[KeptRow], own: frozenset[str]) -> list[Summary]:
    """Each domain by name. `own` are this server's addresses, in their shortest spelling."""
    sources: dict[str, dict[str, Source]] = {}
    days: dict[str, set[int]] = {}
    policies: dict[str, tuple[int, str]] = {}
    for row in rows:
        found = sources.setdefault(row.domain, {})
        if row.source not in found:
            found[row.source] = Source(row.source, row.source in own)
        found[row.source].take(row)
        if row.proven:
            days.setdefault(row.domain, set()).add(row.day)
        if row.policy and row.day >= policies.get(row.domain, (-1, ""))[0]:
            policies[row.domain] = (row.day, row.policy)
    return [
        Summary(
            domain,
            tuple(sorted(found.values(), key=lambda one: (-one.messages, one.address))),
            len(days.get(domain, ())),
            policies.get(domain, (0, ""))[1],
        )
        for domain, found in sorted(sources.items())
    ]


# --- in words ---------------------------------------------------------------------------------------------------------


def sentences(summary: Summary) -> list[str]:
    """What there is to know, a sentence each; the last one says what to do."""
    return [*_own(summary), *_helpers(summary), *_strangers(summary), *_unproven(summary), *_advice(summary)]


def _own(summary: Summary) -> Iterator[str]:
    for one in summary.sources:
        if not one.is_ours:
            continue
        if not one.failed:
            yield f"all {_count(one.messages)} from your own address {one.address} passed"
            continue
        wrong = "neither SPF nor DKIM passed for them: mailserver dns --check shows which record is wrong"
        yield f"{one.failed:,} of {_count(one.messages)} from your own address {one.address} failed, {wrong}"


def _helpers(summary: Summary) -> Iterator[str]:
    """Others whose mail passes: by a key of the owner's, or because the owner's SPF names them."""
    found = [one for one in summary.sources if not one.is_ours and one.messages and not one.failed]
    if found:
        count = sum(one.messages for one in found)
        which = _named(found)
        by = "your DKIM signature or your SPF record"
        yield f"{_count(count)} from {which} passed by {by}: forwarders, or services that send for you"


def _strangers(summary: Summary) -> Iterator[str]:
    found = [one for one in summary.sources if not one.is_ours and one.failed]
    found.sort(key=lambda one: -one.failed)
    if found:
        count = sum(one.failed for one in found)
        yield (
            f"{_count(count)} from {_named(found)} failed both SPF and DKIM: somebody else sends in your name, "
            "or a service that you use is not in SPF and does not sign"
        )


def _unproven(summary: Summary) -> Iterator[str]:
    count = sum(one.unproven for one in summary.sources)
    if count:
        told = "is only told" if count == 1 else "are only told"
        yield f"{_count(count)} of all {told} by reports that nobody vouches for (marked *)"


def _advice(summary: Summary) -> Iterator[str]:
    """When `p=none` could become more."""
    own = [one for one in summary.sources if one.is_ours]
    helpers = [one for one in summary.sources if not one.is_ours and one.passed > 0]
    proven = sum(one.proven_messages for one in own)
    lost = sum(one.proven_messages - one.proven_passed for one in (*own, *helpers))
    mine = f"_dmarc.{summary.domain}"
    if summary.policy == "reject":
        yield "the policy is p=reject, the strictest there is"
    elif not own:
        yield (
            "none of these sources is known to be yours: if one is, name it in the configuration, such as "
            '[doctor] addresses = ["192.0.2.7"]'
        )
    elif lost:
        yield f"leave {mine} at p={summary.policy or 'none'}: mail of your own would be lost with more"
    elif summary.policy == "quarantine":
        if summary.days >= _DAYS_FOR_REJECT and proven >= _MESSAGES_FOR_ADVICE:
            yield f"all mail of your own passed on {summary.days} days: {mine} can say p=reject"
        else:
            wait = f"all was well for {_DAYS_FOR_REJECT} days (--since {_DAYS_FOR_REJECT}d)"
            yield f"for p=reject, look again when {wait}"
    elif summary.days >= _DAYS_FOR_QUARANTINE and proven >= _MESSAGES_FOR_ADVICE:
        yield f"all mail of your own passed on {summary.days} days: {mine} can say p=quarantine"
    else:
        wait = f"all was well for {_DAYS_FOR_QUARANTINE} days (--since {_DAYS_FOR_QUARANTINE}d)"
        yield f"for p=quarantine, look again when {wait}"


def _named(sources: list[Source]) -> str:
    names = [one.address for one in sources[:_MOST_NAMED]]
    more = len(sources) - len(names)
    return ", ".join(names) + (f" and {more} other address{'es' if more > 1 else ''}" if more else "")


def _count(number: int) -> str:
    return f"{number:,} message{'' if number == 1 else 's'}"
