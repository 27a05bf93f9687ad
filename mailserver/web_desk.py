"""The web listeners: which pages this server shows, from its configuration and what runs in it.

Imported only when there is such a listener: the pages and `twisted.web` cost a start without them nothing.
"""

import resource
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from mailserver.config import Config, Listener
from mailserver.config.own_mta_sts import own_policy
from mailserver.mail.certificate import covers
from mailserver.maillog import Sink
from mailserver.net.admission import GuestList
from mailserver.net.challenges import Challenges
from mailserver.net.listener_text import check_listener
from mailserver.net.listeners import BoundListener
from mailserver.net.tls import ServerTls
from mailserver.net.web_connection import WebFactory
from mailserver.policy.limits import ConnectionLimits
from mailserver.policy.own_mta_sts import policy_text
from mailserver.ports import Clock
from mailserver.relay.runner import RelayRunner
from mailserver.web.autoconfig import settings_of
from mailserver.web.pages import Pages
from mailserver.web.status import Status

SERVICES = ("http", "https")
# Each is answered and gone in a moment; and mail comes first where descriptors are few.
_MAX_CONNECTIONS = 200
_SHARE_OF_DESCRIPTORS = 20
_MAX_OF_CLIENT = 16


class WebDesk:
    """Makes the factory of every web listener; they share their limits."""

    services = SERVICES

    def __init__(
        self,
        config: Config,
        reactor: Any,
        clock: Clock,
        tls: ServerTls,
        log: Sink,
        *,
        listening: Sequence[BoundListener],
        challenges: Challenges,
        runner: RelayRunner,
        mail_guests: Sequence[tuple[str, GuestList]],
        run_short: Callable[[str], None],
    ) -> None:
        """`listening`: every listener, for the settings of mail programs; `mail_guests`: who is connected elsewhere.

        `run_short` is told when there is no descriptor for one more connection.
        """
        self._config = config
        self._reactor = reactor
        self._clock = clock
        self._tls = tls
        self._log = log
        self._runner = runner
        self._mail_guests = tuple(mail_guests)
        self._run_short = run_short
        self._began = clock.monotonic()
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = max(_MAX_OF_CLIENT, min(_MAX_CONNECTIONS, descriptors // _SHARE_OF_DESCRIPTORS))
        self.guests = GuestList(ConnectionLimits(max_connections=most, max_per_client=_MAX_OF_CLIENT), b"")
        policy = own_policy(config)
        self._pages = Pages(
            config.hostname,
            config.domains,
            settings=settings_of(config.hostname, [(bound.service, bound.port) for bound in listening]),
            challenge=challenges.answer,
            policy=None if policy is None else policy_text(policy),
            status=self._status if config.web.status else None,
        )

    def warnings(self) -> tuple[str, ...]:
        """What others will not believe of the certificate in force; the one of our own making is told of elsewhere."""
        facts = self._tls.facts
        if own_policy(self._config) is None or not self._config.listen.https or facts.is_self_signed:
            return ()
        wanted = [f"mta-sts.{domain}" for domain in self._config.domains]
        missing = [host for host in wanted if not any(covers(name, host) for name in facts.names)]
        if not missing:
            return ()
        return (f"the certificate is not for {', '.join(missing)}, so nobody takes the MTA-STS policy from there",)

    def factory(self, bound: BoundListener) -> IProtocolFactory:
        """What serves this listener, TLS included."""
        listener = check_listener(bound.text)
        is_tls = bound.service == "https"
        factory = WebFactory(
            bound.service,
            self._pages.answer,
            self.guests,
            self._clock,
            self._log,
            is_tls=is_tls,
            is_proxied=isinstance(listener, Listener) and listener.is_proxied,
        )
        bound.shortage.tell = self._run_short
        return self._tls.wrap(factory, self._reactor) if is_tls else factory

    def _status(self) -> Status:
        connections = (*self._mail_guests, ("web", self.guests))
        return Status(
            hostname=self._config.hostname,
            uptime_s=self._clock.monotonic() - self._began,
            queued=len(self._runner),
            oldest_s=self._runner.oldest_age_s(),
            connections=tuple((name, len(guests)) for name, guests in connections),
            certificate_names=self._tls.facts.names,
            certificate_left_s=self._tls.facts.not_after - self._clock.now(),
        )
