"""Looks around for setup: the survey of the machine and the world, and what lies on this disk."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailserver.config import Config
from mailserver.config.doctor import Doctor
from mailserver.foundation import running_server
from mailserver.setup.decide import usual_hostname
from mailserver.setup.listening import ALL
from mailserver.setup.values import Answers, Existing, Here, Layout
from mailserver.survey.values import Survey, Wishes

# Where Debian and others have the pages of their web servers.
_WEBROOTS = (Path("/var/www/html"), Path("/usr/share/nginx/html"), Path("/srv/www/htdocs"))


def here(layout: Layout, program: Path, *, is_offline: bool) -> Here:
    """What this disk says. Blocking."""
    from mailserver.survey.system import name_servers

    webroot = next((one for one in _WEBROOTS if one.is_dir()), None)
    return Here(running_server(layout.state), webroot, name_servers(()), is_offline, program)


def wishes(answers: Answers, existing: Existing, config: Config | None) -> Wishes:
    """What the survey is to find out; a configuration that is there says whom it may ask."""
    from mailserver.survey.lists import list_named
    from mailserver.survey.system import name_servers

    wanted = config.doctor if config else Doctor()
    own = existing.settings.get("hostname")
    return Wishes(
        hostname=answers.hostname or (own if isinstance(own, str) and own else usual_hostname(answers.domain)),
        addresses=answers.addresses or wanted.addresses,
        ask_url=wanted.address_url,
        ports=tuple(port + answers.port_offset for port in ALL.values()),
        lists=tuple(map(list_named, wanted.lists)),
        port25_domains=wanted.port25_domains,
        port25=config.relay.port if config else 25,
        name_servers=name_servers(config.dns.servers if config else ()),
        signed_name=wanted.signed_name,
        clock_url=wanted.clock_url,
    )


def survey_now(wanted: Wishes, config: Config | None) -> Survey:
    """Look. Some seconds, a minute at most. Runs the reactor, so once in a process."""
    from twisted.internet import task
    from twisted.internet.defer import Deferred

    from mailserver.net.blocking import BlockingLanes
    from mailserver.net.clock import ReactorClock
    from mailserver.net.dialer import TcpDialer
    from mailserver.net.resolver import CachingResolver
    from mailserver.survey.look import look
    from mailserver.survey.system import survey_doors

    found: list[Survey] = []

    async def run(reactor: Any) -> None:
        clock, lanes = ReactorClock(reactor), BlockingLanes(reactor)
        servers: Sequence[tuple[str, int]] = config.dns.servers if config else ()
        resolver = CachingResolver(reactor, clock, servers)
        dialer = TcpDialer(reactor)
        doors = survey_doors(reactor, clock=clock, blocking=lanes, resolver=resolver, dialer=dialer)
        found.append(await look(doors, wanted))
        await lanes.close()

    try:
        task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    return found[0]


def survey_offline(wanted: Wishes, config: Config | None) -> Survey:
    """What can be seen without asking anybody."""
    from mailserver.survey.look import behind_what, public_addresses
    from mailserver.survey.machine import LinuxMachine
    from mailserver.survey.values import Outward, PublicAddress, Time

    del config
    machine = LinuxMachine()
    own = machine.interface_addresses()
    sources = tuple(one for one in map(machine.source_address, (4, 6)) if one is not None)
    nobody = "nobody was asked"
    public = public_addresses(wanted.addresses, own, sources, (), None)
    return Survey(
        addresses=tuple(PublicAddress(one, one in own, reverse_trouble=nobody) for one in public),
        private=tuple(one for one in own if not one.is_global and not one.is_loopback and not one.is_link_local),
        behind=behind_what(own, sources),
        hostname_addresses=(),
        hostname_trouble=nobody,
        validating_resolver=None,
        outward=Outward(),
        taken=machine.taken_ports(wanted.ports),
        time=Time(None, nobody),
        is_told_outside=bool(wanted.addresses),
    )


def laid_out(layout: Layout, config: Config | None) -> Layout:
    """The layout with the places that a configuration has already."""
    if config is None:
        return layout
    return dataclasses.replace(
        layout,
        state=config.storage.state,
        maildirs=config.storage.maildirs,
        accounts=config.accounts.file,
        drop=config.sendmail.drop,
    )
