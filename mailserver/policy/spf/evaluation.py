"""check_host(): whether a client may send in a domain's name (RFC 7208 4 and 5), over the `Resolver` door.

What a record can cost is bounded: ten terms that ask, two questions that come to nothing, ten names of an MX or PTR
answer (RFC 7208 4.6.4), and a time for all of it. Whoever waits must not count on that time alone: the last question
before it is over may take as long as the resolver lets it.

Decisions:

- Questions about the client's own reverse names do not count as void. The sender's domain has no say in them, so its
  record must not become a *permerror* because of where a forger sits.
- The reverse names are looked up once for all of a check, however often `ptr` and `%{p}` ask for them.
- A name that cannot be asked for (an empty label, one over 63 octets) does not match (RFC 7208 4.8 leaves it open);
  as the target of `include` or `redirect` it is a *permerror*.
- RFC 8616 4: a local-part beyond ASCII has no form for DNS, so a mechanism whose domain needs it never matches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network
from typing import TypeVar, assert_never

from mailserver.mail.address import canonical_domain
from mailserver.mail.dns import CannotTell, IpAddress, MxRecord, NoRecords, NoSuchName
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reply import printable
from mailserver.policy.spf.macros import (
    MAX_NAME_OCTETS,
    TEXT_LETTERS,
    MacroString,
    as_name,
    expand,
    letters_of,
    parse_macro_string,
)
from mailserver.policy.spf.record import COUNTED, Directive, Kind, Record, is_spf, parse_record
from mailserver.policy.spf.result import SpfIdentity, SpfResult, SpfVerdict
from mailserver.ports import Clock, Resolver

MAX_TERMS = 10
MAX_VOID = 2
MAX_NAMES = 10
LIMIT_S = 20.0
MAX_EXPLANATION_CHARS = 400
# Of the published text, before its macros are expanded.
_MAX_TEMPLATE_CHARS = 2_000
_MAX_MECHANISM_CHARS = 200
_UNKNOWN = "unknown"

_MAX_SHOWN_CHARS = 100

_Nothing = NoSuchName | NoRecords
_Found = TypeVar("_Found", tuple[str, ...], tuple[MxRecord, ...], tuple[IpAddress, ...])


@dataclass(frozen=True, slots=True)
class SpfQuestion:
    """Whose permission is asked for.

    `domain` is that of the identity, `local_part` its other half (empty becomes `postmaster`, RFC 7208 4.3). `hello` is
    the client's word at EHLO. `receiver` is our host name. `client` is never IPv4-mapped when it comes from a `Peer`;
    if it is, it counts as IPv4 (RFC 7208 5).
    """

    client: IpAddress
    domain: str
    local_part: str = ""
    hello: str = ""
    receiver: str = ""
    identity: SpfIdentity = SpfIdentity.MAIL_FROM


async def check_host(question: SpfQuestion, resolver: Resolver, clock: Clock, *, limit_s: float = LIMIT_S) -> SpfResult:
    """The verdict of RFC 7208 4. Never raises for anything that DNS or a record holds."""
    domain = _checkable(question.domain)
    if domain is None:
        return SpfResult(SpfVerdict.NONE, question.identity)
    return await _Check(question, domain, resolver, clock, limit_s).result()


def _checkable(text: str) -> str | None:
    """RFC 7208 4.3: the canonical domain; None for a literal, a single label and what is no domain."""
    domain = canonical_domain(text.removesuffix("."))
    return None if domain is None or domain.startswith("[") or "." not in domain else domain


class _Stop(Exception):
    """The check is over with an error."""

    def __init__(self, verdict: SpfVerdict, problem: str) -> None:
        super().__init__(problem)
        self.verdict = verdict
        self.problem = problem


def _permanent(problem: str) -> _Stop:
    return _Stop(SpfVerdict.PERMERROR, problem)


@dataclass(frozen=True, slots=True)
class _Ruling:
    """What one record, with those it redirects to, came to. `explanation` is the `exp` of `domain`'s record."""

    verdict: SpfVerdict
    domain: str
    mechanism: str = ""
    explanation: MacroString | None = None


