"""Asks DNS for the hosts of a route; `mx` makes the plan of the answers. Async over the resolver's doors."""

import random
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import TypeVar

from twisted.internet.defer import Deferred, gatherResults

from mailserver.mail.dns import AddressAnswer, NoRecords, SignedMx
from mailserver.mail.route import MxRoute, Route
from mailserver.ports import Resolver, SignedResolver
from mailserver.relay.mx import (
    MxPlan,
    MxRules,
    fixed_targets,
    hosts_for,
    literal_address,
    literal_plan,
    parse_address,
    plan,
)

T = TypeVar("T")


async def find_plan(
    route: Route, rules: MxRules, resolver: Resolver, signed: SignedResolver | None, rng: random.Random
) -> MxPlan:
    """Whom to dial, in order. With `signed` the plan also tells what DNSSEC vouches for (RFC 7672 2.2)."""
    if not isinstance(route, MxRoute):
        return MxPlan(fixed_targets(route.host, await _fixed_addresses(route.host, resolver), rules, rng))
    domain = route.domain
    if literal_address(domain) is not None:
        return literal_plan(domain, rules)
    mx = SignedMx(await resolver.mx(domain)) if signed is None else await signed.signed_mx(domain)
    hosts = hosts_for(domain, mx.answer, rng, rules.max_hosts)
    if not isinstance(hosts, tuple):
        return MxPlan(verdict=hosts)
    names = [host.name for host in hosts]
    if signed is None or not mx.is_authentic:
        answers = await _together(map(resolver.addresses, names))
        return plan(domain, hosts, dict(zip(names, answers, strict=True)), rules, rng)
    found = dict(zip(names, await _together(map(signed.signed_addresses, names)), strict=True))
    made = plan(domain, hosts, {name: one.answer for name, one in found.items()}, rules, rng)
    tlsa_names = {name: one.tlsa_names for name, one in found.items() if one.tlsa_names}
    return replace(made, is_authentic=True, tlsa_names=tlsa_names)


async def _fixed_addresses(host: str, resolver: Resolver) -> AddressAnswer:
    """A fixed host may be an address, or a name without a dot that only the system knows."""
    address = parse_address(host)
    if address is not None:
        return (address,)
    return await resolver.addresses(host) if "." in host else NoRecords()


async def _together(questions: Iterable[Awaitable[T]]) -> list[T]:
    """All answers, asked at the same time."""

    async def ask(question: Awaitable[T]) -> T:
        return await question

    return list(await gatherResults([Deferred.fromCoroutine(ask(question)) for question in questions]))
