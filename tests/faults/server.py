"""The writing half of a server over a disk that is watched: committer, queue, Maildirs, POP3; and what it promised.

Nothing here runs by itself: time moves by `advance`, each call happens in place. `Server(root)` on what a crash left is
the start-up of the real one: sweep, prepare, load.
"""

from collections import Counter as Tally
from dataclasses import dataclass
from itertools import count

from mailserver.mail.envelope import Envelope, Notify, Recipient
from mailserver.mail.ids import QueueId
from mailserver.net.committer import QueuedMailboxWriter
from mailserver.ports import (
    Acceptance,
    Filed,
    LocalCopy,
    LocalMailboxes,
    Report,
    StorageFull,
    StorageTrouble,
    SuccessReport,
)
from mailserver.store.commit import CommitWriter, spool_recipients
from mailserver.store.files import storage_error
from mailserver.store.maildir import Maildirs, sweep
from mailserver.store.queue_orders import Choice
from mailserver.store.spool import Spool
from mailserver.store.spool_format import SpoolPaths
from mailserver.store.spool_state import RecipientState
from tests.fakes.awaiting import start
from tests.fakes.directory import box
from tests.fakes.relay import NO, OK, Office, ScriptedTransmitter
from tests.faults.disk import NoSync

HOST = "mail.example.org"
TRACE = b"Return-Path: <x@y>\r\nDelivered-To: it\r\n"
RECEIVED = b"Received: from here\r\n\tby there\r\n"
ALICE, BOB, FAR = "alice@example.org", "bob@example.org", "a@far.example"
# An alias with two mailboxes and an address elsewhere; only the queue ever meets it.
TEAM = "team@example.org"
SENDER = ALICE
# A body that a cut or a block of zeros cannot leave whole.
BODY = b"".join(b"line %d of this letter\r\n" % number for number in range(12))


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to be accepted; `number` makes its content its own. `is_large`: it streams to disk while it comes.

    `is_junk`: its copies go into the folder.
    """

    number: int
    local: tuple[str, ...] = ()
    remote: tuple[str, ...] = ()
    is_large: bool = False
    sender: str = SENDER
    wants_success: bool = False
    is_junk: bool = False

    @property
    def queue_id(self):
        return QueueId(f"{self.number:013d}")

    @property
    def content(self):
        return b"Subject: letter %d\r\nMessage-ID: <%d@example.org>\r\n\r\n" % (self.number, self.number) + BODY

    @property
    def stored(self):
        """What every copy in a mailbox ends with."""
        return (RECEIVED + self.content).replace(b"\r\n", b"\n")

    def acceptance(self):
        notify = frozenset({Notify.SUCCESS, Notify.FAILURE}) if self.wants_success else frozenset()
        copies = tuple(
            LocalCopy(box(name), (Recipient(box(name), notify),), TRACE, "Junk" if self.is_junk else "")
            for name in self.local
        )
        remote = tuple(Recipient(box(name), notify) for name in self.remote)
        recipients = tuple(one.recipients[0] for one in copies) + remote
        envelope = Envelope(box(self.sender), recipients, is_junk=self.is_junk)
        success = self._success(envelope.recipients[: len(copies)]) if self.wants_success else None
        return Acceptance(self.queue_id, 1_750_000_000.0, envelope, RECEIVED, copies, remote, success, "test")

    def _success(self, recipients):
        def make(told):
            words = b"Content-Type: multipart/report\r\n\r\nall is well with letter %d\r\n--\r\n" % self.number
            return Report(QueueId(f"{self.number:012d}S"), Envelope(None, (Recipient(box(self.sender)),)), words)

        return SuccessReport(recipients, make(recipients), make)


class Watchful(ScriptedTransmitter):
    """Remembers what was sent, as octets, the moment the other side has it."""

    def __init__(self, answer, note):
        super().__init__(answer)
        self.note = note

    async def send(self, route, envelope, content, queue_id="", transcript=None):
        with content.path.open("rb") as file:
            file.seek(content.offset)
            octets = file.read(content.length)
        outcomes = await super().send(route, envelope, content, queue_id, transcript)
        for recipient, outcome in outcomes.items():
            if outcome is OK:
                self.note(("sent", str(recipient.mailbox), octets))
        return outcomes


class _Events(list):
    """Tells each event to somebody else as well."""

    def __init__(self, call):
        super().__init__()
        self._call = call

    def append(self, event):
        super().append(event)
        self._call(event)


class Server(Office):
    """Everything on `root`: `mail/` and `var/`. `note` hears what is acknowledged, to clients and by other servers."""

    def __init__(self, root, disk=None, *, answer=lambda route, recipient: OK, ids_from=1000, **about):
        self.root = root
        self.disk = disk
        self.noted = []
        self.queue_trouble = None
        files = disk or NoSync()
        self.maildirs = Maildirs(files, root / "mail", HOST, now=lambda: self.clock.now() + ids_from)
        sweep(root / "mail", HOST, 1_750_000_000.0, files)
        self._answer = answer
        # Another process gives other names.
        self._numbers = count(ids_from)
        super().__init__(root / "var", files=files, **about)
        self.local[TEAM] = LocalMailboxes((box(ALICE), box(BOB)), (box(FAR),))
        self.writer = CommitWriter(files, self.maildirs, self.spool.paths)
        start(self.runner.load())
        self.settle()

    def restart(self, *, is_first=False):
        self.events = _Events(self._happened)
        self.mailboxes = QueuedMailboxWriter(self.files, self.maildirs, self.blocking)
        self.ids = lambda: QueueId(f"{next(self._numbers):013d}")
        self.transmitter = Watchful(self._answer, self.tell)
        super().restart(is_first=is_first)

    def _happened(self, event):
        """What the log says of a delivery counts once the mark is on disk: he must never get it again."""
        if event.word == "delivered" and event.queue_id in self.spool.ids():
            message = self.spool.read(event.queue_id)
            for recipient, one in zip(message.envelope.recipients, message.progress, strict=True):
                if one.state is RecipientState.DELIVERED and str(recipient.mailbox) == event.recipient:
                    self.tell(("marked", event.queue_id, event.recipient))

    def find_destination(self, mailbox, attempts=0):
        if mailbox.domain == "example.org" and str(mailbox) not in self.local:
            return LocalMailboxes((mailbox,))
        return super().find_destination(mailbox, attempts)

    def tell(self, about):
        self.noted.append(about)
        if self.disk is not None:
            self.disk.told(about)

    # --- what is done to it -------------------------------------------------------------------------------------------

    def accept(self, *letters):
        """Commit them as one group, and answer the clients: which were acknowledged."""
        ready, group = [], []
        for letter in letters:
            acceptance, content = letter.acceptance(), letter.content
            if letter.is_large:
                try:
                    content = self._streamed(acceptance, content)
                except OSError as trouble:
                    self.tell(("refused", letter, storage_error(trouble)))
                    continue
            ready.append(letter)
            group.append((acceptance, content))
        accepted = []
        for letter, (acceptance, _), result in zip(ready, group, self.writer.commit(group), strict=True):
            if isinstance(result, Filed):
                self.tell(("accepted", letter))
                accepted.append(letter)
                self._tell_queue(acceptance, result)
            else:
                assert isinstance(result, StorageFull | StorageTrouble)
                self.tell(("refused", letter, result))
        return accepted

    def _streamed(self, acceptance, content):
        large = self.writer.open_large(acceptance)
        third = len(content) // 3
        for at in (0, third, 2 * third):
            large.append([content[at : at + third if at < 2 * third else None]])
        return large

    def _tell_queue(self, acceptance, result):
        recipients = spool_recipients(acceptance, result)
        if recipients:
            envelope = acceptance.envelope.with_recipients(recipients)
            self.runner.added(acceptance.queue_id, envelope, acceptance.received_at, acceptance.source, result.stored)
        if result.report is not None:
            self.runner.added(result.report.queue_id, result.report.envelope, acceptance.received_at)

    def ask(self, coroutine):
        """An order of the operator's, until it is answered; None when it is not yet."""
        answers = []
        start(coroutine).addCallback(answers.append)
        self.settle()
        return answers[0] if answers else None

    def live_on(self, rounds=6):
        """Time enough for every retry."""
        self.settle()
        for _ in range(rounds):
            self.advance(400)

    # --- what is there ------------------------------------------------------------------------------------------------

    def filed(self):
        """Every message in every mailbox: (mailbox, path, octets)."""
        for place in ("new", "cur"):
            for path in sorted((self.root / "mail").glob(f"*/*/**/{place}/*")):
                maildir = path.parents[2 if path.parents[1].name == ".Junk" else 1]
                yield f"{maildir.name}@{maildir.parent.name}", path, path.read_bytes()

    def leftovers(self):
        """Temporary files."""
        found = [*self.spool.paths.tmp.iterdir(), *(self.root / "mail").glob("*/*/**/tmp/*")]
        return [path for path in found if path.is_file()]