class _Check:
    """One check; counts what it has cost."""

    def __init__(self, question: SpfQuestion, domain: str, resolver: Resolver, clock: Clock, limit_s: float) -> None:
        client = question.client
        if isinstance(client, IPv6Address) and client.ipv4_mapped is not None:
            client = client.ipv4_mapped
        self._client = client
        self._question = question
        self._domain = domain
        self._local_part = question.local_part or "postmaster"
        self._resolver = resolver
        self._clock = clock
        self._over_at = clock.monotonic() + limit_s
        self._terms = 0
        self._void = 0
        self._reverse_names: tuple[str, ...] | None = None

    async def result(self) -> SpfResult:
        identity = self._question.identity
        try:
            ruling = await self._ruling(self._domain)
        except _Stop as stop:
            return SpfResult(stop.verdict, identity, self._domain, problem=stop.problem)
        explanation = ""
        if ruling.verdict is SpfVerdict.FAIL and ruling.explanation is not None:
            explanation = await self._explanation(ruling.explanation, ruling.domain)
        mechanism = ruling.mechanism[:_MAX_MECHANISM_CHARS]
        return SpfResult(ruling.verdict, identity, self._domain, mechanism, explanation)

    # --- records ------------------------------------------------------------------------------------------------------

    async def _ruling(self, domain: str) -> _Ruling:
        """RFC 7208 4.4 to 4.7 for one domain."""
        record = await self._record(domain)
        if record is None:
            return _Ruling(SpfVerdict.NONE, domain)
        for directive in record.directives:
            if directive.kind in COUNTED:
                self._count_term()
            if await self._matches(directive, domain):
                return _Ruling(directive.verdict, domain, directive.text, record.explanation)
        if record.redirect is None:
            return _Ruling(SpfVerdict.NEUTRAL, domain, "default")
        self._count_term()
        target = await self._target(record.redirect, domain)
        ruling = await self._ruling(target) if target else _Ruling(SpfVerdict.NONE, domain)
        if ruling.verdict is SpfVerdict.NONE:
            raise _permanent("redirect leads to a domain without an SPF record")
        return ruling

    async def _record(self, domain: str) -> Record | None:
        answer = await self._text(domain)
        if not isinstance(answer, tuple):
            return None
        records = [text for text in answer if is_spf(text)]
        if len(records) > 1:
            raise _permanent(f"{domain} has more than one SPF record")
        record = parse_record(records[0]) if records else None
        if isinstance(record, SyntaxFault):
            raise _permanent(f"{domain}: {record.reason}")
        return record

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise _permanent(f"more than {MAX_TERMS} terms that ask DNS")

    # --- mechanisms ---------------------------------------------------------------------------------------------------

    async def _matches(self, directive: Directive, domain: str) -> bool:
        match directive.kind:
            case Kind.ALL:
                return True
            case Kind.IP4 | Kind.IP6:
                return directive.network is not None and self._client in directive.network
            case Kind.INCLUDE | Kind.A | Kind.MX | Kind.PTR | Kind.EXISTS:
                target = domain if directive.domain is None else await self._target(directive.domain, domain)
                return await self._matches_name(directive, target)
        assert_never(directive.kind)

    async def _matches_name(self, directive: Directive, target: str) -> bool:
        if directive.kind is Kind.INCLUDE:
            return await self._includes(target)
        if not target:
            return False
        match directive.kind:
            case Kind.A:
                return await self._has_client(target, directive)
            case Kind.MX:
                return await self._mx_has_client(target, directive)
            case Kind.PTR:
                names = await self._validated_names()
                return any(name == target or name.endswith("." + target) for name in names)
            case Kind.EXISTS:
                # RFC 7208 5.7: an A record, also for a client with IPv6.
                return isinstance(self._counted(await self._addresses(target, ipv4=True)), tuple)
            case Kind.ALL | Kind.IP4 | Kind.IP6 | Kind.INCLUDE:
                raise AssertionError("not a mechanism about a name")
        assert_never(directive.kind)

    async def _includes(self, target: str) -> bool:
        """RFC 7208 5.2: only *pass* matches; no record is the including domain's fault."""
        ruling = await self._ruling(target) if target else None
        if ruling is None or ruling.verdict is SpfVerdict.NONE:
            raise _permanent("include names a domain without an SPF record")
        return ruling.verdict is SpfVerdict.PASS

    async def _has_client(self, name: str, directive: Directive) -> bool:
        answer = self._counted(await self._addresses(name, ipv4=self._client.version == 4))
        length = directive.length4 if self._client.version == 4 else directive.length6
        found = answer if isinstance(answer, tuple) else ()
        return any(self._client in ip_network((one, length), strict=False) for one in found)

    async def _mx_has_client(self, name: str, directive: Directive) -> bool:
        answer = await self._mx(name)
        records = answer if isinstance(answer, tuple) else ()
        if len(records) > MAX_NAMES:
            raise _permanent(f"{name} has more than {MAX_NAMES} MX records")
        for record in sorted(records, key=lambda one: one.preference):
            if record.exchange and await self._has_client(record.exchange, directive):
                return True
        return False

    # --- the client's own names ---------------------------------------------------------------------------------------

    async def _validated_names(self) -> tuple[str, ...]:
        """RFC 7208 5.5: the reverse names that lead back to the client. Trouble with one only leaves it out."""
        if self._reverse_names is None:
            self._reverse_names = ()
            if self._clock.monotonic() < self._over_at:
                answer = await self._resolver.pointer(self._client)
                claimed = answer[:MAX_NAMES] if isinstance(answer, tuple) else ()
                self._reverse_names = tuple([name for name in claimed if await self._leads_back(name)])
        return self._reverse_names

    async def _leads_back(self, name: str) -> bool:
        if not _is_askable(name):
            return False
        try:
            answer = await self._addresses(name, ipv4=self._client.version == 4)
        except _Stop:
            return False
        return isinstance(answer, tuple) and self._client in answer

    async def _reverse_name(self, domain: str) -> str:
        """RFC 7208 7.3, `p`: the domain itself, else a name below it, else any."""
        names = await self._validated_names()
        if domain in names:
            return domain
        below = next((name for name in names if name.endswith("." + domain)), None)
        return below or next(iter(names), _UNKNOWN)

    # --- macros -------------------------------------------------------------------------------------------------------

    async def _target(self, parts: MacroString, domain: str) -> str:
        """The name that a domain-spec means; empty when it can be none."""
        letters = letters_of(parts)
        if not self._local_part.isascii() and not letters.isdisjoint("sl"):
            return ""
        name = as_name(expand(parts, await self._values(letters, domain)))
        return name if _is_askable(name) else ""

    async def _values(self, letters: frozenset[str], domain: str) -> Mapping[str, str]:
        client, question = self._client, self._question
        dotted = str(client) if client.version == 4 else ".".join(client.exploded.replace(":", "")).upper()
        return {
            "s": f"{self._local_part}@{self._domain}",
            "l": self._local_part,
            "o": self._domain,
            "d": domain,
            "i": dotted,
            "p": await self._reverse_name(domain) if "p" in letters else _UNKNOWN,
            "v": "in-addr" if client.version == 4 else "ip6",
            "h": question.hello or _UNKNOWN,
            "c": str(client),
            "r": question.receiver or _UNKNOWN,
            "t": str(int(self._clock.now())),
        }

    async def _explanation(self, parts: MacroString, domain: str) -> str:
        """RFC 7208 6.2: the text, or nothing when anything about it is wrong. What it needs counts as nothing."""
        try:
            name = await self._target(parts, domain)
            answer = await self._text(name) if name else NoSuchName()
        except _Stop:
            return ""
        if not isinstance(answer, tuple) or len(answer) != 1:
            return ""
        if not answer[0].isascii() or len(answer[0]) > _MAX_TEMPLATE_CHARS:
            return ""
        text = parse_macro_string(answer[0], TEXT_LETTERS)
        if isinstance(text, SyntaxFault):
            return ""
        said = expand(text, await self._values(letters_of(text), domain))[:MAX_EXPLANATION_CHARS]
        return "".join(char if " " <= char <= "~" else "?" for char in said)

    # --- questions ----------------------------------------------------------------------------------------------------

    async def _text(self, name: str) -> "tuple[str, ...] | _Nothing":
        self._check_time()
        return _told(await self._resolver.text(name), name)

    async def _mx(self, name: str) -> "tuple[MxRecord, ...] | _Nothing":
        self._check_time()
        return self._counted(_told(await self._resolver.mx(name), name))

    async def _addresses(self, name: str, *, ipv4: bool) -> "tuple[IpAddress, ...] | _Nothing":
        self._check_time()
        return _told(await self._resolver.addresses(name, ipv4=ipv4, ipv6=not ipv4), name)

    def _check_time(self) -> None:
        if self._clock.monotonic() >= self._over_at:
            raise _Stop(SpfVerdict.TEMPERROR, "DNS took too long")

    def _counted(self, answer: "_Found | _Nothing") -> "_Found | _Nothing":
        """RFC 7208 4.6.4: a question that came to nothing is counted."""
        if isinstance(answer, NoSuchName | NoRecords):
            self._void += 1
            if self._void > MAX_VOID:
                raise _permanent(f"more than {MAX_VOID} names that do not exist")
        return answer


def _told(answer: "_Found | _Nothing | CannotTell", name: str) -> "_Found | _Nothing":
    """RFC 7208 4.4, 5: a server that fails is no answer."""
    if isinstance(answer, CannotTell):
        raise _Stop(SpfVerdict.TEMPERROR, printable(f"{name[:_MAX_SHOWN_CHARS]}: {answer.reason}"))
    return answer


def _is_askable(name: str) -> bool:
    """Whether DNS can hold the name (RFC 1035 2.3.4)."""
    return name.isascii() and len(name) <= MAX_NAME_OCTETS and all(0 < len(label) < 64 for label in name.split("."))
