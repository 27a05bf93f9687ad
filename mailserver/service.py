"""The running server as a tree of services: what starts when, and what stops when.

    MailServer            started in this order, stopped in reverse, one after the other
      hangup              SIGHUP: accounts, aliases and certificates are read again
      lulls               work for threads, and the lines of the log, begin when the reactor is about to wait
      log                 lines that a flood would have made are counted; the count is written at the stop
      state lock          one server for each state folder
      lanes               threads for blocking work
      journal             the history behind `mailserver why`, with a thread of its own
      recovery            what a crash left half-done is cleaned up; nothing is accepted before
      committer           the way to disk for everything accepted
      history of peers    what protected the last conversation with each host; written at the stop
      caps                what accounts have sent lately; written at the stop
      logins              better hashes and SCRAM keys of who logged in; written at the stop
      last uses           when app passwords were used; written at the stop
      MTA-STS policies    those of other domains; written at the stop
      transmitter         connections to next hops that are kept for another message
      suppression list    recipients that do not exist; what was counted is written at the stop
      queue               what could not be delivered yet; it is read in slices while mail flows already
      control             the command line's way to the queue
      pickup              what a message left with the sendmail command becomes
      drop                the folder where these are left, looked at each half second
      MTA-STS refresh     policies whose time is half over are fetched anew, looked at each hour
      doctor              the daily look at what can rot (docs/doctor.md)
      accounts            looked at each second
      farewell            at the stop, 421 to those who are connected
      listeners           connections are accepted from here on

The doors are plugged together in `assembly`. Everything that may fail by the operator's mistake was done before, in
`foundation`; what fails here is a fault of ours or of the machine, and has a traceback.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogPublisher

from mailserver.assembly import Assembly
from mailserver.config import Config
from mailserver.foundation import Foundation
from mailserver.maillog import Reloaded, ReloadRefused, Sink, Started, Stopping
from mailserver.net.blocking import BlockingLanes
from mailserver.net.clock import ReactorClock
from mailserver.net.journal import JournalFeed
from mailserver.net.listeners import BoundListener, ListenerService
from mailserver.net.logfold import FoldingSink
from mailserver.net.logsink import FanOut, LogSink, shorten_the_way
from mailserver.net.lulls import Lulls
from mailserver.net.services import Farewell, HangupService, OrderedService, Poll, Starter
from mailserver.net.systemd import READY, STOPPING, notify
from mailserver.net.tls import CertificateTrouble
from mailserver.ports import Lane
from mailserver.store.account_tables import AccountsError
from mailserver.store.journal_format import journal_path
from mailserver.store.journal_writer import rules_of

if TYPE_CHECKING:
    from mailserver.web_desk import WebDesk

# SIGTERM to exit, at most (design section 5); whoever stops us waits not much longer. The parts have less.
STOP_LIMIT_S = 10.0
FAREWELL_S = 5.0
# `account passwd` counts within a second.
ACCOUNTS_POLL_S = 0.5

_log = Logger(namespace="mail")


def listeners_of(config: Config) -> Iterator[tuple[str, str]]:
    """Every `(service, listener string)` of the configuration, in the order in which they are shown."""
    for service in ("smtp", "submission", "submissions", "pop3", "pop3s", "http", "https"):
        for text in getattr(config.listen, service):
            yield service, text


def build_service(
    config: Config,
    reactor: Any,
    foundation: Foundation,
    listeners: Sequence[BoundListener],
    *,
    log: Sink | None = None,
    files_of_root: Callable[[], None] | None = None,
    takes_hangup: bool = True,
) -> "MailServer":
    """The whole server, not started. It holds the foundation's lock and the bound sockets from now on.

    `files_of_root` is called while the process may still be root. `takes_hangup` is for the main thread of a process.
    """
    return MailServer(config, reactor, foundation, listeners, log, files_of_root, takes_hangup)


class MailServer(OrderedService):
    """See the module. `assembly` is there from the start on."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        foundation: Foundation,
        listeners: Sequence[BoundListener],
        log: Sink | None,
        files_of_root: Callable[[], None] | None,
        takes_hangup: bool,
    ) -> None:
        super().__init__(ReactorClock(reactor), STOP_LIMIT_S)
        self.setName("mailserver")  # type: ignore[no-untyped-call]
        self.assembly: Assembly | None = None
        self._config = config
        self._reactor = reactor
        self._foundation = foundation
        self._bound = listeners
        self._lulls = Lulls(reactor)
        self._log = log or LogSink(at_lull=self._lulls.wait_last)
        self._files_of_root = files_of_root
        self._takes_hangup = takes_hangup

    def privilegedStartService(self) -> None:
        """Still as root, if root started us."""
        if self._files_of_root is not None:
            self._files_of_root()

    def startService(self) -> None:
        """Build and start everything; connections are accepted when this returns.

        The rooms are built only now, after twistd's fork and as the final user: file names hold the process id, and
        threads do not survive a fork.
        """
        shorten_the_way(globalLogPublisher)
        for text in (*self._config.warnings, *self._foundation.accounts.tables.remarks()):
            _log.warn("{text}", text=text)
        lanes = BlockingLanes(self._reactor, at_lull=self._lulls.wait)
        journal = self._journal()
        lines = FoldingSink(self._log, self._clock)
        log = lines if journal is None else FanOut(lines, journal)
        self.assembly = assembly = Assembly(
            self._config, self._reactor, self._clock, lanes, self._foundation, log, journal, self._lulls.wait
        )
        serving = MultiService()
        serving.setName("listeners")
        web = self._web_desk(assembly, log)
        for bound in self._bound:
            desk = web if web is not None and bound.service in web.services else assembly.front_desk
            ListenerService(bound, desk.factory(bound)).setServiceParent(serving)  # type: ignore[no-untyped-call]
        guest_lists = (*assembly.front_desk.guest_lists, *(() if web is None else (web.guests,)))
        children = [
            *([HangupService(self._reactor, self.reload)] if self._takes_hangup else []),
            Starter("lulls", None, self._lulls.stop),
            Starter("log", None, lines.flush),
            Starter("state lock", self._foundation.lock.tell, self._foundation.lock.release),
            Starter("lanes", None, lanes.close),
            *([] if journal is None else [Starter("journal", journal.start, journal.stop)]),
            Starter("recovery", assembly.recover),
            *assembly.services(),
            Poll("accounts", self._clock, ACCOUNTS_POLL_S, self._look_at_accounts),
            Farewell(guest_lists, self._clock, FAREWELL_S),
            serving,
        ]
        for child in children:
            child.setServiceParent(self)
        super().startService()  # type: ignore[no-untyped-call]
        for warning in self._foundation.tls.facts.warnings(self._config.hostname, self._clock.now()):
            _log.warn("[tls] {warning}", warning=warning)
        for warning in () if web is None else web.warnings():
            _log.warn("[mta_sts] {warning}", warning=warning)
        notify(READY)
        self._log(Started(self._config.hostname, tuple(listener.where for listener in serving)))
        self._lulls.start()

    def _web_desk(self, assembly: Assembly, log: Sink) -> "WebDesk | None":
        """What serves the web listeners; imported only when there are any."""
        if not (self._config.listen.http or self._config.listen.https):
            return None
        from mailserver.web_desk import WebDesk

        smtp, pop3 = assembly.front_desk.guest_lists
        return WebDesk(
            self._config,
            self._reactor,
            self._clock,
            assembly.tls,
            log,
            listening=self._bound,
            challenges=assembly.challenges,
            runner=assembly.runner,
            mail_guests=(("smtp", smtp), ("pop3", pop3)),
            run_short=assembly.front_desk.run_short,
        )

    def _journal(self) -> JournalFeed | None:
        settings = self._config.journal
        if not settings.enabled:
            return None
        path = journal_path(self._config.storage.state)
        return JournalFeed(path, rules_of(settings), self._clock, self._log, self._reactor.callFromThread)

    def stopService(self) -> "Deferred[None]":
        """Stop accepting, finish commits, 421 to the rest; at most `STOP_LIMIT_S`."""
        if not self.running:
            return Deferred.fromCoroutine(_nothing())
        notify(STOPPING)
        self._log(Stopping(sum(len(guests) for guests in self.assembly.front_desk.guest_lists) if self.assembly else 0))
        return super().stopService()

    # --- reload -------------------------------------------------------------------------------------------------------

    def reload(self) -> "Deferred[None]":
        """Read accounts, aliases and certificates again; what cannot be used leaves the old in force, and says so."""
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        read_accounts = partial(self._foundation.accounts.reload, must_tell=True)
        await self._reload_one("accounts", read_accounts, always_tell=True)
        await self._reload_one("certificate", self._foundation.tls.load, always_tell=True)

    async def _look_at_accounts(self) -> None:
        if self._foundation.accounts.has_changed():
            await self._reload_one("accounts", self._foundation.accounts.reload, always_tell=False)

    async def _reload_one(self, what: str, call: Callable[[], object], *, always_tell: bool) -> None:
        assert self.assembly is not None
        try:
            has_changed = await self.assembly.blocking.run(Lane.GENERAL, call)
        except (AccountsError, CertificateTrouble) as trouble:
            self._log(ReloadRefused(what, "; ".join(str(trouble).splitlines())))
            return
        if has_changed or always_tell:
            self._log(Reloaded(what))
        if what == "accounts" and has_changed:
            for text in self._foundation.accounts.tables.remarks():
                _log.warn("{text}", text=text)


async def _nothing() -> None:
    return None
