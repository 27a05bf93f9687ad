"""Checks an SPF record by asking it, as receivers do, about each of our addresses (RFC 7208)."""

from collections.abc import Iterable
from ipaddress import ip_address

from mailserver.mail.dns import CannotTell, IpAddress
from mailserver.mail.fault import SyntaxFault
from mailserver.policy.records.findings import Finding
from mailserver.policy.records.look import Look, as_found, missing, right, unknown, wrong
from mailserver.policy.records.values import Record, Topic, quoted, unquoted
from mailserver.policy.spf.evaluation import SpfQuestion, check_host
from mailserver.policy.spf.macros import MacroString, as_name, expand, letters_of
from mailserver.policy.spf.record import Directive, Kind, is_spf, parse_record
from mailserver.policy.spf.record import Record as SpfRecord
from mailserver.policy.spf.result import SpfIdentity, SpfResult, SpfVerdict

# RFC 7208 4.6.4 allows no receiver more.
_MAX_INCLUDES = 10
_LIMIT_S = 20.0
# Reserved (RFC 1112 4) and discarded (RFC 6666): nobody sends from there.
_STRANGERS = (ip_address("240.0.0.1"), ip_address("100::1"))
_OPEN = "it lets everybody send in your name (+all)"


async def check_spf(record: Record, look: Look) -> Finding:
    """One record at the name, and it lets our addresses send; and those that the configuration names."""
    answer = await look.resolver.text(record.name)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    if not isinstance(answer, tuple):
        return missing(record, answer)
    there = [text for text in answer if is_spf(text)]
    found = as_found(tuple(there) or tuple(text for text in answer if "spf" in text[:12].lower()))
    if not there and found:
        return wrong(record, found, "it is no SPF record: one begins with v=spf1 and a space")
    if not there:
        return missing(record, answer)
    if len(there) > 1:
        reason = f"there are {len(there)} SPF records, and then none counts: leave only one"
        return wrong(record, found, reason, publish=_joined(record, there))
    parsed = parse_record(there[0])
    if isinstance(parsed, SyntaxFault):
        return wrong(record, found, f"others cannot read it: {parsed.reason}", is_harmful=True)
    return await _asked(record, there[0], parsed, look)


async def _asked(record: Record, text: str, parsed: SpfRecord, look: Look) -> Finding:
    found = (quoted(text),)
    if _is_open(parsed):
        return wrong(record, found, _OPEN, is_harmful=True)
    refused: list[IpAddress] = []
    for address in look.site.senders if look.site.sends_directly else ():
        result = await _verdict(record, address, look)
        if result.verdict is SpfVerdict.TEMPERROR:
            return unknown(record, CannotTell(result.problem))
        if result.verdict is SpfVerdict.PERMERROR:
            return wrong(record, found, f"others cannot evaluate it: {result.problem}", is_harmful=True)
        if result.verdict is not SpfVerdict.PASS:
            refused.append(address)
    absent = await _not_included(parsed, record.name, look) if record.topic is Topic.SPF else ()
    if isinstance(absent, CannotTell):
        return unknown(record, absent)
    merged = _merged(text, (*(f"ip{one.version}:{one}" for one in refused), *(f"include:{one}" for one in absent)))
    if refused:
        reason = f"it does not let {' and '.join(map(str, refused))} send, which is this server"
        return wrong(record, found, reason, publish=merged, is_harmful=True)
    if absent:
        reason = f"it does not name {', '.join(absent)}, who the configuration says send for you"
        return wrong(record, found, reason, publish=merged, is_harmful=True)
    trouble = await _for_strangers(record, look)
    if trouble:
        return wrong(record, found, trouble, is_harmful=True)
    return right(record, found, _remark(record, parsed, look))


async def _for_strangers(record: Record, look: Look) -> str:
    """What is wrong with it for whom it does not mean; empty for nothing. Only this walks it to its end."""
    for address in _STRANGERS:
        result = await _verdict(record, address, look)
        if result.verdict is SpfVerdict.PASS:
            return _OPEN
        if result.verdict is SpfVerdict.PERMERROR:
            return f"others cannot evaluate it to its end, so it stops nobody: {result.problem}"
    return ""


