"""An SMTP session and its machine over fakes, spoken to in octets; synchronous, in memory."""

import base64
from inspect import iscoroutine

from mailserver.mail.peer import peer_from
from mailserver.policy.limits import LoginGuesses
from mailserver.ports import Then, TlsDetails
from mailserver.session.smtp_profile import SMTP, SmtpDoors, SmtpSettings
from mailserver.session.smtp_server import SmtpSession
from mailserver.wire.smtp_events import Content
from tests.fakes.awaiting import run, start
from tests.fakes.clock import Counter, FakeClock
from tests.fakes.committer import MemoryCommitter
from tests.fakes.directory import MemoryDirectory

TLS = TlsDetails("TLSv1.3", "TLS_AES_256_GCM_SHA384")
SETTINGS = SmtpSettings(hostname="mail.example.test")


def example_directory(**changes) -> MemoryDirectory:
    """The accounts that dialogue files rely on: alice and bob at example.test, password `correct horse`."""
    made = MemoryDirectory(
        domains=("example.test",),
        accounts=("alice@example.test", "bob@example.test"),
        aliases={
            "sales@example.test": ["alice@example.test", "bob@example.test"],
            "friend@example.test": ["friend@far.example"],
        },
    )
    made.passwords = dict.fromkeys(made.accounts, "correct horse")
    made.postmaster = lambda: made.accounts["alice@example.test"].mailbox
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def no_report(acceptance, recipients, header):
    """A success reporter with nothing to say."""


def plain(login, password, authzid=""):
    """A PLAIN response in base64."""
    return base64.b64encode(f"{authzid}\0{login}\0{password}".encode()).decode()


class World:
    """The doors of all sessions of one test."""

    def __init__(self, directory=None, *, make_success_report=no_report, **guesses):
        self.directory = directory or example_directory()
        self.committer = MemoryCommitter()
        self.clock = FakeClock()
        self.events = []
        self.doors = SmtpDoors(
            directory=self.directory,
            credentials=self.directory,
            committer=self.committer,
            clock=self.clock,
            new_queue_id=Counter(),
            log=self.events.append,
            # Failures are answered at once, but where a test says otherwise.
            guesses=LoginGuesses(**{"answered_after_s": (0.0, 0.0), **guesses}),
            make_success_report=make_success_report,
        )

    def connect(self, profile=SMTP, *, address="192.0.2.7", settings=SETTINGS, tls=None):
        """A client that has read the banner."""
        return Client(self, profile, peer_from(address, 4711), settings, tls)

    def lines(self, word):
        """The log's lines with this word."""
        return [event.line() for event in self.events if event.word == word]


class Client:
    """Plays the driver: octets in, octets out, until the session closes."""

    def __init__(self, world, profile, peer, settings, tls):
        self.world = world
        self.session = SmtpSession(profile, peer, settings, world.doors)
        self.machine = self.session.machine
        self.is_closed = False
        self.wants_tls = False
        self.waits = []
        if tls is not None or profile.is_implicit_tls:
            self.session.tls_started(tls or TLS)
            self.machine.tls_started()
        answer = run(self.session.greet())
        self.banner = self.machine.greet(answer.reply).decode()

    def say(self, octets) -> str:
        """Send octets (text is encoded); the replies."""
        if isinstance(octets, str):
            octets = octets.encode()
        self.machine.receive(octets)
        return self.pump()

    def pump(self) -> str:
        """Answer all events there are."""
        out = []
        while not self.is_closed and (event := self.machine.next_event()) is not None:
            if isinstance(event, Content):
                waits = self.session.content(event)
                if waits is not None:
                    # The driver runs what it has to wait for.
                    self.waits.append(start(waits) if iscoroutine(waits) else waits)
                continue
            answer = run(self.session.answer(event))
            out.append(self.machine.reply(answer.reply).decode())
            self.is_closed = answer.then is Then.CLOSE
            if answer.then is Then.START_TLS:
                self.start_tls()
        return "".join(out)

    def begin(self, octets):
        """Send octets whose one answer has to wait; a Deferred of the reply."""
        self.machine.receive(octets if isinstance(octets, bytes) else octets.encode())
        event = self.machine.next_event()
        return start(self.session.answer(event))

    def start_tls(self):
        assert not self.machine.has_buffered_octets
        self.machine.tls_started()
        self.session.tls_started(TLS)

    def commands(self, *lines) -> list[str]:
        """Send command lines one by one; each one's reply."""
        return [self.say(line + "\r\n") for line in lines]

    def code(self, line) -> int:
        """The code of the reply to one command line."""
        return int(self.say(line + "\r\n")[:3])

    def login(self, who="alice@example.test", password="correct horse"):
        reply = self.say(f"AUTH PLAIN {plain(who, password)}\r\n")
        assert reply.startswith("235"), reply

    def send(
        self, content=b"Subject: hi\r\n\r\nhello\r\n", *, sender="far@outside.example", to=("alice@example.test",)
    ):
        """One whole message; the reply to its end."""
        if isinstance(content, str):
            content = content.encode()
        for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in to)):
            reply = self.say(line + "\r\n")
            assert reply.startswith("250"), (line, reply)
        reply = self.say("DATA\r\n")
        assert reply.startswith("354"), reply
        return self.say(content + b".\r\n")

    @property
    def stored(self):
        return self.world.committer.stored