class Lost(AssertionError):
    """A promise is broken."""


def check_promises(root, told, letters, *, refused=(), most=1, most_sent=2, **about):
    """Start on what is there, let everything happen, and compare with what was told (design section 4).

    `letters`: all that were ever tried. `refused`: recipients that get a bounce instead. `most`: how many copies a
    local recipient may have; `most_sent`: how often a message may have been sent to another server.
    """
    _check_orders(Spool(SpoolPaths(root / "var"), NoSync()), told)
    server = Server(root, answer=lambda route, recipient: NO if str(recipient.mailbox) in refused else OK, **about)
    check_mailboxes(server, letters)
    server.ask(server.runner.release(server.on_disk(), Choice(), "root"))
    server.live_on()
    if server.failures:
        raise Lost(f"an exception: {server.failures}")
    if server.words("damaged", "trouble"):
        raise Lost(f"found on disk: {[event for event in server.events if event.word in ('damaged', 'trouble')]}")
    if server.on_disk():
        raise Lost(f"still in the queue: {server.on_disk()}")
    if server.leftovers() or list(server.spool.paths.states.iterdir()):
        raise Lost(f"left behind: {server.leftovers()} {list(server.spool.paths.states.iterdir())}")
    after = _sent(letters, server.noted)
    for letter in letters:
        for name in letter.remote:
            if after[letter.number, name] and ("marked", letter.queue_id, name) in told:
                raise Lost(f"letter {letter.number} was sent to {name} again, who is marked as delivered")
    copies = check_mailboxes(server, letters)
    _count(copies, _sent(letters, [*told, *server.noted]), told, letters, refused, (most, most_sent))
    return server


