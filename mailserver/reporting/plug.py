"""How reports take part in the running server: what is told of filed mail, of DMARC and of TLS, and what runs daily."""

from collections.abc import Callable
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService

from mailserver.config import Config
from mailserver.mail.address import Mailbox
from mailserver.mail.ids import QueueId
from mailserver.maillog import Sink
from mailserver.net.logsink import FanOut
from mailserver.net.services import Poll, Starter
from mailserver.ports import Blocking, Clock, Committer, Directory, Resolver
from mailserver.relay.bounce import Reporter
from mailserver.relay.tls_results import TellTls
from mailserver.session.authentication import CountDmarc

if TYPE_CHECKING:
    from mailserver.reporting.sending import ReportSender

# How often is looked for what is due.
LOOK_S = 300.0

Folder = Callable[[Mailbox, str], str]


class Reports:
    """Everything about reports of one server. What is switched off costs nothing, and its modules are not imported."""

    def __init__(self, config: Config, reactor: Any, *, blocking: Blocking, clock: Clock, log: Sink) -> None:
        self._config = config
        self._reactor = reactor
        self._blocking = blocking
        self._clock = clock
        self._log = log
        self.count_dmarc: CountDmarc | None = None
        self.tell_tls: TellTls | None = None
        self._services: list[IService] = []
        self._sender: ReportSender | None = None
        wanted = config.reports
        if not (wanted.read or wanted.send_dmarc or wanted.send_tlsrpt):
            return
        from mailserver.store.reports import ReportStore
        from mailserver.store.reports_format import reports_path

        self._store = ReportStore(reports_path(config.storage.state), max_octets=wanted.max_size)
        if wanted.send_dmarc or wanted.send_tlsrpt:
            self._begin_counting()

    def noticing(self, directory: Directory, folder: Folder) -> Sink:
        """The log, and with it who notices reports that were filed."""
        config = self._config
        if not config.reports.read:
            return self._log
        from mailserver.reporting.intake import ReportIntake

        intake = ReportIntake(
            self._store,
            config.hostname,
            config.domains,
            config.reports.addresses(config.domains),
            directory=directory,
            folder=folder,
            blocking=self._blocking,
            clock=self._clock,
            log=self._log,
        )
        return FanOut(self._log, intake.notice)

    def _begin_counting(self) -> None:
        from mailserver.reporting.counting import FLUSH_S, Counts

        counts = Counts(self._store, blocking=self._blocking, clock=self._clock, log=self._log)
        if self._config.reports.send_dmarc:
            self.count_dmarc = counts.dmarc
        if self._config.reports.send_tlsrpt:
            self.tell_tls = counts.tls
        self._services += [
            Starter("counts for reports", None, counts.flush),
            Poll("counts for reports, written", self._clock, FLUSH_S, counts.flush),
        ]

    def services(
        self,
        resolver: Resolver,
        committer: Committer,
        reporter: Reporter,
        new_queue_id: Callable[[], QueueId],
    ) -> list[IService]:
        """What runs by itself: the counts are written each minute, and reports made once a day."""
        wanted = self._config.reports
        if not (wanted.read or wanted.send_dmarc or wanted.send_tlsrpt):
            return []

        async def look() -> None:
            if self._sender is None:
                self._sender = self._make_sender(resolver, committer, reporter, new_queue_id)
            await self._sender.look()

        return [*self._services, Poll("reports", self._clock, LOOK_S, look)]

    def _make_sender(
        self,
        resolver: Resolver,
        committer: Committer,
        reporter: Reporter,
        new_queue_id: Callable[[], QueueId],
    ) -> "ReportSender":
        """Not at the start of the server, which has better to do."""
        from mailserver.policy.reports.counted import DMARC, TLS
        from mailserver.policy.reports.letters import Letterhead
        from mailserver.relay.mx import MxRules, is_allowed
        from mailserver.reporting.sending import Kept, ReportSender

        wanted, relay = self._config.reports, self._config.relay
        allowed = MxRules(allow_private=relay.allow_private)

        async def post(url: str, packed: bytes) -> None:
            from mailserver.net.report_post import ReportPost

            poster = ReportPost(self._reactor, resolver, lambda one: is_allowed(one, allowed), ca_file=relay.ca_file)
            await poster.post(url, packed)

        return ReportSender(
            self._store,
            Letterhead(reporter.hostname, reporter.sender),
            ((DMARC,) if wanted.send_dmarc else ()) + ((TLS,) if wanted.send_tlsrpt else ()),
            Kept(wanted.keep, wanted.max_size),
            sign=reporter.sign,
            post=post,
            committer=committer,
            new_queue_id=new_queue_id,
            resolver=resolver,
            blocking=self._blocking,
            clock=self._clock,
            rng=SystemRandom(),
            log=self._log,
        )
