"""The doors plugged together: who is given what. Nothing here decides anything, and nothing is started.

Made in `MailServer.startService`: after twistd's fork and as the final user, because file names hold the process id and
threads do not survive a fork.
"""

import resource
from random import Random
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.acme_plug import acme_parts
from mailserver.config import Check, Config, DmarcQuarantine, SpfFail
from mailserver.destinations import Destinations
from mailserver.dkim_keeper import DkimKeeper
from mailserver.doctor.plug import doctor_commands, doctor_services
from mailserver.foundation import Foundation
from mailserver.frontdesk import FrontDesk, login_guesses
from mailserver.junk_keeper import junk_folders, make_weigher
from mailserver.login_plug import login_parts
from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Notify, Recipient
from mailserver.mail.ids import QueueId, QueueIds
from mailserver.mail.reply import Reply
from mailserver.maillog import Sink
from mailserver.net.challenges import Challenges
from mailserver.net.committer import GroupCommitter, QueuedMailboxWriter
from mailserver.net.control import ControlServer, queue_commands, relay_commands, suppression_commands
from mailserver.net.journal import JournalFeed, journal_commands
from mailserver.net.lulls import AtLull, at_once
from mailserver.net.resolver import CachingResolver
from mailserver.net.services import Poll, Starter
from mailserver.outward import relay_settings, sts_policies, transmitter
from mailserver.pickup import Pickup
from mailserver.ports import Acceptance, Blocking, Clock, Report
from mailserver.postmaster_notes import PostmasterNotes
from mailserver.relay.account_caps import AccountCaps
from mailserver.relay.bounce import Reporter, Subject, make_report
from mailserver.relay.doors import RelayDoors
from mailserver.relay.dsn_fields import Action, RecipientReport
from mailserver.relay.peer_history import PeerHistory
from mailserver.relay.runner import RelayRunner
from mailserver.relay.suppression import Suppressor
from mailserver.reporting.plug import Reports
from mailserver.session.authentication import Authentication, SpfSettings
from mailserver.session.dmarc_check import DmarcSettings
from mailserver.session.local_submission import LocalSubmission
from mailserver.session.pop3_server import Pop3Doors
from mailserver.session.signing import Signer
from mailserver.session.smtp_profile import SmtpDoors, SmtpSettings
from mailserver.store.caps_usage import CapsFile
from mailserver.store.commit import CommitWriter
from mailserver.store.dkim_keys import DkimKeyFolder
from mailserver.store.drop import DropFolder
from mailserver.store.files import Files
from mailserver.store.login_secret import login_secret
from mailserver.store.maildir import Maildirs, sweep
from mailserver.store.maildir_names import host_part
from mailserver.store.maildrops import MaildirMaildrops
from mailserver.store.spool import Spool
from mailserver.store.spool_format import SpoolPaths
from mailserver.store.suppression import SuppressionFile, SuppressionList
from mailserver.store.tls_history import TlsHistoryFile

# What the queue may take of the time in which the process has to stop.
QUEUE_STOP_S = 5.0
# Mail left with the sendmail command is picked up within a second.
DROP_POLL_S = 0.5
# Keys made or retired with the command line.
DKIM_POLL_S = 2.0
# Policies of other domains whose time is half over are fetched anew.
STS_POLL_S = 3600.0

_log = Logger(namespace="mailserver")


