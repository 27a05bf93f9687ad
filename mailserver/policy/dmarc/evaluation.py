"""DMARC over the `Resolver` door: whether what is shown as the author has anything to do with who answers for the
message (RFC 9989 4.10 and 5.3).

What a message can cost is bounded: at most `MAX_DOMAINS` author domains, eight questions for each walk, walks only for
identifiers below the author's own organization, and a time for all of it. Whoever waits must not count on that time
alone: the last question before it is over may take as long as the resolver lets it.

Decisions:

- A domain whose record says no more than *psd=y* still speaks for itself: a message from the suffix itself takes its
  `p`.
- An identifier that would be in alignment, had DNS answered for its SPF or DKIM, makes a *fail* a *temperror*.
- A name exists unless DNS says NXDOMAIN to it (RFC 8020); that it has neither mail nor address is not enough.
"""

from dataclasses import dataclass, replace

from mailserver.policy.dmarc.record import Alignment, DmarcRecord, Policy, PublicSuffix
from mailserver.policy.dmarc.result import Authors, DmarcResult, DmarcVerdict
from mailserver.policy.dmarc.tree import DnsTree, Undecided, organizational_domain
from mailserver.ports import Clock, Resolver

LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The domains that answer for a message (RFC 9989 3.2), and those of which DNS could not tell whether they do.

    Canonical. `spf` has at most one, that of the reverse-path, or of HELO when that is null.
    """

    spf: frozenset[str] = frozenset()
    dkim: frozenset[str] = frozenset()
    undecided_spf: frozenset[str] = frozenset()
    undecided_dkim: frozenset[str] = frozenset()


async def check_dmarc(
    authors: Authors,
    identifiers: Identifiers,
    resolver: Resolver,
    clock: Clock,
    *,
    limit_s: float = LIMIT_S,
    tells_both: bool = False,
) -> tuple[DmarcResult, ...]:
    """One result for each author domain, at least one in all. Never raises for anything that DNS or a record holds.

    With `tells_both` it is found out of SPF and of DKIM whether it is in alignment, as reports tell it.
    """
    if not authors.domains:
        return (unreadable(authors),)
    tree = DnsTree(resolver, clock, limit_s)
    results = tuple([await _result(domain, identifiers, tree) for domain in authors.domains])
    return tuple([await _with_both(one, identifiers, tree) for one in results]) if tells_both else results


def unreadable(authors: Authors) -> DmarcResult:
    """For a message without an author domain. What some reader may take for an address is as bad as a forged one."""
    policy = Policy.REJECT if authors.is_suspect else Policy.NONE
    return DmarcResult(DmarcVerdict.PERMERROR, policy=policy, problem=authors.problem)


async def _result(author: str, identifiers: Identifiers, tree: DnsTree) -> DmarcResult:
    if author.startswith("["):
        return DmarcResult(DmarcVerdict.NONE, author, problem="an address literal has no owner to ask")
    try:
        applied = await _applied(author, tree)
        if applied is None:
            return DmarcResult(DmarcVerdict.NONE, author)
        found = await _aligned(author, applied.record, identifiers.spf, identifiers.dkim, tree)
        if found:
            return _told(DmarcVerdict.PASS, author, applied, identifier=found)
        waiting = (identifiers.undecided_spf, identifiers.undecided_dkim)
        if await _aligned(author, applied.record, *waiting, tree):
            return DmarcResult(DmarcVerdict.TEMPERROR, author, problem="SPF or DKIM could not be checked now")
    except Undecided as trouble:
        return DmarcResult(DmarcVerdict.TEMPERROR, author, problem=str(trouble))
    return _told(DmarcVerdict.FAIL, author, applied)


async def _with_both(result: DmarcResult, identifiers: Identifiers, tree: DnsTree) -> DmarcResult:
    if result.verdict is not DmarcVerdict.PASS or result.record is None:
        return result
    nobody: frozenset[str] = frozenset()
    try:
        has_spf = bool(await _aligned(result.domain, result.record, identifiers.spf, nobody, tree))
        has_dkim = bool(await _aligned(result.domain, result.record, nobody, identifiers.dkim, tree))
    except Undecided:  # the verdict stands; what made it is known
        has_spf, has_dkim = result.identifier in identifiers.spf, result.identifier in identifiers.dkim
    return replace(result, has_aligned_spf=has_spf, has_aligned_dkim=has_dkim)


@dataclass(frozen=True, slots=True)
class _Applied:
    """The record that counts for an author domain, and what it asks for there."""

    record: DmarcRecord
    at: str
    policy: Policy


def _told(verdict: DmarcVerdict, author: str, applied: _Applied, identifier: str = "") -> DmarcResult:
    policy = applied.policy.lowered if applied.record.is_testing else applied.policy
    return DmarcResult(
        verdict, author, policy, applied.at, identifier, applied.record.is_testing, record=applied.record
    )


# --- the record -------------------------------------------------------------------------------------------------------


async def _applied(author: str, tree: DnsTree) -> _Applied | None:
    """RFC 9989 4.10.1: the record of the author domain, else of its organization, else of the public suffix above."""
    record = await tree.record(author)
    if record is not None:
        return None if record.is_void else _Applied(record, author, record.policy)
    found = await tree.walk(author)
    organization = organizational_domain(author, found)
    suffix = next((name for name, one in found.items() if one.public_suffix is PublicSuffix.YES), None)
    at = organization if organization in found else suffix
    if at is None or found[at].is_void:
        return None
    record = found[at]
    if record.below_nonexistent is record.below or await tree.exists(author):
        return _Applied(record, at, record.below)
    return _Applied(record, at, record.below_nonexistent)


# --- alignment --------------------------------------------------------------------------------------------------------


async def _aligned(author: str, record: DmarcRecord, spf: frozenset[str], dkim: frozenset[str], tree: DnsTree) -> str:
    """The identifier that is in alignment with the author domain (RFC 9989 4.4, 4.10.2); empty for none."""
    if author in spf or author in dkim:
        return author
    relaxed: set[str] = set()
    if record.dkim is Alignment.RELAXED:
        relaxed |= dkim
    if record.spf is Alignment.RELAXED:
        relaxed |= spf
    if not relaxed:
        return ""
    organization = await tree.organization(author)
    trouble: Undecided | None = None
    for domain in sorted(relaxed):
        # The organization of any other domain is another one: it is always the domain itself or a parent.
        if domain != organization and not domain.endswith(f".{organization}"):
            continue
        try:
            if await tree.organization(domain) == organization:
                return domain
        except Undecided as undecided:  # another identifier may be in alignment
            trouble = undecided
    if trouble is not None:
        raise trouble
    return ""
