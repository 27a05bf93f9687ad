"""Next hops that misbehave, against the whole way out: queue, attempt, client. Nothing is lost or bounced wrongly.

Each case says what was told first of the two recipients, what was told last, and how many copies the hosts have taken
for each. A word stands for both recipients, a pair for a@ and b@.
"""

import random
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from mailserver.mail.dns import MxRecord
from mailserver.mail.envelope import Notify, Recipient
from mailserver.relay.attempt import MxTransmitter, Outward
from mailserver.session.smtp_client import SmtpClientSession
from tests.fakes.beast import OFFERS, Act, Beast, BeastDialer, Wait, drip
from tests.fakes.directory import box
from tests.fakes.relay import CONTENT, Office

ONE, TWO = "198.51.100.1", "198.51.100.2"
CLOSE, RESET, MUTE, STUCK = Act.CLOSE, Act.RESET, Act.MUTE, Act.STUCK
TLS = (*OFFERS, "STARTTLS")
BAD_421 = b"421 4.3.2 going down\r\n"
OK, WAITS, NO = "delivered", "deferred", "bounced"


def only(name, answer):
    """That answer to one recipient, the usual one to the other."""
    return lambda session, line: answer if f"<{name}@" in line else None


def by_turns(*answers):
    left = list(answers)
    return lambda session, line: left.pop(0) if left else None


@dataclass
class Case:
    name: str
    beast: dict
    first: object
    last: object
    copies: tuple = (1, 1)
    content: bytes = CONTENT
    envelope: dict = field(default_factory=dict)
    enhanced: str = ""
    second: dict | None = None
    is_sender_unknown: bool = False


def greylist(session, line):
    """By time: whoever comes within four minutes is early."""
    beast = session.beast
    beast.since = getattr(beast, "since", session.clock.monotonic())
    is_early = session.clock.monotonic() - beast.since < 240
    return b"450 4.2.0 greylisted, come back in 240 seconds\r\n" if is_early else None


def after_dot_then(*steps):
    return {"EOD": steps, "wild": 1}


