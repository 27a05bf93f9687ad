"""The real doors of the checks, for the running server and for the command line."""

from collections.abc import Iterable
from typing import Any

from mailserver.config import Config
from mailserver.doctor.case import Case, CaseDoors
from mailserver.doctor.server import ServerFacts
from mailserver.net.authority import AuthoritativeResolver
from mailserver.net.dialer import TcpDialer
from mailserver.net.policy_host import PolicyHosts
from mailserver.net.resolver import CachingResolver
from mailserver.ports import Blocking, Clock
from mailserver.relay.mx import MxRules, is_allowed
from mailserver.store.account_tables import AccountTables
from mailserver.survey.fresh import FreshResolver
from mailserver.survey.system import name_servers, survey_doors


def make_case(
    config: Config,
    reactor: Any,  # IReactorTCP, IReactorUDP and IReactorTime in one
    *,
    blocking: Blocking,
    clock: Clock,
    server: ServerFacts | None,
    tables: AccountTables | str,
    tries_port25: bool = False,
    only: Iterable[str] = (),
) -> Case:
    """A look at this machine and the world as they are now; DNS is asked anew."""
    relay = config.relay
    resolver = CachingResolver(reactor, clock, config.dns.servers)
    authority = AuthoritativeResolver(resolver, lambda those: CachingResolver(reactor, clock, those))
    allowed = MxRules(allow_private=relay.allow_private or bool(config.doctor.addresses))
    hosts = PolicyHosts(
        reactor, resolver, lambda address: is_allowed(address, allowed), port=relay.mta_sts_port, ca_file=relay.ca_file
    )
    dialer = TcpDialer(reactor, source_address=relay.source_address, source_address6=relay.source_address6)
    fresh = FreshResolver(resolver, authority, (config.hostname, relay.helo), clock)
    doors = survey_doors(reactor, clock=clock, blocking=blocking, resolver=fresh, dialer=dialer)
    return Case(
        config,
        CaseDoors(doors, resolver, resolver, TcpDialer(reactor), hosts.fetch, authority),
        server,
        tables,
        clock.now(),
        name_servers(config.dns.servers),
        tries_port25,
        frozenset(only),
    )