def check_mailboxes(server, letters):
    """Whole letters only, and whole reports: how many copies each (letter, mailbox) has; reports by mailbox."""
    copies = Tally()
    for mailbox, path, octets in server.filed():
        if f",S={len(octets)}," not in path.name:
            raise Lost(f"{path} has {len(octets)} octets")
        letter = next((one for one in letters if octets.endswith(one.stored)), None)
        if letter is not None and octets.startswith(b"Return-Path: "):
            copies[letter.number, mailbox] += 1
        elif b"multipart/report" in octets and octets.endswith(b"--\n"):
            for one in letters:
                copies["report", one.number, mailbox] += b"letter %d\n" % one.number in octets
        else:
            raise Lost(f"{path} is no whole message: {octets[:80]!r} ... {octets[-40:]!r}")
    return copies


def _check_orders(spool, told):
    """A hold that was answered is on disk, and what was removed by order stays away."""
    there = spool.ids()
    for letter in [about[1] for about in told if about[0] == "held"]:
        is_sent = any(about[0] == "sent" and about[2].endswith(letter.content) for about in told)
        if ("to be removed", letter) in told:
            continue
        if not (spool.read(letter.queue_id).has_state if letter.queue_id in there else is_sent):
            raise Lost(f"letter {letter.number} was held, and nothing tells so")
    for letter in [about[1] for about in told if about[0] == "removed"]:
        if letter.queue_id in there:
            raise Lost(f"letter {letter.number} was removed, and is there again")


def _sent(letters, noted):
    sent = Tally()
    for word, *rest in noted:
        if word != "sent":
            continue
        recipient, octets = rest
        letter = next((one for one in letters if octets == RECEIVED + one.content), None)
        if letter is not None:
            sent[letter.number, recipient] += 1
        elif b"multipart/report" in octets:
            for one in letters:
                sent["report", one.number, recipient] += b"letter %d\r\n" % one.number in octets
        else:
            raise Lost(f"sent to {recipient}: {octets[:80]!r}")
    return sent


def _count(copies, sent, told, letters, refused, most):
    accepted = [rest[0] for word, *rest in told if word == "accepted"]
    gone = [rest[0] for word, *rest in told if word == "to be removed"]
    for letter in letters:
        least = letter in accepted and letter not in gone
        for name in letter.local:
            _within(copies[letter.number, name], least, most[0], f"letter {letter.number} in the mailbox of {name}")
        for name in letter.remote:
            if name == TEAM:
                for member in (ALICE, BOB):
                    _within(copies[letter.number, member], least, most[0], f"letter {letter.number} for {member}")
                _within(sent[letter.number, FAR], least, most[1], f"letter {letter.number} sent to {FAR}")
            elif name in refused:
                reports = copies["report", letter.number, letter.sender] + sent["report", letter.number, letter.sender]
                # An order to bounce that was not answered: it may have gone before.
                reports += sent[letter.number, name]
                _within(reports, least, most[0] + 1, f"a report on letter {letter.number}")
            else:
                _within(sent[letter.number, name], least, most[1], f"letter {letter.number} sent to {name}")
        if letter.wants_success and letter.local:
            reports = copies["report", letter.number, letter.sender]
            _within(reports, least, most[0] + 3, f"a success report on letter {letter.number}")


def _within(count, least, most, what):
    if count < least:
        raise Lost(f"{what}: acknowledged, and not there")
    if count > most:
        raise Lost(f"{what}: {count} times")