class Assembly:
    """Everything of one running server but its listeners."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        clock: Clock,
        blocking: Blocking,
        foundation: Foundation,
        log: Sink,
        journal: JournalFeed | None = None,
        at_lull: AtLull = at_once,
    ) -> None:
        self._config = config
        self._reactor = reactor
        self._clock = clock
        self._log = log
        self._at_lull = at_lull
        self._host = host_part(config.hostname)
        self.blocking = blocking
        self.directory = foundation.accounts
        self.tls = foundation.tls
        self.new_queue_id = QueueIds(clock.now)
        files = Files()
        self._maildirs = Maildirs(files, config.storage.maildirs, self._host, clock.now, started_at=clock.now())
        self.reports = Reports(config, reactor, blocking=blocking, clock=clock, log=log)
        self._log = log = self.reports.noticing(foundation.accounts, self._maildirs.folder)
        self._files = files
        self.spool = Spool(SpoolPaths(config.storage.state), files)
        self.upgrades, self.last_uses, self.credentials = login_parts(
            config, foundation.accounts, files, blocking=blocking, clock=clock, log=log
        )
        self.maildrops = MaildirMaildrops(blocking, files, self._maildirs.folder, log)
        self.find_destination = Destinations(config, foundation.accounts, foundation.smarthost)
        # The role and not the person behind it: who is the postmaster would else get bounces "from himself".
        self.reporter = Reporter(config.hostname, Mailbox("postmaster", config.domains[0]), self._signed)
        self.history = PeerHistory(TlsHistoryFile(config.storage.state, files), blocking, clock, log)
        self.resolver = CachingResolver(reactor, clock, config.dns.servers)
        self.policies = sts_policies(config, reactor, self.resolver, files, blocking=blocking, clock=clock, log=log)
        self.transmitter = transmitter(
            config,
            reactor,
            self.resolver,
            self.policies,
            self.history,
            blocking=blocking,
            clock=clock,
            log=log,
            tell_tls=self.reports.tell_tls,
        )
        self.dkim_keeper = self._dkim_keeper()
        self._signer = Signer(self.dkim_keeper.keys_of, blocking, clock)
        self.suppression = self._suppressor()
        self._junk_folders = junk_folders(config, foundation.accounts)
        self.caps = self._caps()
        self.runner = self._runner()
        self.committer = self._committer(reactor)
        self.challenges = Challenges()
        self.notes = PostmasterNotes(self.reporter, self.committer, self.new_queue_id, clock, log)
        acme_commands, self._acme_services = acme_parts(
            config,
            reactor,
            self.tls,
            self.challenges,
            self.notes,
            self.resolver,
            blocking=blocking,
            clock=clock,
            log=log,
        )
        commands = {
            **queue_commands(self.runner, log),
            **suppression_commands(self.suppression),
            **relay_commands(self.transmitter),
            **journal_commands(journal),
            **acme_commands,
            **doctor_commands(self.tls),
        }
        self.control = ControlServer(reactor, config.storage.state, commands)
        self._guesses = login_guesses(config)
        self._smtp = self._smtp_doors(reactor)
        self.front_desk = self._front_desk(reactor)
        self.pickup = self._pickup()

    def _dkim_keeper(self) -> DkimKeeper:
        return DkimKeeper(
            DkimKeyFolder(self._config.storage.state),
            self.resolver,
            blocking=self.blocking,
            clock=self._clock,
            log=self._log,
            queue_life_s=self._config.relay.longest_life,
        )

    def _suppressor(self) -> Suppressor:
        relay = self._config.relay
        return Suppressor(
            SuppressionFile(self._config.storage.state, self._files),
            SuppressionList(relay.suppress_after, relay.suppress_for),
            self.blocking,
            self._clock,
            self._log,
        )

    def _caps(self) -> AccountCaps:
        return AccountCaps(
            self._config.caps,
            CapsFile(self._config.storage.state, self._files),
            self.find_destination,
            lambda *told: self.notes.send(*told),  # made later: they go through the committer, and that to the queue
            blocking=self.blocking,
            clock=self._clock,
            sink=self._log,
        )

    def _committer(self, reactor: Any) -> GroupCommitter:
        storage = self._config.storage
        return GroupCommitter(
            CommitWriter(self._files, self._maildirs, self.spool.paths),
            self.runner.added,
            self.blocking,
            self._clock,
            reactor.callFromThread,
            (storage.maildirs, storage.state),
            storage.min_free,
            self._at_lull,
        )

    def _smtp_doors(self, reactor: Any) -> SmtpDoors:
        weigher = make_weigher(
            self._config,
            reactor,
            self._junk_folders,
            resolver=self.resolver,
            blocking=self.blocking,
            clock=self._clock,
            log=self._log,
        )
        return SmtpDoors(
            directory=self.directory,
            credentials=self.credentials,
            committer=self.committer,
            clock=self._clock,
            new_queue_id=self.new_queue_id,
            log=self._log,
            guesses=self._guesses,
            make_success_report=self._success_report,
            signer=self._signer,
            authentication=self._authentication(),
            weigher=weigher,
        )

    def _authentication(self) -> Authentication | None:
        wanted = self._config.authentication
        if wanted.dkim is Check.OFF and wanted.spf is Check.OFF:
            return None
        spf = SpfSettings(wanted.spf_fail is SpfFail.REFUSE, wanted.received_spf, wanted.spf_timeout)
        return Authentication(
            self._config.hostname,
            self.resolver,
            self.blocking,
            self._clock,
            checks_dkim=wanted.dkim is Check.CHECK,
            spf=spf if wanted.spf is Check.CHECK else None,
            dmarc=DmarcSettings(
                wanted.dmarc,
                wanted.dmarc_overrides,
                wanted.dmarc_quarantine is DmarcQuarantine.REFUSE,
                is_counted=self.reports.count_dmarc is not None,
            ),
            checks_loopback=wanted.check_loopback,
            count_dmarc=self.reports.count_dmarc,
        )

    def _front_desk(self, reactor: Any) -> FrontDesk:
        pop3 = Pop3Doors(
            credentials=self.credentials,
            maildrops=self.maildrops,
            clock=self._clock,
            guesses=self._guesses,
            log=self._log,
        )
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return FrontDesk(
            self._config, reactor, self._clock, self.tls, self._smtp, pop3, self._log, descriptors=descriptors
        )

    def _signed(self, content: bytes) -> bytes:
        """A report of ours with its signatures."""
        return self._signer.signed(content)

    def _success_report(
        self, acceptance: Acceptance, recipients: tuple[Recipient, ...], section: bytes
    ) -> Report | None:
        """`MakeSuccessReport`: their copies are filed with the same 250 as this report (RFC 3461 4.1)."""
        if acceptance.envelope.reverse_path is None:
            return None
        subject = Subject(acceptance.queue_id, acceptance.envelope, acceptance.received_at, section, is_whole=False)
        reports = tuple(
            RecipientReport(one, Action.DELIVERED, "2.1.5", last_attempt=acceptance.received_at) for one in recipients
        )
        return make_report(self.reporter, self.new_queue_id(), subject, reports, acceptance.received_at)

    def _pickup(self) -> Pickup:
        config = self._config
        settings = SmtpSettings(hostname=config.hostname, max_message_octets=config.smtp.max_message_size)
        return Pickup(
            DropFolder(config.sendmail.drop, max_octets=config.smtp.max_message_size),
            LocalSubmission(settings, self._smtp, self._refusal_report),
            config.domains[0],
            blocking=self.blocking,
            clock=self._clock,
            log=self._log,
        )

    def _refusal_report(
        self, report_id: QueueId, queue_id: QueueId, envelope: Envelope, now: float, reply: Reply, content: bytes
    ) -> Report | None:
        """`MakeRefusalReport`: nobody refuses to the face of who called `sendmail`."""
        asking = tuple(recipient for recipient in envelope.recipients if recipient.wants(Notify.FAILURE))
        if envelope.reverse_path is None or not asking:
            return None
        subject = Subject(queue_id, envelope, now, content, is_whole=False)
        reports = tuple(
            RecipientReport(one, Action.FAILED, reply.enhanced, " ".join(reply.lines), last_attempt=now)
            for one in asking
        )
        return make_report(self.reporter, report_id, subject, reports, now)

    def _runner(self) -> RelayRunner:
        doors = RelayDoors(
            clock=self._clock,
            blocking=self.blocking,
            spool=self.spool,
            transmitter=self.transmitter,
            mailboxes=QueuedMailboxWriter(self._files, self._maildirs, self.blocking),
            find_destination=self.find_destination,
            new_queue_id=self.new_queue_id,
            # Only spreads attempts over time, and asks the kernel for nothing at each.
            random=Random(),
            sink=self._log,
            tell_failure=_tell_failure,
            suppression=self.suppression,
            caps=self.caps,
            junk_folder=self._junk_folders,
        )
        return RelayRunner(doors, relay_settings(self._config, self.reporter))

    # --- start and stop -----------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Clean up what a crash left half-done (blocking): list and clean `tmp`, nothing more."""
        self._files.make_folders(str(self._config.storage.maildirs))
        self.spool.prepare()
        self.credentials.use_secret(login_secret(self._config.storage.state, self._files))
        self.last_uses.load()
        self.suppression.load()
        self.dkim_keeper.load()
        self.history.load()
        self.caps.load()
        self.policies.load()
        sweep(self._config.storage.maildirs, self._host, self._clock.now())

    def services(self) -> list[IService]:
        """What has to be started and stopped, in the order of starting."""
        return [
            Starter("committer", self.committer.start, self.committer.stop),
            Starter("history of peers", None, self.history.stop),
            Starter("caps", None, self.caps.stop),
            Starter("logins", None, self.upgrades.stop),
            Starter("last uses", None, self.last_uses.stop),
            Starter("MTA-STS policies", None, self.policies.stop),
            Starter("transmitter", None, self.transmitter.close),
            Starter("suppression list", None, self.suppression.stop),
            Starter("queue", self._start_queue, lambda: self.runner.stop(QUEUE_STOP_S)),
            Starter("control", self.control.start, self.control.stop),
            Starter("pickup", None, self.pickup.stop),
            Poll("drop", self._clock, DROP_POLL_S, self.pickup.look),
            Poll("MTA-STS refresh", self._clock, STS_POLL_S, self.policies.look),
            Poll("DKIM keys", self._clock, DKIM_POLL_S, self.dkim_keeper.look),
            *self._acme_services,
            *self._doctor_services(),
            *self.reports.services(self.resolver, self.committer, self.reporter, self.new_queue_id),
        ]

    def _doctor_services(self) -> list[IService]:
        return doctor_services(
            self._config,
            self._reactor,
            self.tls,
            self.directory,
            self.notes.send,
            blocking=self.blocking,
            clock=self._clock,
            log=self._log,
        )

    def _start_queue(self) -> None:
        self.runner.start()
        loading = Deferred.fromCoroutine(self.runner.load())
        loading.addErrback(lambda failure: _log.failure("reading the queue broke", failure=failure))


def _tell_failure(what: str, error: BaseException) -> None:
    _log.failure("{what} broke", failure=Failure(error), what=what)