async def _verdict(record: Record, address: IpAddress, look: Look) -> SpfResult:
    question = SpfQuestion(
        client=address,
        domain=record.name,
        hello=look.site.said_name,
        receiver=look.site.hostname,
        identity=SpfIdentity.HELO if record.topic is Topic.HELO_SPF else SpfIdentity.MAIL_FROM,
    )
    return await check_host(question, look.resolver, look.clock, limit_s=_LIMIT_S)


def _is_open(parsed: SpfRecord) -> bool:
    """Whether everybody passes: `all`, or a network of everything."""
    for one in parsed.directives:
        is_all = one.kind is Kind.ALL or (one.network is not None and one.network.prefixlen == 0)
        if is_all and one.verdict is SpfVerdict.PASS:
            return True
        if one.kind is Kind.ALL:
            return False
    return False


def _merged(text: str, terms: Iterable[str]) -> str:
    """What is there with what it lacks put first, so that nobody else who sends for the domain is shut out."""
    return quoted(" ".join(("v=spf1", *terms, *text[6:].split())))


def _joined(record: Record, texts: Iterable[str]) -> str:
    """One record of several: ours, then who else may send by any of them."""
    ours = unquoted(record.value).split()
    terms = [term for text in texts for term in text[6:].split() if term.lstrip("+-~?").lower() != "all"]
    return quoted(" ".join(dict.fromkeys((*ours[:-1], *terms, ours[-1]))))


async def _not_included(parsed: SpfRecord, domain: str, look: Look) -> tuple[str, ...] | CannotTell:
    """Those of the configuration that neither the record nor any that it includes names."""
    absent = {name.lower() for name in look.site.spf_include}
    waiting, seen = [(parsed, domain)], {domain}
    while waiting and absent and len(seen) <= _MAX_INCLUDES:
        record, of = waiting.pop(0)
        for name in _targets(record, of):
            absent.discard(name)
            if name in seen or not absent:
                continue
            seen.add(name)
            answer = await look.resolver.text(name)
            if isinstance(answer, CannotTell):
                return answer
            texts = [text for text in answer if is_spf(text)] if isinstance(answer, tuple) else []
            below = parse_record(texts[0]) if len(texts) == 1 else SyntaxFault("none")
            if isinstance(below, SpfRecord):
                waiting.append((below, name))
    return tuple(name for name in look.site.spf_include if name.lower() in absent)


def _targets(record: SpfRecord, domain: str) -> tuple[str, ...]:
    """The domains that a record includes or redirects to, but for those made with macros about the message."""
    specs = [one.domain for one in record.directives if _is_include(one)] + [record.redirect]
    return tuple(name for spec in specs if spec is not None and (name := _plain(spec, domain)))


def _is_include(one: Directive) -> bool:
    return one.kind is Kind.INCLUDE and one.verdict is SpfVerdict.PASS


def _plain(spec: MacroString, domain: str) -> str:
    if letters_of(spec) - {"d", "o"}:
        return ""
    return as_name(expand(spec, {"d": domain, "o": domain})).lower().rstrip(".")


def _remark(record: Record, parsed: SpfRecord, look: Look) -> str:
    if record.topic is Topic.SPF and look.site.smarthost and not look.site.spf_include:
        return f"whether it lets {look.site.smarthost} send cannot be told from here: see [dns] spf_include"
    ends = next((one for one in parsed.directives if one.kind is Kind.ALL), None)
    if parsed.redirect is None and (ends is None or ends.verdict is SpfVerdict.NEUTRAL):
        return "it says nothing about all others: end it in -all when you know who sends for you"
    if ends is not None and ends.verdict is SpfVerdict.SOFTFAIL and unquoted(record.value).endswith("-all"):
        return "it ends in ~all; -all is stricter, when you know who sends for you"
    return ""