CASES = [
    # Nobody is at home, or not yet.
    Case("refuses connections", {"refuses": 1}, WAITS, OK),
    Case("closes at once", {"BANNER": CLOSE, "wild": 1}, WAITS, OK),
    Case("resets at once", {"BANNER": RESET, "wild": 1}, WAITS, OK),
    Case("says nothing", {"BANNER": MUTE, "wild": 1}, WAITS, OK),
    Case("greets after four minutes", {"BANNER": (Wait(240), b"220 slow\r\n")}, OK, OK),
    Case("drips its greeting for ever", {"BANNER": drip(b"220 " + b"x" * 200, 20), "wild": 1}, WAITS, OK),
    Case("does not want us today", {"BANNER": b"554 5.7.1 you are listed\r\n", "wild": 1}, WAITS, OK),
    Case("never wants us", {"BANNER": b"554 5.7.1 you are listed\r\n"}, WAITS, WAITS, (0, 0)),
    Case("is no mail server", {"BANNER": b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", "wild": 1}, WAITS, OK),
    Case("greets in many lines", {"BANNER": b"220-hello\r\n220-no spam\r\n220 \r\n"}, OK, OK),
    Case("greets with a bare code", {"BANNER": b"220\r\n"}, OK, OK),
    # EHLO and what it says.
    Case("knows only HELO", {"EHLO": b"502 5.5.1 what?\r\n"}, OK, OK),
    Case("knows neither HELO nor EHLO", {"EHLO": b"500 what?\r\n", "HELO": b"500 what?\r\n"}, WAITS, WAITS, (0, 0)),
    Case("drops who says EHLO", {"EHLO": CLOSE, "wild": 1}, WAITS, OK),
    Case("lists 20,000 extensions", {"EHLO": b"250-EXT\r\n" * 20_000 + b"250 END\r\n", "wild": 1}, WAITS, OK),
    Case("sends 3 MiB without an end", {"EHLO": (b"250-" + b"x" * 1018 + b"\r\n") * 3072, "wild": 1}, WAITS, OK),
    Case("sends one line of 3 MiB", {"EHLO": b"250-" + b"x" * (3 << 20), "wild": 1}, WAITS, OK),
    Case(
        "offers in odd letters and spaces",
        {"EHLO": b"250-b\r\n250-pipelining \r\n250-SIZE\r\n250 8bitMIME\r\n"},
        OK,
        OK,
    ),
    Case("offers a SIZE that is no number", {"offers": ("SIZE lots", "8BITMIME")}, OK, OK),
    Case("offers SIZE 0, which means no limit", {"offers": ("SIZE 0",)}, OK, OK),
    Case("takes smaller messages only", {"offers": ("SIZE 10",)}, NO, NO, (0, 0), enhanced="5.3.4"),
    Case("breaks off reply lines with a bare LF", {"EHLO": b"250-beast\n250 PIPELINING\n", "wild": 1}, OK, OK),
    Case("offers LIMITS that cannot be", {"offers": ("LIMITS RCPTMAX=0 MAILMAX=-1 RCPTDOMAINMAX=x",)}, OK, OK),
    Case("takes one recipient at a time", {"offers": ("PIPELINING", "LIMITS RCPTMAX=1")}, OK, OK),
    Case("takes one message on a connection", {"offers": ("LIMITS RCPTMAX=1 MAILMAX=1",)}, OK, OK),
    # 421, drops and silence at each step.
    *[Case(f"says 421 to {verb}", {verb: BAD_421, "wild": 1}, WAITS, OK) for verb in ("EHLO", "MAIL", "RCPT", "DATA")],
    Case("says 421 and closes", {"RCPT": (BAD_421, CLOSE), "wild": 1}, WAITS, OK),
    *[Case(f"drops us at {verb}", {verb: CLOSE, "wild": 1}, WAITS, OK) for verb in ("MAIL", "RCPT", "DATA")],
    *[Case(f"resets us at {verb}", {verb: RESET, "wild": 1}, WAITS, OK) for verb in ("MAIL", "RCPT", "DATA")],
    *[Case(f"falls silent at {verb}", {verb: MUTE, "wild": 1}, WAITS, OK) for verb in ("EHLO", "MAIL", "RCPT", "DATA")],
    Case("takes four minutes for each answer", {v: (Wait(240), b"250 ok\r\n") for v in ("MAIL", "RCPT")}, OK, OK),
    Case("never reads the content", {"DATA": (b"354 go\r\n", STUCK), "wild": 1}, WAITS, OK),
    Case("closes in the middle of the content", {"DATA": (b"354 go\r\n", RESET), "wild": 1}, WAITS, OK),
    Case("says why before it closes there", {"DATA": (b"354 go\r\n", b"552 5.3.4 too big\r\n", RESET)}, NO, NO, (0, 0)),
    # The end of the content: taken or not?
    Case("drops after the dot, not taken", after_dot_then(CLOSE), WAITS, OK),
    Case("resets after the dot, not taken", after_dot_then(RESET), WAITS, OK),
    Case("says 421 after the dot", after_dot_then(BAD_421), WAITS, OK),
    Case("says 451 after the dot", after_dot_then(b"451 4.3.0 disk full\r\n"), WAITS, OK),
    Case("is silent after the dot", after_dot_then(MUTE), WAITS, OK),
    Case("says nonsense after the dot", after_dot_then(b"thank you\r\n"), WAITS, OK),
    Case("answers the dot after nine minutes", {"EOD": (Wait(540), b"250 2.0.0 taken\r\n")}, OK, OK),
    Case("takes it and resets", {"EOD": (b"250 2.0.0 taken\r\n", RESET)}, OK, OK),
    Case("takes it and closes", {"EOD": (b"250 2.0.0 taken\r\n", CLOSE)}, OK, OK),
    Case("takes it and is silent at QUIT", {"QUIT": MUTE}, OK, OK),
    Case("takes it, tells it in half a line, and dies", after_dot_then(b"250 2.0", RESET), WAITS, OK, (2, 2)),
    Case("sends an endless 250 at the end", after_dot_then(b"250-x\r\n" * 30_000), WAITS, OK, (2, 2)),
    Case("refuses the content", {"EOD": b"554 5.6.0 we do not like it\r\n"}, NO, NO, (0, 0), enhanced="5.6.0"),
    # Recipients have their own fates.
    Case("greylists", {"RCPT": greylist}, WAITS, OK),
    Case("greylists at the dot", {"EOD": greylist}, WAITS, OK),
    Case("greylists one of two", {"RCPT": only("a", b"450 4.2.0 later\r\n"), "wild": 1}, (WAITS, OK), OK),
    Case(
        "has only one of two",
        {"RCPT": only("a", b"550 5.1.1 no such user\r\n")},
        (NO, OK),
        (NO, OK),
        (0, 1),
        enhanced="5.1.1",
    ),
    Case("has none", {"RCPT": b"550 5.1.1 no such user\r\n"}, NO, NO, (0, 0), enhanced="5.1.1"),
    Case("refuses all and still says 354", {"RCPT": b"550 5.1.1 no\r\n", "DATA": b"354 go\r\n"}, NO, NO, (0, 0)),
    Case(
        "wants fewer recipients", {"RCPT": only("b", b"452 4.5.3 too many recipients\r\n"), "wild": 1}, (OK, WAITS), OK
    ),
    Case("refuses the sender", {"MAIL": b"550 5.7.1 not you\r\n"}, NO, NO, (0, 0), enhanced="5.7.1"),
    Case("wants the sender later", {"MAIL": b"451 4.7.1 later\r\n", "wild": 1}, WAITS, OK),
    Case("refuses the content unseen", {"DATA": b"554 5.5.1 no\r\n"}, NO, NO, (0, 0), enhanced="5.5.1"),
    Case(
        "answers 5yz with an enhanced code of 4",
        {"RCPT": b"550 4.2.1 mailbox busy\r\n"},
        NO,
        NO,
        (0, 0),
        enhanced="5.0.0",
    ),
    # Replies that are none, or too many.
    Case("talks nonsense", {"MAIL": b"hello there\r\n", "wild": 1}, WAITS, OK),
    Case("answers 999", {"RCPT": b"999 what\r\n", "wild": 1}, WAITS, OK),
    Case("contradicts itself within a reply", {"RCPT": b"250-yes\r\n550 no\r\n", "wild": 1}, WAITS, OK),
    Case("answers DATA with 250", {"DATA": b"250 what\r\n", "wild": 1}, WAITS, OK),
    Case("answers RCPT with 354", {"RCPT": b"354 what\r\n", "wild": 1}, WAITS, OK),
    Case("answers MAIL with 334", {"MAIL": b"334 what\r\n", "wild": 1}, WAITS, OK),
    Case("sends replies nobody asked for", {"MAIL": b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n", "wild": 1}, WAITS, OK),
    Case("answers the content before it comes", {"DATA": b"354 go\r\n250 done\r\n", "wild": 1}, WAITS, OK),
    Case(
        "says binary things",
        {"RCPT": b"550 5.1.1 \x1b[31m\xff\x00\x07 no\tsuch user\r\n"},
        NO,
        NO,
        (0, 0),
        enhanced="5.1.1",
    ),
    Case("uses empty texts", dict.fromkeys(("MAIL", "RCPT", "EOD"), b"250\r\n"), OK, OK),
    Case("answers 251 and 252", {"RCPT": by_turns(b"251 will forward\r\n", b"252 who knows\r\n")}, OK, OK),
    # PIPELINING and other promises that are not kept.
    Case("offers PIPELINING and forgets the rest", {"MAIL": lambda s, _: _forget(s), "wild": 1}, WAITS, OK),
    Case("is slow at pipelining", {"MAIL": (Wait(3), b"250 ok\r\n"), "RCPT": (Wait(3), b"250 ok\r\n")}, OK, OK),
    Case(
        "offers SIZE and refuses the parameter",
        {"MAIL": lambda s, line: b"555 5.5.4 SIZE?\r\n" if "SIZE" in line else None},
        NO,
        NO,
        (0, 0),
    ),
    Case("has no 8BITMIME", {"offers": ()}, OK, OK, content=CONTENT + "grüße\r\n".encode()),
    Case(
        "takes only ASCII addresses",
        {"offers": OFFERS},
        NO,
        NO,
        (0, 0),
        enhanced="5.6.7",
        envelope={"sender": "jörg@example.org", "smtputf8": True},
        is_sender_unknown=True,
    ),
    Case("does not know DSN", {"offers": OFFERS}, OK, OK, envelope={"notify": frozenset({Notify.SUCCESS})}),
    Case(
        "offers DSN and refuses it",
        {"offers": (*OFFERS, "DSN"), "RCPT": lambda s, line: b"555 5.5.4 NOTIFY?\r\n" if "NOTIFY" in line else None},
        NO,
        NO,
        (0, 0),
        envelope={"notify": frozenset({Notify.SUCCESS, Notify.FAILURE})},
    ),
    Case("offers CHUNKING and cannot do it", {"offers": (*OFFERS, "CHUNKING"), "BDAT": b"500 what?\r\n"}, OK, OK),
    # STARTTLS.
    Case("offers STARTTLS and does it", {"offers": TLS}, OK, OK),
    Case("offers STARTTLS and has none", {"offers": TLS, "STARTTLS": b"454 4.7.0 not now\r\n"}, OK, OK),
    Case("refuses STARTTLS for good", {"offers": TLS, "STARTTLS": b"501 5.5.1 no\r\n"}, OK, OK),
    Case("fails the handshake", {"offers": TLS, "handshakes": [False]}, OK, OK),
    Case("always fails the handshake", {"offers": TLS, "handshakes": [False] * 50}, OK, OK),
    Case("is silent in the handshake", {"offers": TLS, "handshakes": [None]}, OK, OK),
    Case("closes at STARTTLS", {"offers": TLS, "STARTTLS": CLOSE, "wild": 1}, OK, OK),
    Case("glues replies to STARTTLS", {"offers": TLS, "STARTTLS": b"220 go\r\n250 injected\r\n", "wild": 1}, OK, OK),
    Case(
        "wants TLS and cannot do it",
        {
            "offers": TLS,
            "STARTTLS": b"454 4.7.0 no\r\n",
            "MAIL": b"530 5.7.0 Must issue a STARTTLS command first\r\n",
            "wild": 2,
        },
        WAITS,
        OK,
    ),
    # Another host of the domain helps, or must not be asked.
    Case("has a friend that works", {"BANNER": BAD_421}, OK, OK, second={}),
    Case("is tired in the middle, and has a friend", {"RCPT": BAD_421}, OK, OK, second={}),
    Case("breaks after the dot, and has a friend", {"EOD": RESET, "wild": 1}, WAITS, OK, second={}),
    Case("refuses, whatever its friend would say", {"RCPT": b"550 5.1.1 no\r\n"}, NO, NO, (0, 0), second={}),
]


def _forget(session):
    session._input = b""
    return b"250 ok\r\n"


class ZooOffice(Office):
    """The office whose way out is the real one, to one or two beasts."""

    def __init__(self, state, case):
        super().__init__(state)
        beast = dict(case.beast)
        self.beasts = [Beast(**beast)] + ([] if case.second is None else [Beast(**case.second)])
        dialer = BeastDialer(self.clock, dict(zip((ONE, TWO), self.beasts, strict=False)))
        self.first, self.last, self.enhanced = {}, {}, set()
        self.transmitter = MxTransmitter(
            Outward("us.example"),
            resolver=_Zone(len(self.beasts)),
            dialer=dialer,
            converse=lambda stream, hop: SmtpClientSession(stream, hop, clock=self.clock),
            blocking=self.blocking,
            clock=self.clock,
            rng=random.Random(1),
        )
        self.restart()

    def hear(self, addresses):
        """What was told first and last of each; who has an end has no other."""
        for event in self.events:
            if event.word in (OK, WAITS, NO) and event.recipient in addresses:
                assert self.last.get(event.recipient) in (None, WAITS), f"{event.recipient} has two ends"
                self.first.setdefault(event.recipient, event.word)
                self.last[event.recipient] = event.word
                if event.word == NO:
                    self.enhanced.add(event.enhanced)

    def copies(self, name):
        return sum(f"<{name}>" in mail.recipients for beast in self.beasts for mail in beast.taken)


class _Zone:
    def __init__(self, hosts):
        self._hosts = hosts

    async def mx(self, domain):
        return tuple(MxRecord(10 * n, f"mx{n}.{domain}") for n in range(1, self._hosts + 1))

    async def addresses(self, host, *, ipv4=True, ipv6=True):
        return (ip_address(ONE if host.startswith("mx1.") else TWO),)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_zoo(tmp_path, case):
    office = ZooOffice(tmp_path, case)
    addresses = ("a@zoo.example", "b@zoo.example")
    about = dict(case.envelope)
    notify = about.pop("notify", None)
    to = [Recipient(box(one), notify=notify) if notify else Recipient(box(one)) for one in addresses]
    office.put(*to, content=case.content, **about)
    office.settle()
    for _ in range(60 * 6):
        office.advance(60)
    office.hear(addresses)
    assert (pair(office.first, addresses), pair(office.last, addresses)) == (both(case.first), both(case.last))
    assert tuple(office.copies(one) for one in addresses) == case.copies
    assert all(
        mail.content == (case.content if mail.recipients else b"") for beast in office.beasts for mail in beast.taken
    )
    if case.enhanced:
        assert office.enhanced == {case.enhanced}
    # Nothing is lost: what has no end yet is on disk; and who is told of a failure is told once.
    assert bool([one for one in both(case.last) if one == WAITS]) == bool(office.on_disk())
    failures = [content for box_, content in office.mailboxes.filed if b"Action: failed" in content]
    assert len(failures) == (NO in both(case.last) and not case.is_sender_unknown)
    assert office.failures == []
    assert all(stream.is_over for beast in office.beasts for stream in beast.streams), "no connection is left open"


def pair(told, addresses):
    return tuple(told.get(one) for one in addresses)


def both(what):
    return what if isinstance(what, tuple) else (what, what)


def test_the_zoo_is_large_enough():
    assert len({case.name for case in CASES}) == len(CASES) >= 90
