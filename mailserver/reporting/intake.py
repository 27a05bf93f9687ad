"""Reports that come in by mail: noticed when they are filed, read behind mail's back.

The mail is on disk, and its sender has the answer, before anything here looks at it. Whatever a report is made of, the
worst that comes of it is a line in the log.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.headers import header_end
from mailserver.mail.reports import DmarcReport, Report
from mailserver.maillog import Filed, MailEvent, ReportNotRead, ReportRead, Sink, Trouble
from mailserver.policy.reports.about import domains_of, figures, is_ours, is_yet_to_come
from mailserver.policy.reports.container import MAX_OCTETS
from mailserver.policy.reports.proof import proven_by, vouching
from mailserver.policy.reports.read import read_reports
from mailserver.policy.routing import Here, find_route
from mailserver.ports import Blocking, Clock, Directory, Lane, Overloaded
from mailserver.store.filed_message import read_filed
from mailserver.store.journal_format import JournalUnavailable
from mailserver.store.reports import ReportStore

# Mail at the address for reports that waits to be looked at; more is left unread, and can be imported by hand.
MAX_WAITING = 200
# Of a report that nobody vouches for so many rows are kept.
MAX_UNPROVEN_ROWS = 1000
_BUSY_S = 5.0
# After a report is rested four times as long as it took, so that many large ones leave most of a core to mail.
_REST, _LONGEST_REST_S = 4, 20.0
_BUSY_TIMES = 24
_TOLD_AGAIN_S = 6 * 3600.0

_log = Logger()

Folder = Callable[[Mailbox, str], str]


class ReportIntake:
    """`notice` is a `maillog.Sink`. `addresses` are folded, `folder` tells where a mailbox's Maildir is."""

    def __init__(
        self,
        store: ReportStore,
        hostname: str,
        domains: tuple[str, ...],
        addresses: frozenset[str],
        *,
        directory: Directory,
        folder: Folder,
        blocking: Blocking,
        clock: Clock,
        log: Sink,
    ) -> None:
        self._store = store
        self._hostname = hostname
        self._domains = domains
        self._addresses = addresses
        self._directory = directory
        self._folder = folder
        self._blocking = blocking
        self._clock = clock
        self._log = log
        self._waiting: deque[Filed] = deque()
        self._is_busy = False
        self._rest_s = 0.0
        self._told_at = float("-inf")

    def notice(self, event: MailEvent) -> None:
        """Costs a comparison for what is no filed message."""
        if type(event) is not Filed:
            return
        if not any(address.lower() in self._addresses for address in event.recipient.split(",")):
            return
        if len(self._waiting) >= MAX_WAITING:
            self._log(ReportNotRead(event.queue_id, "too many reports wait; mailserver dmarc import reads it"))
            return
        self._waiting.append(event)
        if not self._is_busy:
            self._is_busy = True
            Deferred.fromCoroutine(self._work()).addErrback(
                lambda failure: _log.failure("reading reports broke", failure=failure)
            )

    async def _work(self) -> None:
        try:
            while self._waiting:
                event = self._waiting.popleft()
                # Behind the answer to the client, in any case.
                await self._clock.sleep(self._rest_s)
                await self._look(event)
        finally:
            self._is_busy = False

    async def _look(self, event: Filed) -> None:
        for _ in range(_BUSY_TIMES):
            begun = self._clock.monotonic()
            try:
                events = await self._blocking.run(Lane.GENERAL, self._read, event)
            except Overloaded:
                await self._clock.sleep(_BUSY_S)
                continue
            except (JournalUnavailable, OSError) as trouble:
                self._tell_trouble(str(trouble))
                return
            except Exception:  # noqa: BLE001 - whatever a stranger's report did to its reader: the next one is read
                _log.failure("reading the report in {queue_id} broke", queue_id=event.queue_id)
                events = [ReportNotRead(event.queue_id, "reading it broke, which is told above")]
            for one in events:
                self._log(one)
            self._rest_s = min(_LONGEST_REST_S, _REST * (self._clock.monotonic() - begun))
            return
        self._log(ReportNotRead(event.queue_id, "the server was too busy; mailserver dmarc import reads it"))

    def _tell_trouble(self, reason: str) -> None:
        now = self._clock.monotonic()
        if now - self._told_at > _TOLD_AGAIN_S:
            self._told_at = now
            self._log(Trouble("", "the reports of others", reason, "they are in their mailbox, and not counted"))

    # --- in a worker thread -------------------------------------------------------------------------------------------

    def _read(self, event: Filed) -> list[MailEvent]:
        octets = self._octets(event)
        if octets is None:
            return []
        section = octets[: 256 * 1024].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        vouchers = vouching(section[: header_end(section)], self._hostname)
        events: list[MailEvent] = []
        for found in read_reports(octets):
            if isinstance(found, SyntaxFault):
                events.append(ReportNotRead(event.queue_id, found.reason))
            else:
                events += self._keep(event.queue_id, found, proven_by(found, vouchers))
        return events

    def _octets(self, event: Filed) -> bytes | None:
        mailbox = parse_mailbox(event.mailbox)
        if not isinstance(mailbox, Mailbox):
            return None
        route = find_route(mailbox, self._directory)
        for one in route.mailboxes if isinstance(route, Here) else ():
            octets = read_filed(Path(self._folder(one, event.folder)), event.file, MAX_OCTETS)
            if octets is not None:
                return octets
        return None

    def _keep(self, queue_id: str, report: Report, proven: str) -> list[MailEvent]:
        domains = [domain for domain in domains_of(report) if is_ours(domain, self._domains)]
        if not domains:
            return [ReportNotRead(queue_id, "it is about none of our domains")]
        if is_yet_to_come(report, self._clock.now()):
            return [ReportNotRead(queue_id, "it is about a time that is yet to come")]
        if isinstance(report, DmarcReport) and not proven and len(report.rows) > MAX_UNPROVEN_ROWS:
            return [ReportNotRead(queue_id, f"nobody vouches for it, and it has over {MAX_UNPROVEN_ROWS} rows")]
        events: list[MailEvent] = []
        for domain in domains:
            if not self._store.add(report, domain, proven, self._clock.now()):
                events.append(ReportNotRead(queue_id, f"the report about {domain} is here already"))
                continue
            kind, count, skipped = figures(report, domain)
            events.append(ReportRead(queue_id, kind, domain, report.reporter, count, proven, skipped or None))
        return events
