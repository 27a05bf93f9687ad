"""A queue in a temporary folder with everything around it in memory; time moves only by `advance`."""

from random import Random

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Stage
from mailserver.mail.reply import Reply
from mailserver.mail.route import MxRoute
from mailserver.mail.trace import OUR_OWN
from mailserver.ports import LocalMailboxes, NoDestination, Report
from mailserver.relay.bounce import Reporter
from mailserver.relay.doors import RelayDoors, RelaySettings
from mailserver.relay.runner import RelayRunner
from mailserver.relay.schedule import Schedule
from mailserver.store.files import Files
from mailserver.store.spool import Spool
from mailserver.store.spool_changes import AddReport
from mailserver.store.spool_format import SpoolPaths
from tests.fakes.awaiting import start
from tests.fakes.clock import Counter, FakeClock
from tests.fakes.directory import box

HOUR, DAY = 3600.0, 86400.0
USUAL = Schedule((300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0, 14400.0), 5 * DAY, 4 * HOUR)
OK = Delivered(Reply(250, "2.0.0", ("queued as 1",)), "mx.example.net[192.0.2.1]")
DOWN = Deferred("connection refused", Stage.CONNECT)
LATER = Deferred("greylisted", Stage.RCPT, Reply(450, "4.7.1", ("greylisted, come back",)), "mx.example.net[192.0.2.1]")
NO = Bounced("the recipient was refused", Stage.RCPT, "5.1.1", Reply(550, "5.1.1", ("no such user",)), "mx.example.net")
CONTENT = b"Received: from a by b\r\nSubject: hello\r\nMessage-ID: <1@outside.example>\r\n\r\nlook ma\r\n"


class AtOnce:
    """`Blocking` that runs a call in place."""

    def __init__(self):
        self.trouble = []

    async def run(self, lane, call, *args):
        if self.trouble:
            raise self.trouble.pop(0)
        return call(*args)


class ScriptedTransmitter:
    """Answers with `answer(route, recipient)`: an outcome, an exception to raise, or a Deferred to wait for first."""

    def __init__(self, answer=lambda route, recipient: OK):
        self.answer = answer
        self.sent = []
        self.busy = 0
        self.most = 0

    async def send(self, route, envelope, content, queue_id="", transcript=None):
        if transcript is not None:
            transcript.happened(f"connecting to {route}")
        self.sent.append((str(route), tuple(str(one.mailbox) for one in envelope.recipients)))
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            outcomes = {}
            for recipient in envelope.recipients:
                outcome = self.answer(route, recipient)
                if isinstance(outcome, Exception):
                    raise outcome
                outcomes[recipient] = outcome if isinstance(outcome, (Delivered, Deferred, Bounced)) else await outcome
            return outcomes
        finally:
            self.busy -= 1


class MemoryMailboxes:
    """`MailboxWriter` that keeps what was filed."""

    def __init__(self):
        self.filed = []
        self.folders = []
        self.trouble = {}

    async def file(self, mailbox, trace, content, folder=""):
        if str(mailbox) in self.trouble:
            raise self.trouble[str(mailbox)]
        with content.path.open("rb") as file:
            file.seek(content.offset)
            self.filed.append((str(mailbox), trace + file.read(content.length)))
        self.folders.append(folder)
        return f"1.M2P3Q{len(self.filed)}.host"


class Office:
    """Everything around a `RelayRunner`; `restart` drops what is in memory, as a kill would."""

    def __init__(
        self,
        state,
        *,
        schedule=USUAL,
        files=None,
        answer=lambda route, recipient: OK,
        limit=10,
        total=200,
        rules=(),
        transcripts=False,
        schedules=None,
    ):
        self.clock = FakeClock()
        self.files = files or Files()
        self.spool = Spool(SpoolPaths(state), self.files)
        self.spool.prepare()
        self.transmitter = ScriptedTransmitter(answer)
        self.mailboxes = MemoryMailboxes()
        self.blocking = AtOnce()
        self.ids = Counter()
        self.events = []
        self.failures = []
        self.local = {}
        self.suppression = None
        self.caps = None
        self._settings = RelaySettings(
            schedule,
            Reporter("mail.example.org", box("postmaster@example.org")),
            limit,
            total,
            hold_rules=tuple(rules),
            keeps_transcripts=transcripts,
            schedules=schedules or {},
        )
        self.restart(is_first=True)

    def restart(self, *, is_first=False):
        if not is_first:
            start(self.runner.stop(0.0))
        self.runner = RelayRunner(
            RelayDoors(
                clock=self.clock,
                blocking=self.blocking,
                spool=self.spool,
                transmitter=self.transmitter,
                mailboxes=self.mailboxes,
                find_destination=self.find_destination,
                new_queue_id=self.ids,
                random=Random(1),
                sink=self.events.append,
                tell_failure=lambda what, error: self.failures.append((what, error)),
                suppression=self.suppression,
                caps=self.caps,
                junk_folder=lambda mailbox: "Junk" if mailbox.local_part == "alice" else "",
            ),
            self._settings,
        )
        self.runner.start()
        if not is_first:
            start(self.runner.load())
            self.settle()

    def find_destination(self, mailbox, attempts=0):
        if str(mailbox) in self.local:
            return self.local[str(mailbox)]
        if mailbox.domain == "example.org":
            known = mailbox.local_part in ("alice", "bob")
            return LocalMailboxes((mailbox,)) if known else NoDestination("there is no such mailbox", "5.1.1")
        return MxRoute(mailbox.domain)

    def put(self, *recipients, sender="alice@example.org", content=CONTENT, tell=True, source="", **about):
        """A message that the committer has just made durable; its id."""
        queue_id = self.ids()
        envelope = Envelope(
            None if sender is None else box(sender),
            tuple(one if isinstance(one, Recipient) else Recipient(box(one)) for one in recipients),
            **about,
        )
        report = Report(queue_id, envelope, content, source or OUR_OWN)
        assert self.spool.apply([AddReport(report, self.clock.now())]) == [None]
        if tell:
            self.runner.added(queue_id, envelope, self.clock.now(), source)
        return queue_id

    def settle(self):
        """Let everything happen that needs no time but the gathering of writes."""
        for _ in range(12):
            self.clock.advance(0.02)

    def advance(self, seconds):
        self.clock.advance(seconds)
        self.settle()

    def words(self, *words):
        return [event.word for event in self.events if not words or event.word in words]

    def on_disk(self):
        return self.spool.ids()
