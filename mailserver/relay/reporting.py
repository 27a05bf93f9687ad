"""Which reports and copies (`expansion`) a message owes, and getting them into the queue. Async over doors.

A final state and the queue id of its report reach the disk in one write; then the report itself; then the mark that it
is there, or the removal; only then the report is sent. A crash in between is made up for at start (`spool`, row 5).

Against backscatter and loops:

- A report has the null reverse-path, and nothing is reported to that (RFC 5321 4.5.5, 6.1), so every chain of reports
  ends with its first one.
- A report of ours about a failure that cannot be delivered is given to our postmaster, once: what is sent there has the
  null reverse-path too, and when the postmaster cannot be reached either, the log has the last word. Undeliverable
  delay notices and success reports are dropped: nothing is lost with them.
- Nothing is reported to a sender whose own domain says that it did not send the message (SPF *fail*): the address is
  forged, and its owner has nothing to do with it.
- No header field keeps a report from its sender. RFC 3834 is about programs that answer like a person, which a DSN is
  not (RFC 3464 is sent by RFC 3461's rules); a list or a program with a reverse-path of its own asked for reports.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

from mailserver.mail.envelope import Recipient
from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Delivered, Outcome
from mailserver.mail.route import FixedRoute, MxRoute, SmarthostRoute
from mailserver.mail.trace import is_our_own, login_of
from mailserver.maillog import ReportDropped, ReportMade, Trouble
from mailserver.ports import Lane, Overloaded, Report
from mailserver.relay.bounce import OCTETS_WANTED, Subject, is_report_of_failure, make_report
from mailserver.relay.doors import RelayDoors, RelaySettings
from mailserver.relay.dsn_fields import Action, RecipientReport
from mailserver.relay.expansion import Expansion, is_expansion, owes_copy
from mailserver.relay.ledger import Ledger
from mailserver.relay.opened import Opened
from mailserver.relay.progress import (
    delay_report,
    failure_report,
    given_up_report,
    is_delay_notice_due,
    success_report,
    why_no_report,
)
from mailserver.store.queue_orders import counted_age
from mailserver.store.spool import StoredMessage
from mailserver.store.spool_state import RecipientProgress

# So many recipients are explained in a few milliseconds.
_FEW = 5


class Reporting:
    """Makes reports. `announce` tells the queue of a delay notice once it is on disk."""

    def __init__(
        self, doors: RelayDoors, settings: RelaySettings, ledger: Ledger, announce: Callable[[Report], None]
    ) -> None:
        self._doors = doors
        self._settings = settings
        self._ledger = ledger
        self._announce = announce
        self._expansion = Expansion(doors, ledger)

    def assign(self, opened: Opened, message: StoredMessage, outcomes: dict[int, Outcome]) -> None:
        """Give each recipient that has come to its end the id of the report it owes, in memory; the caller writes it.

        One report for all that were given up in this pass, one for all successes that want one, and a copy instead of
        a report for each alias that is expanded.
        """
        failures = [number for number in outcomes if failure_report(*self._pair(opened, message, number))]
        successes = [
            number
            for number, outcome in outcomes.items()
            if isinstance(outcome, Delivered)
            and not outcome.dsn_passed_on
            and success_report(*self._pair(opened, message, number))
        ]
        given_up = [n for n in outcomes if not opened.progress[n].is_waiting and not isinstance(outcomes[n], Delivered)]
        if message.envelope.is_disowned:
            failures, successes = [], []
        elif message.envelope.reverse_path is None:
            failures, successes = (given_up if self._may_be_double_bounce(message) else []), []
        if len(failures) < len(given_up):
            self._doors.sink(ReportDropped(message.queue_id, why_no_report(message.envelope, Action.FAILED)))
        expanded = [[number] for number, outcome in outcomes.items() if is_expansion(outcome)]
        for numbers in (failures, successes, *expanded):
            report_id = self._doors.new_queue_id() if numbers else ""
            for number in numbers:
                opened.progress[number] = replace(opened.progress[number], report=report_id)

    @staticmethod
    def _pair(opened: Opened, message: StoredMessage, number: int) -> tuple[Recipient, RecipientProgress]:
        return message.envelope.recipients[number], opened.progress[number]

    async def send_due(
        self, opened: Opened, message: StoredMessage, age_s: float, found: Collection[QueueId]
    ) -> tuple[bool, list[Report]]:
        """Make every report that is owed and not yet on disk; one that is in `found` is there and only marked.

        Whether anything was marked in `opened`, and the reports made. The caller announces these when the marks are on
        disk: a report that was sent and removed before would be made again after a crash.
        """
        owed: dict[str, list[int]] = {}
        for number, one in enumerate(opened.progress):
            if one.report and not one.is_reported and one.report not in opened.reports_under_way:
                owed.setdefault(one.report, []).append(number)
        is_double = message.envelope.reverse_path is None
        made: list[Report] = []
        for report_id, numbers in owed.items():
            if report_id in opened.reports_under_way:  # another job was faster while we waited
                continue
            opened.reports_under_way.add(report_id)
            if report_id not in found and owes_copy(opened.progress[numbers[0]]):
                copy = await self._expansion.copy(QueueId(report_id), message, numbers[0])
                made += [copy] if copy is not None else []
            elif report_id not in found:
                told = [
                    about
                    for recipient, one in (self._pair(opened, message, number) for number in numbers)
                    if (about := given_up_report(recipient, one) if is_double else failure_report(recipient, one))
                    or (about := success_report(recipient, one))
                ]
                report = await self._make(QueueId(report_id), message, tuple(told), age_s)
                made += [report] if report is not None else []
            for number in numbers:
                opened.progress[number] = replace(opened.progress[number], is_reported=True)
        return bool(owed), made

    def mark_delays(self, opened: Opened, message: StoredMessage, age_s: float) -> list[int]:
        """Recipients whose delay is to be told now; marked in memory, so that it is told once even after a crash."""
        if message.envelope.reverse_path is None or message.envelope.is_disowned:
            return []
        schedule_for, now = self._settings.schedule_for, self._doors.clock.now()
        due = [
            number
            for number, (to, one) in enumerate(zip(message.envelope.recipients, opened.progress, strict=True))
            if is_delay_notice_due(to, one, schedule_for(to), counted_age(one, age_s, now))
        ]
        for number in due:
            opened.progress[number] = replace(opened.progress[number], is_delay_told=True)
        return due

    async def send_delays(self, opened: Opened, message: StoredMessage, numbers: list[int], age_s: float) -> None:
        """One notice for these recipients, once their marks are on disk."""
        now = self._doors.clock.now()
        reports = []
        for number in numbers:
            to, one = self._pair(opened, message, number)
            if one.may_be_tried:
                left_s = self._settings.schedule_for(to).expire_after - counted_age(one, age_s, now)
                reports.append(delay_report(to, one, now + max(0.0, left_s)))
        notice = await self._make(self._doors.new_queue_id(), message, tuple(reports), age_s)
        if notice is not None:
            self._announce(notice)

    async def _make(
        self, report_id: QueueId, message: StoredMessage, reports: tuple[RecipientReport, ...], age_s: float
    ) -> Report | None:
        """The report, on disk; None when there is none to make."""
        if not reports:
            return None
        content = await self._beginning(message)
        target = message.envelope.reverse_path or self._settings.reporter.sender
        is_double = message.envelope.reverse_path is None
        if is_double and not is_report_of_failure(content, message.queue_id, self._settings.reporter):
            self._doors.sink(ReportDropped(message.queue_id, why_no_report(message.envelope, Action.FAILED)))
            return None
        subject = Subject(
            queue_id=message.queue_id,
            envelope=message.envelope,
            received_at=message.received_at,
            content=content,
            is_whole=len(content) == message.size_octets,
            age_s=age_s,
            is_ours=is_double,
        )
        reports = tuple(self._with_route(one, message) for one in reports)
        report = await self._made(report_id, subject, reports)
        await self._ledger.add_report(report)
        action = reports[0].action.value
        self._doors.sink(ReportMade(report_id, message.queue_id, action, str(target)))
        return report

    async def _made(self, report_id: QueueId, subject: Subject, reports: tuple[RecipientReport, ...]) -> Report:
        """Away from the reactor when there are many: a hostile next hop may say something long of each recipient."""
        about = (self._settings.reporter, report_id, subject, reports, self._doors.clock.now())
        if len(reports) > _FEW:
            try:
                return await self._doors.blocking.run(Lane.GENERAL, make_report, *about)
            except Overloaded:
                pass
        return make_report(*about)

    def _may_be_double_bounce(self, message: StoredMessage) -> bool:
        """A report of ours, as far as its envelope tells, to somebody else than whom double bounces go to."""
        postmaster = self._settings.reporter.sender.folded
        is_for_postmaster = any(one.mailbox.folded == postmaster for one in message.envelope.recipients)
        return is_our_own(message.source) and not is_for_postmaster

    def _with_route(self, one: RecipientReport, message: StoredMessage) -> RecipientReport:
        """Which way the last attempt went, and whether the message came from outside; asked now, so that no state has
        to be kept for it. A route that was changed in between at worst makes an explanation less exact."""
        find = self._doors.find_destination
        sender = message.envelope.reverse_path
        is_stranger = sender is not None and isinstance(find(sender), MxRoute | FixedRoute | SmarthostRoute)
        route = find(one.recipient.mailbox, max(0, one.attempts - 1))
        return replace(
            one,
            is_smarthost=isinstance(route, SmarthostRoute),
            is_forwarded=is_stranger and not login_of(message.source),
        )

    async def _beginning(self, message: StoredMessage) -> bytes:
        """What may be given back of the message; nothing when it cannot be read now, for the news matters more."""
        try:
            return await self._doors.blocking.run(
                Lane.QUEUE, self._doors.spool.read_content, message.content, OCTETS_WANTED
            )
        except (OSError, Overloaded) as trouble:
            self._doors.sink(
                Trouble(message.queue_id, "reading a message", str(trouble), "a report without its header")
            )
            return b""
