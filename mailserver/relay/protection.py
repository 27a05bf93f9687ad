"""Finds out how the way to each host of an attempt must be protected; `policy.transport` decides. Async over doors.

Nothing is asked for that cannot matter: TLSA records only below authentic names, policies only for mail that goes by
MX, and whether the message says `TLS-Required: No` (RFC 8689 3) only when something would be required.
"""

from dataclasses import dataclass
from pathlib import Path

from mailserver.mail.dns import CannotTell
from mailserver.mail.envelope import Envelope
from mailserver.mail.headers import first_value, header_end
from mailserver.mail.mta_sts import NoStsPolicy, StsAnswer
from mailserver.mail.route import MxRoute, Route
from mailserver.policy.transport import (
    DaneAnswer,
    DaneRecords,
    DaneUnknown,
    Known,
    NoDane,
    Requirement,
    Wish,
    requirement_for,
)
from mailserver.ports import ContentSource, HistoryStore, SignedResolver, StsPolicySource
from mailserver.relay.mx import MxPlan, parse_address

_OFF = NoDane('off (relay.dane = "off")')
_NO_POLICY = NoStsPolicy('off (relay.mta_sts = "off")')
_NO_DOMAIN = NoStsPolicy("not for address literals")


@dataclass(frozen=True, slots=True)
class ProtectionDoors:
    """What is asked. `signed` None: DANE is off; `policies` None: MTA-STS is off. `insists` as in `transport.Known`."""

    signed: SignedResolver | None = None
    policies: StsPolicySource | None = None
    history: HistoryStore | None = None
    insists: bool = False
    ca_file: Path | None = None
    port: int = 25


class Protection:
    """For one route and the plan of one attempt: each host's requirement, every question asked once."""

    def __init__(self, doors: ProtectionDoors, route: Route, plan: MxPlan) -> None:
        self._doors = doors
        self._route = route
        self._plan = plan
        self._sts: StsAnswer | None = None
        self._dane: dict[str, DaneAnswer] = {}

    async def of(self, host: str, name: str, wish: Wish) -> Requirement:
        """For a host of the plan; `name` is empty for an address without one."""
        if not isinstance(self._route, MxRoute):
            return requirement_for(self._route, name, Known(ca_file=self._doors.ca_file), wish)
        if wish is Wish.TLS_IS_OPTIONAL:
            return requirement_for(self._route, name, Known(), wish)
        if host not in self._dane:
            self._dane[host] = await self._find_dane(host)
        if self._sts is None:
            self._sts = await self._find_policy(self._route.domain)
        known = Known(
            self._dane[host],
            self._sts,
            None if self._doors.history is None else self._doors.history.tls(host),
            bool(name) and self._plan.is_authentic,
            self._doors.insists,
            self._doors.ca_file,
        )
        return requirement_for(self._route, name, known, wish)

    def found(self, host: str) -> tuple[DaneAnswer, StsAnswer]:
        """What was found out about a host that `of` was asked about."""
        return self._dane.get(host, _OFF), self._sts or _NO_POLICY

    async def _find_dane(self, host: str) -> DaneAnswer:
        """RFC 7672 2.2: only below what is authentic from the domain to the address."""
        if self._doors.signed is None:
            return _OFF
        if not self._plan.is_authentic:
            return NoDane("DNSSEC does not vouch for the mail hosts of the domain")
        names = self._plan.tlsa_names.get(host, ())
        if not names:
            return NoDane("DNSSEC does not vouch for the addresses of the host")
        for base in names:
            answer = await self._doors.signed.tlsa(f"_{self._doors.port}._tcp.{base}")
            if isinstance(answer, CannotTell):
                return DaneUnknown(answer.reason)
            if isinstance(answer, tuple):
                return DaneRecords(answer, base)
        return NoDane("the host has no TLSA records")

    async def _find_policy(self, domain: str) -> StsAnswer:
        if self._doors.policies is None:
            return _NO_POLICY
        return _NO_DOMAIN if domain.startswith("[") else await self._doors.policies.policy(domain)


def wish_of(envelope: Envelope) -> Wish:
    """What the envelope says; the header counts only where it says nothing (RFC 8689 4.1)."""
    return Wish.REQUIRE_TLS if envelope.require_tls else Wish.USUAL


async def says_tls_is_optional(content: ContentSource) -> bool:
    """Whether the header has `TLS-Required: No` (RFC 8689 3, 4.2.2). What cannot be read says nothing."""
    try:
        first = await anext(content.pieces())
    except (OSError, StopAsyncIteration):
        return False
    return first_value(first[: header_end(first)], b"tls-required").strip().lower() == b"no"


def because(required: Requirement, reason: str) -> str:
    """A reason with what was asked for, where that is more than usual."""
    if not required.is_more_than_usual or not required.reasons:
        return reason
    return f"{reason} (TLS is required, {required.reasons[-1]})"


async def requirements(doors: ProtectionDoors, route: Route, plan: MxPlan) -> tuple[tuple[str, Requirement], ...]:
    """For each host of a plan, in order, what a usual message would be held to. For people; dials nobody."""
    protection = Protection(doors, route, plan)
    hosts = dict.fromkeys(target.host for target in plan.targets)
    return tuple([(host, await protection.of(host, host_name(host), Wish.USUAL)) for host in hosts])


def host_name(host: str) -> str:
    """The name of a plan's host; empty for an address without one."""
    return "" if parse_address(host) or host.startswith("[") else host
