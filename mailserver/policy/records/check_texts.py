"""Checks of TXT records that say what others shall do: DMARC, MTA-STS, TLSRPT."""

import re

from mailserver.mail.dns import CannotTell, TextAnswer
from mailserver.policy.dmarc.record import DmarcRecord, Policy, is_dmarc, parse_record
from mailserver.policy.dmarc.tree import DnsTree, Undecided, walk_targets
from mailserver.policy.mta_sts import policy_id
from mailserver.policy.records.findings import Finding
from mailserver.policy.records.look import Look, as_found, missing, right, unknown, wrong
from mailserver.policy.records.values import Record, unquoted

_LIMIT_S = 20.0
# RFC 8460 3.
_TLSRPT = re.compile(r"v=TLSRPTv1[ \t]*;")
_REPORT_URI = re.compile(r"(?:mailto:[^@\s,;!]+@[A-Za-z0-9._-]+|https://[^\s,;]+)\Z")
_STS = re.compile(r"v=STSv1[ \t]*;")


async def check_dmarc(record: Record, look: Look) -> Finding:
    """RFC 9989 4.8: one record that can be read. A stricter policy than ours is right; so is one that is inherited."""
    answer = await look.resolver.text(record.name)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    there = [text for text in answer if is_dmarc(text)] if isinstance(answer, tuple) else []
    if len(there) > 1:
        reason = f"there are {len(there)} DMARC records, and then none counts: leave only one"
        return wrong(record, as_found(tuple(there)), reason)
    if there:
        return _judged(record, there[0])
    like_it = _resembling(answer, "dmarc")
    if like_it:
        return wrong(record, like_it, "it is no DMARC record: one begins with v=DMARC1;")
    above = await _inherited(record.name.removeprefix("_dmarc."), look)
    if isinstance(above, CannotTell):
        return unknown(record, above)
    if above:
        return right(record, (), f"the record at _dmarc.{above} counts for it")
    return missing(record, answer)


def _judged(record: Record, text: str) -> Finding:
    found = as_found((text,))
    parsed = parse_record(text)
    if not re.search(r";[ \t]*p[ \t]*=", text, re.IGNORECASE):
        return wrong(record, found, "it has no policy (p=), so many ignore it")
    if parsed.is_void or _is_unreadable(text, parsed):
        return wrong(record, found, "its policy cannot be read: p, sp and np are none, quarantine or reject")
    if not parsed.reports_to:
        return right(record, found, "nobody gets reports: add rua=mailto:..., to learn who sends in your name")
    if parsed.is_testing:
        return right(record, found, "it is on trial (t=y), so others treat mail one step milder")
    if parsed.policy is Policy.NONE:
        return right(record, found, "p=none only asks for reports; quarantine or reject when these look right")
    return right(record, found)


def _is_unreadable(text: str, parsed: DmarcRecord) -> bool:
    """Whether a policy that stands there was passed over (RFC 9989 4.10.1), so that it became *none*."""
    said = re.findall(r"(?:^|;)[ \t]*(p|sp|np)[ \t]*=[ \t]*([^;]*)", text, re.IGNORECASE)
    words = {one.value for one in Policy}
    return any(value.strip(" \t").lower() not in words for _, value in said) and parsed.policy is Policy.NONE


async def _inherited(domain: str, look: Look) -> str | CannotTell:
    """The domain above whose record counts for this one too; empty for none."""
    tree = DnsTree(look.resolver, look.clock, _LIMIT_S)
    try:
        found = await tree.walk(domain)
    except Undecided as trouble:
        return CannotTell(str(trouble))
    return next((target for target in walk_targets(domain)[1:] if target in found), "")


async def check_consent(record: Record, look: Look) -> Finding:
    """RFC 9990 4: any DMARC record at this name is a yes."""
    answer = await look.resolver.text(record.name)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    there = tuple(text for text in answer if is_dmarc(text)) if isinstance(answer, tuple) else ()
    return right(record, as_found(there)) if there else missing(record, answer, as_found(answer))


async def check_mta_sts(record: Record, look: Look) -> Finding:
    """RFC 8461 3.1: one record, with the id of our policy."""
    answer = await look.resolver.text(record.name)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    there = tuple(text for text in answer if _STS.match(text)) if isinstance(answer, tuple) else ()
    found = as_found(there) or _resembling(answer, "stsv1")
    if not found:
        return missing(record, answer)
    if len(there) > 1:
        return wrong(record, found, f"there are {len(there)} MTA-STS records, and then none counts: leave only one")
    ours, theirs = policy_id((unquoted(record.value),)), policy_id(there)
    if theirs is None:
        return wrong(record, found, "others cannot read it: it needs v=STSv1; and an id of letters and digits")
    if theirs != ours:
        return wrong(record, found, "its id is not that of the policy in force, so others may keep an old policy")
    return right(record, found)


async def check_tls_reports(record: Record, look: Look) -> Finding:
    """RFC 8460 3: one record that says where to report. That is anybody's choice."""
    answer = await look.resolver.text(record.name)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    there = tuple(text for text in answer if _TLSRPT.match(text)) if isinstance(answer, tuple) else ()
    found = as_found(there) or _resembling(answer, "tlsrpt")
    if not found:
        return missing(record, answer)
    if len(there) > 1:
        return wrong(record, found, f"there are {len(there)} TLSRPT records, and then none counts: leave only one")
    fields = [field.strip(" \t") for field in there[0].split(";")] if there else []
    uris = [uri.strip(" \t") for field in fields if field.startswith("rua=") for uri in field[4:].split(",")]
    if not any(_REPORT_URI.match(uri) for uri in uris):
        return wrong(record, found, "others cannot read it: it needs v=TLSRPTv1; and rua=mailto: with an address")
    return right(record, found)


def _resembling(answer: TextAnswer, word: str) -> tuple[str, ...]:
    """Texts that were meant to be such a record."""
    return as_found(tuple(text for text in answer if word in text.lower())) if isinstance(answer, tuple) else ()
