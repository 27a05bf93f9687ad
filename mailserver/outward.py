"""The way out, plugged together: where mail for other servers goes, under which protection, and by which rules.

Made once for each running server, by `assembly`. Nothing here is started.
"""

from collections.abc import Iterator
from random import SystemRandom
from typing import Any

from mailserver.config import Config, Dane, Listener, MtaSts, RememberedTls
from mailserver.mail.dns import IpAddress
from mailserver.maillog import Sink
from mailserver.net.dialer import TcpDialer
from mailserver.net.listener_text import check_listener
from mailserver.net.policy_host import PolicyHosts
from mailserver.net.resolver import CachingResolver
from mailserver.policy.holding import HoldRule, Pattern
from mailserver.ports import Blocking, Clock, Conversation, NextHop, Stream
from mailserver.relay.attempt import AttemptLimits, MxTransmitter, Outward
from mailserver.relay.bounce import Reporter
from mailserver.relay.doors import RelaySettings
from mailserver.relay.mta_sts import StsPolicies
from mailserver.relay.mx import MxRules, is_allowed, own_addresses
from mailserver.relay.peer_history import PeerHistory
from mailserver.relay.protection import ProtectionDoors
from mailserver.relay.schedule import Schedule
from mailserver.relay.tls_results import TellTls
from mailserver.session.client_channel import Timeouts
from mailserver.session.smtp_client import SmtpClientSession
from mailserver.store.files import Files
from mailserver.store.sts_policies import StsPolicyFile


def sts_policies(
    config: Config,
    reactor: Any,
    resolver: CachingResolver,
    files: Files,
    *,
    blocking: Blocking,
    clock: Clock,
    log: Sink,
) -> StsPolicies:
    """MTA-STS: the policies of other domains."""
    relay = config.relay
    allowed = MxRules(allow_private=relay.allow_private)
    hosts = PolicyHosts(
        reactor,
        resolver,
        lambda address: is_allowed(address, allowed),
        port=relay.mta_sts_port,
        ca_file=relay.ca_file,
    )
    file = StsPolicyFile(config.storage.state, files)
    return StsPolicies(resolver, hosts.fetch, file, blocking=blocking, clock=clock, sink=log)


def transmitter(
    config: Config,
    reactor: Any,
    resolver: CachingResolver,
    policies: StsPolicies,
    history: PeerHistory,
    *,
    blocking: Blocking,
    clock: Clock,
    log: Sink,
    tell_tls: TellTls | None = None,
) -> MxTransmitter:
    """Who sends to other servers. `tell_tls` counts for reports (RFC 8460)."""
    relay = config.relay
    rules = MxRules(
        own_names=frozenset({config.hostname}),
        own_addresses=own_addresses(_listening(config), port=relay.port, allow_private=relay.allow_private),
        allow_private=relay.allow_private,
        family=relay.address_family,
    )
    timeouts = Timeouts.within(relay.command_timeout)

    def converse(stream: Stream, next_hop: NextHop) -> Conversation:
        return SmtpClientSession(stream, next_hop, clock=clock, timeouts=timeouts)

    return MxTransmitter(
        Outward(relay.helo, relay.port, rules, AttemptLimits(connect_s=relay.connect_timeout)),
        resolver=resolver,
        dialer=TcpDialer(reactor, source_address=relay.source_address, source_address6=relay.source_address6),
        converse=converse,
        blocking=blocking,
        clock=clock,
        rng=SystemRandom(),
        sink=log,
        history=history,
        protection=ProtectionDoors(
            signed=resolver if relay.dane is Dane.AUTO else None,
            policies=policies if relay.mta_sts is MtaSts.ON else None,
            history=history,
            insists=relay.remembered_tls is RememberedTls.REQUIRE,
            ca_file=relay.ca_file,
            port=relay.port,
        ),
        tell_tls=tell_tls,
    )


def relay_settings(config: Config, reporter: Reporter) -> RelaySettings:
    """By which rules the queue works."""
    relay = config.relay
    times = {domain: relay.times_for(domain) for domain in relay.schedule}
    return RelaySettings(
        Schedule(relay.retry, relay.expire_after, relay.delay_notice_after),
        reporter,
        relay.max_per_destination,
        hold_rules=tuple(_hold_rules(config)),
        keeps_transcripts=relay.transcripts,
        schedules={
            domain: Schedule(one.retry, one.expire_after, one.delay_notice_after) for domain, one in times.items()
        },
    )


def _hold_rules(config: Config) -> Iterator[HoldRule]:
    def pattern(text: str) -> Pattern | None:
        return Pattern(text) if text else None

    for index, table in enumerate(config.hold):
        patterns = (pattern(table.sender), pattern(table.recipient), pattern(table.login))
        yield HoldRule(f"hold[{index}]", *patterns, table.reason)


def _listening(config: Config) -> list[tuple[IpAddress, int]]:
    """Where the configuration listens for other servers by address; who listens everywhere is not in it."""
    listeners = [check_listener(text) for text in config.listen.smtp]
    return [
        (one.address, one.port)
        for one in listeners
        if isinstance(one, Listener) and one.address is not None and one.port is not None
    ]
