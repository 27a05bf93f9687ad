"""One attempt over a memory network: which host is tried when, and what is final."""

import random
from ipaddress import ip_address

import pytest
from twisted.internet.defer import CancelledError

from mailserver.mail.address import Mailbox
from mailserver.mail.dns import CannotTell
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Stage
from mailserver.mail.route import AddressFamily, FixedRoute, Login, MxRoute, SmarthostRoute, SmarthostTls
from mailserver.maillog import Ipv4First, LookedUp, SentInClear, Talked, TlsMissing, Tried
from mailserver.ports import Lane, StoredContent, TlsRequirement
from mailserver.relay.attempt import AttemptLimits, MxTransmitter, Outward
from mailserver.relay.mx import MxRules
from mailserver.session.smtp_client import SmtpClientSession
from tests.fakes.awaiting import run, start
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock
from tests.fakes.network import MemoryDialer, MemoryResolver
from tests.fakes.sink import Told
from tests.fakes.stream import BREAK, EOF, SILENCE, TLS_BROKEN, TLS_OK, C

A, B = (Recipient(Mailbox(name, "example.net")) for name in "ab")
ENVELOPE = Envelope(Mailbox("s", "example.org"), (A,))
TWO = ENVELOPE.with_recipients([A, B])
ROUTE = MxRoute("example.net")
ONE, OTHER = "198.51.100.1", "198.51.100.2"
DNS = {
    "mx": {"example.net": [(10, "mx1.test"), (20, "mx2.test")]},
    "addresses": {"mx1.test": [ONE], "mx2.test": [OTHER]},
}
MAIL = b"MAIL FROM:<s@example.org>\r\n"
TO_A, TO_B, DATA = b"RCPT TO:<a@example.net>\r\n", b"RCPT TO:<b@example.net>\r\n", b"DATA\r\n"
WIRE = b"Subject: x\r\n\r\nhello\r\n.\r\n"
HELLO = (b"220 hi\r\n", C(b"EHLO us.example\r\n"), b"250-mx\r\n250 PIPELINING\r\n")
TLS_HELLO = (b"220 hi\r\n", C(b"EHLO us.example\r\n"), b"250-mx\r\n250-STARTTLS\r\n250 PIPELINING\r\n",
             C(b"STARTTLS\r\n"), b"220 go\r\n")  # fmt: skip
TAKE = (C(MAIL + TO_A + DATA), b"250\r\n250\r\n354\r\n", C(WIRE), b"250 2.0.0 taken\r\n")
GOOD = (*HELLO, *TAKE)


class MemoryHistory:
    def __init__(self):
        self.hosts = {}

    def tls(self, host):
        return self.hosts.get(host)

    def remember_tls(self, host, seen):
        self.hosts[host] = seen


class World:
    """A transmitter over fakes, and what it did."""

    def __init__(self, tmp_path, hosts=None, dns=None, rules=None, **limits):
        path = tmp_path / "queued"
        path.write_bytes(b"envelope\nSubject: x\r\n\r\nhello\r\n")
        self.content = StoredContent(path, 9, path.stat().st_size - 9)
        self.clock = FakeClock()
        self.resolver = MemoryResolver(**(dns or DNS))
        self.dialer = MemoryDialer(hosts)
        self.blocking = DirectBlocking()
        self.events = Told()
        limits = {"keep_s": 0.0} | limits
        self.transmitter = MxTransmitter(
            Outward("us.example", 25, rules or MxRules(), AttemptLimits(**limits)),
            resolver=self.resolver,
            dialer=self.dialer,
            converse=lambda stream, hop: SmtpClientSession(stream, hop, clock=self.clock),
            blocking=self.blocking,
            clock=self.clock,
            rng=random.Random(1),
            sink=self.events.tell,
            history=MemoryHistory(),
        )

    def send(self, route=ROUTE, envelope=ENVELOPE):
        return run(self.transmitter.send(route, envelope, self.content))

    @property
    def dialed(self):
        return [address for address, _ in self.dialer.dialed]


@pytest.fixture
def world(tmp_path):
    return lambda hosts=None, **kind: World(tmp_path, hosts, **kind)


def test_the_best_host_gets_the_message(world):
    here = world({ONE: [GOOD]})
    assert isinstance(here.send()[A], Delivered)
    assert here.dialer.dialed == [(ONE, 25)]
    assert here.dialer.streams[0].written.endswith(b"QUIT\r\n")


@pytest.mark.parametrize(
    "first",
    [
        "no connection within 30 s",
        (b"421 busy\r\n",),
        (b"450 later\r\n",),
        (b"554 no mail from you\r\n",),
        (EOF,),
        (BREAK,),
        (b"nonsense\r\n",),
        (b"220 hi\r\n", b"421 bye\r\n"),
        (b"220 hi\r\n", b"554 bye\r\n"),
        (b"220 hi\r\n", EOF),
        (*HELLO, EOF),
        (*HELLO, b"421 bye\r\n"),
        (*HELLO, b"451 disk full\r\n503\r\n503\r\n"),
        (*HELLO, b"250\r\n", BREAK),
        (*HELLO, b"250\r\n421 bye\r\n"),
        (*HELLO, b"250\r\n250\r\n", EOF),
        (*HELLO, b"250\r\n250\r\n421 bye\r\n"),
    ],
)
def test_trouble_with_a_host_leads_to_the_next(world, first):
    here = world({ONE: [first], OTHER: [GOOD]})
    outcome = here.send()[A]
    assert isinstance(outcome, Delivered) and outcome.host == f"mx2.test[{OTHER}]"
    assert here.dialed == [ONE, OTHER]


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ((*HELLO, b"550 no\r\n503\r\n503\r\n"), Bounced),
        ((*HELLO, b"250\r\n550 5.1.1 unknown\r\n503\r\n"), Bounced),
        ((*HELLO, b"250\r\n450 4.2.0 greylisted\r\n503\r\n"), Deferred),
        ((*HELLO, b"250\r\n250\r\n451 later\r\n"), Deferred),
        ((*HELLO, b"250\r\n250\r\n554 no\r\n"), Bounced),
        ((*HELLO, *TAKE[:3], b"451 later\r\n"), Deferred),
        ((*HELLO, *TAKE[:3], b"554 spam\r\n"), Bounced),
        # After the final dot nobody else is asked: it may have been taken.
        ((*HELLO, *TAKE[:3], BREAK), Deferred),
        ((*HELLO, *TAKE[:3], b"421 bye\r\n"), Deferred),
    ],
)
def test_an_answer_about_the_message_is_not_taken_to_another_host(world, first, kind):
    here = world({ONE: [first], OTHER: [GOOD]})
    assert isinstance(here.send()[A], kind)
    assert here.dialed == [ONE]


def test_when_every_host_is_down_the_words_of_one_outlast_the_silence_of_another(world):
    here = world({ONE: [(b"421 4.7.0 too many connections\r\n",)]})
    outcome = here.send()[A]
    assert isinstance(outcome, Deferred)
    assert here.dialed == [ONE, OTHER]
    assert outcome.reply.lines == ("too many connections",) and outcome.host == f"mx1.test[{ONE}]"


def test_one_recipient_may_be_done_and_the_other_go_on_elsewhere(world):
    first = (*HELLO, C(MAIL + TO_A + TO_B + DATA), b"250\r\n550 5.1.1 no\r\n421 bye\r\n")
    second = (*HELLO, C(MAIL + TO_B + DATA), b"250\r\n250\r\n354\r\n", C(WIRE), b"250 ok\r\n")
    outcomes = world({ONE: [first], OTHER: [second]}).send(envelope=TWO)
    assert isinstance(outcomes[A], Bounced) and isinstance(outcomes[B], Delivered)


def test_a_host_that_wants_a_connection_for_each_message_gets_one(world):
    """RFC 9422."""
    hello = (*HELLO[:2], b"250-mx\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=1 RCPTMAX=1\r\n")
    first = (*hello, *TAKE)
    second = (*hello, C(MAIL + TO_B + DATA), b"250\r\n250\r\n354\r\n", C(WIRE), b"250 ok\r\n")
    here = world({ONE: [first, second]})
    outcomes = here.send(envelope=TWO)
    assert isinstance(outcomes[A], Delivered) and isinstance(outcomes[B], Delivered)
    assert here.dialed == [ONE, ONE]


# --- DNS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dns", "kind", "enhanced"),
    [
        ({}, Bounced, "5.1.2"),
        ({"mx": {"example.net": [(0, "")]}}, Bounced, "5.1.10"),
        ({"mx": {"example.net": CannotTell("SERVFAIL")}, "addresses": {"example.net": [ONE]}}, Deferred, None),
        ({"mx": {"example.net": [(1, "us.example")]}, "addresses": {"us.example": [ONE]}}, Bounced, "5.4.6"),
        ({"mx": {"example.net": [(1, "mx.test")]}}, Bounced, "5.4.4"),
        ({"mx": {"example.net": [(1, "mx.test")]}, "addresses": {"mx.test": ["127.0.0.1"]}}, Bounced, "5.4.4"),
    ],
)
def test_what_dns_decides_is_told_for_every_recipient(world, dns, kind, enhanced):
    here = world(dns=dns or {"mx": {}}, rules=MxRules(own_names=frozenset({"us.example"})))
    outcomes = here.send(envelope=TWO)
    assert set(outcomes) == {A, B}
    assert all(isinstance(outcome, kind) and outcome.stage is Stage.DNS for outcome in outcomes.values())
    assert {getattr(outcome, "enhanced", None) for outcome in outcomes.values()} == {enhanced}
    assert not here.dialed


def test_a_domain_without_mx_is_its_own_host(world):
    here = world({ONE: [GOOD]}, dns={"addresses": {"example.net": [ONE]}})
    assert isinstance(here.send()[A], Delivered)


def test_an_address_literal_asks_no_dns(world):
    here = world({ONE: [GOOD]})
    assert isinstance(here.send(MxRoute(f"[{ONE}]"))[A], Delivered)
    assert not here.resolver.questions


def test_ipv6_that_is_cut_off_costs_one_try(world):
    dns = {"mx": {"example.net": [(10, "mx1.test")]}, "addresses": {"mx1.test": [ONE, "2001:db8::1"]}}
    here = world({"2001:db8::1": ["there is no route to the host"], ONE: [GOOD]}, dns=dns)
    assert isinstance(here.send()[A], Delivered)
    assert here.dialed == ["2001:db8::1", ONE]


# --- fixed routes and the smarthost -----------------------------------------------------------------------------------


def test_a_fixed_route_asks_no_mx_and_may_be_private(world):
    here = world({"127.0.0.1": [GOOD]}, rules=MxRules(own_addresses=frozenset({ip_address("127.0.0.1")})))
    assert isinstance(here.send(FixedRoute("127.0.0.1", 2525))[A], Delivered)
    assert here.dialer.dialed == [("127.0.0.1", 2525)] and not here.resolver.questions


def test_a_fixed_name_is_looked_up_and_else_dialed_as_it_is(world):
    here = world({"127.0.0.2": [GOOD]}, dns={"addresses": {"relay.test": ["127.0.0.2"]}})
    assert isinstance(here.send(FixedRoute("relay.test", 2525))[A], Delivered)
    here = world({"localhost": [GOOD], "other.test": [GOOD]})
    assert isinstance(here.send(FixedRoute("localhost", 2525))[A], Delivered)
    assert not here.resolver.questions
    assert isinstance(here.send(FixedRoute("other.test", 2525))[A], Delivered)


SMARTHOST_DNS = {"addresses": {"smtp.isp.test": ["198.51.100.9"]}}
AUTH = (C(b"EHLO us.example\r\n"), b"250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n", C(b"AUTH PLAIN AHUAcA==\r\n"))


def test_a_smarthost_is_verified_and_gets_the_password_only_over_tls(world, tmp_path):
    route = SmarthostRoute("smtp.isp.test", 587, SmarthostTls.STARTTLS, Login("u", "p"), tmp_path / "ca.pem")
    here = world({"198.51.100.9": [(*TLS_HELLO, TLS_OK, *AUTH, b"235 ok\r\n", *TAKE)]}, dns=SMARTHOST_DNS)
    outcome = here.send(route)[A]
    assert isinstance(outcome, Delivered) and outcome.tls == "TLSv1.3"
    wanted = TlsRequirement("smtp.isp.test", "smtp.isp.test", tmp_path / "ca.pem")
    assert here.dialer.streams[0].requirements == [wanted]
    assert here.dialer.dialed == [("198.51.100.9", 587)]


def test_implicit_tls_to_a_smarthost(world):
    route = SmarthostRoute("smtp.isp.test", 465, SmarthostTls.TLS, Login("u", "p"))
    here = world({"198.51.100.9": [(TLS_OK, b"220 hi\r\n", *AUTH, b"235 ok\r\n", *TAKE)]}, dns=SMARTHOST_DNS)
    assert isinstance(here.send(route)[A], Delivered)


@pytest.mark.parametrize(
    "script",
    [
        (*HELLO,),  # offers no STARTTLS: somebody may be stripping it
        (*TLS_HELLO, TLS_BROKEN),
        (*TLS_HELLO, TLS_OK, *AUTH, b"535 5.7.8 wrong password\r\n"),
    ],
)
def test_a_smarthost_that_cannot_be_used_bounces_nothing_and_is_never_spoken_to_in_clear(world, script):
    route = SmarthostRoute("smtp.isp.test", 587, SmarthostTls.STARTTLS, Login("u", "p"))
    here = world({"198.51.100.9": [script, GOOD]}, dns=SMARTHOST_DNS)
    assert isinstance(here.send(route)[A], Deferred)
    assert len(here.dialed) == 1
    assert all(b"MAIL" not in stream.written for stream in here.dialer.streams)


IN = (*TLS_HELLO, TLS_OK, C(b"EHLO us.example\r\n"), b"250-mx\r\n250 PIPELINING\r\n")


@pytest.mark.parametrize(
    "script",
    [
        (*IN, C(MAIL + TO_A + DATA), b"530 5.7.0 Authentication required\r\n503\r\n503\r\n"),
        (*IN, C(MAIL + TO_A + DATA), b"250\r\n530 5.7.0 Authentication required\r\n503\r\n"),
        (*IN, C(MAIL + TO_A + DATA), b"535 5.7.1 log in first\r\n503\r\n503\r\n"),
    ],
)
def test_a_smarthost_that_wants_a_login_we_do_not_have_bounces_nothing(world, script):
    """The operator forgot `smarthost_username`: nobody's mail may come back for that."""
    route = SmarthostRoute("smtp.isp.test", 587, SmarthostTls.STARTTLS)
    here = world({"198.51.100.9": [script]}, dns=SMARTHOST_DNS)
    outcome = here.send(route)[A]
    assert isinstance(outcome, Deferred) and outcome.stage is Stage.AUTH
    assert [event.word for event in here.events] == ["trouble"]


def test_a_smarthost_that_refuses_the_message_itself_is_believed(world):
    script = (*IN, C(MAIL + TO_A + DATA), b"250\r\n550 5.1.1 no such user\r\n503\r\n")
    here = world({"198.51.100.9": [script]}, dns=SMARTHOST_DNS)
    assert isinstance(here.send(SmarthostRoute("smtp.isp.test", 587, SmarthostTls.STARTTLS))[A], Bounced)
    assert here.events == []


def test_a_smarthost_that_does_not_let_us_in_is_told_once_in_words_that_name_the_keys(world):
    route = SmarthostRoute("smtp.isp.test", 587, SmarthostTls.STARTTLS, Login("u", "p"))
    wrong = (*TLS_HELLO, TLS_OK, *AUTH, b"535 5.7.8 wrong password\r\n")
    good = (*TLS_HELLO, TLS_OK, *AUTH, b"235 ok\r\n", *TAKE)
    here = world({"198.51.100.9": [wrong, wrong, (*TLS_HELLO, TLS_BROKEN), good, wrong]}, dns=SMARTHOST_DNS)
    for _ in range(5):
        here.send(route)
    lines = [event.line() for event in here.events]
    assert len(lines) == 3, "the password, the certificate, and the password again after it worked"
    assert "smtp.isp.test:587 does not let us in" in lines[0] and "535 5.7.8 wrong password" in lines[0]
    assert "smarthost_password_file" in lines[0] and "queue retry --all" in lines[0]
    assert "smarthost_ca_file" in lines[1]
    assert lines[2] == lines[0]
    assert all(event.is_trouble for event in here.events)


@pytest.mark.parametrize(("host", "is_said"), [("127.0.0.1", True), ("localhost", True), ("198.51.100.9", False)])
def test_a_password_in_clear_goes_to_this_machine_only(world, host, is_said):
    route = SmarthostRoute(host, 587, SmarthostTls.NONE, Login("u", "p"))
    here = world({host: [(b"220 hi\r\n", *AUTH[: 3 if is_said else 2], b"235 ok\r\n", *TAKE)]})
    assert isinstance(here.send(route)[A], Delivered) is is_said
    assert (b"AUTH PLAIN" in here.dialer.streams[0].written) is is_said


# --- TLS outward ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [(BREAK,), (EOF,), (b"220 go\r\n250 glued\r\n",), (b"421 bye\r\n",)])
def test_a_host_that_cannot_do_the_starttls_it_offers_gets_clear_text(world, trouble):
    here = world({ONE: [(*TLS_HELLO[:4], *trouble), GOOD]})
    assert isinstance(here.send()[A], Delivered)
    assert here.dialed == [ONE, ONE]


def test_a_failed_handshake_is_followed_by_clear_text_on_a_new_connection(world):
    """RFC 7435; it is told in the log."""
    here = world({ONE: [(*TLS_HELLO, TLS_BROKEN), GOOD]})
    outcome = here.send()[A]
    assert isinstance(outcome, Delivered) and outcome.tls == ""
    assert here.dialed == [ONE, ONE]
    assert here.events == [SentInClear(f"mx1.test[{ONE}]", "the TLS handshake did not succeed: no shared cipher")]


def test_a_host_that_insists_on_the_tls_that_failed_bounces_nothing(world):
    refusal = (*HELLO, b"530 5.7.0 Must issue STARTTLS first\r\n503\r\n503\r\n")
    here = world({ONE: [(*TLS_HELLO, TLS_BROKEN), refusal]})
    assert isinstance(here.send()[A], Deferred)


@pytest.mark.parametrize("answer", [b"454 4.7.0 TLS not available\r\n", b"500 what\r\n"])
def test_a_host_that_insists_on_the_starttls_it_refused_bounces_nothing(world, answer):
    refusal = (C(MAIL + TO_A + DATA), b"530 5.7.0 Must issue STARTTLS first\r\n503\r\n503\r\n")
    here = world({ONE: [(*TLS_HELLO[:4], answer, *refusal)]})
    assert isinstance(here.send()[A], Deferred)
    assert [event.word for event in here.events] == ["clear-text"]


def test_nor_does_it_bounce_what_comes_next_over_the_same_connection(world):
    refusal = (C(MAIL + TO_A + DATA), b"530 5.7.0 Must issue STARTTLS first\r\n503\r\n503\r\n")
    here = world({ONE: [(*TLS_HELLO[:4], b"454 4.7.0 not now\r\n", *refusal, *refusal)]}, keep_s=3.0)
    assert isinstance(here.send()[A], Deferred)
    assert isinstance(here.send()[A], Deferred)
    assert here.dialed[:2] == [ONE, OTHER]


def test_530_without_a_failed_handshake_is_what_it_says(world):
    here = world({ONE: [(*HELLO, b"530 5.7.0 Authentication required\r\n503\r\n503\r\n")]})
    assert isinstance(here.send()[A], Bounced)


def test_opportunistic_tls_verifies_nothing_and_names_the_mx(world):
    hello = (C(b"EHLO us.example\r\n"), b"250-mx\r\n250 PIPELINING\r\n")
    here = world({ONE: [(*TLS_HELLO, TLS_OK, *hello, *TAKE)]})
    assert here.send()[A].tls == "TLSv1.3"
    assert here.dialer.streams[0].requirements == [TlsRequirement("mx1.test")]


# --- connections that are kept ----------------------------------------------------------------------------------------


def test_the_next_message_uses_the_same_connection(world):
    here = world({ONE: [(*HELLO, *TAKE, *TAKE, C(b"QUIT\r\n"))]}, keep_s=3.0)
    assert isinstance(here.send()[A], Delivered)
    assert isinstance(here.send()[A], Delivered)
    assert here.dialed == [ONE]
    here.clock.advance(4)
    assert here.dialer.streams[0].ending == "closed" and here.dialer.streams[0].is_done


@pytest.mark.parametrize("death", [EOF, BREAK, b"421 idle too long\r\n", b"nonsense\r\n"])
def test_a_kept_connection_that_died_is_no_attempt_at_all(world, death):
    here = world({ONE: [(*HELLO, *TAKE, death), GOOD]}, keep_s=3.0)
    here.send()
    assert isinstance(here.send()[A], Delivered)
    assert here.dialed == [ONE, ONE]


def test_a_kept_connection_belongs_to_its_route(world):
    here = world({ONE: [GOOD], "127.0.0.1": [GOOD]}, keep_s=3.0)
    here.send()
    assert isinstance(here.send(FixedRoute("127.0.0.1", 25))[A], Delivered)
    assert here.dialed == [ONE, "127.0.0.1"]


def test_close_ends_what_is_kept_and_keeps_nothing_more(world):
    here = world({ONE: [GOOD, GOOD]}, keep_s=3.0)
    here.send()
    here.transmitter.close()
    assert here.dialer.streams[0].ending == "closed"
    here.send()
    assert here.dialer.streams[1].ending == "closed"


def test_the_number_of_kept_connections_is_bounded(world):
    here = world({ONE: [GOOD], "127.0.0.1": [GOOD]}, keep_s=3.0, max_idle=1)
    here.send()
    here.send(FixedRoute("127.0.0.1", 25))
    assert [stream.ending for stream in here.dialer.streams] == [None, "closed"]


# --- bounds and our own trouble ---------------------------------------------------------------------------------------


def test_an_attempt_begins_no_host_after_its_time_and_is_dropped_at_last(world):
    here = world({ONE: [(*HELLO, SILENCE)], OTHER: [GOOD]}, attempt_s=100.0, hard_s=200.0)
    results = []
    start(here.transmitter.send(ROUTE, ENVELOPE, here.content)).addCallback(results.append)
    here.clock.advance(199)
    assert not results
    here.clock.advance(2)
    assert isinstance(results[0][A], Deferred)
    assert here.dialed == [ONE]


def test_a_cancelled_attempt_leaves_no_connection_behind(world):
    here = world({ONE: [(*HELLO, SILENCE)]})
    attempt = start(here.transmitter.send(ROUTE, ENVELOPE, here.content))
    attempt.addErrback(lambda why: why.trap(CancelledError))
    attempt.cancel()
    assert here.dialer.streams[0].ending == "aborted"
    assert not here.clock.twisted.getDelayedCalls()


def test_a_tarpit_ends_in_time_and_the_next_host_is_tried(world):
    here = world({ONE: [(SILENCE,)], OTHER: [GOOD]})
    results = []
    start(here.transmitter.send(ROUTE, ENVELOPE, here.content)).addCallback(results.append)
    here.clock.advance(301)
    assert isinstance(results[0][A], Delivered)


def test_a_queue_file_that_cannot_be_read_defers_and_asks_no_further_host(world):
    here = world({ONE: [(*HELLO,)], OTHER: [GOOD]})
    here.content.path.unlink()
    outcome = here.send()[A]
    assert isinstance(outcome, Deferred) and outcome.stage is Stage.LOCAL
    assert here.dialed == [ONE]


def test_a_busy_disk_defers(world):
    here = world({ONE: [(*HELLO,)]})
    here.blocking.full.add(Lane.QUEUE)
    outcome = here.send()[A]
    assert isinstance(outcome, Deferred) and outcome.stage is Stage.LOCAL


def test_a_small_message_is_one_read_and_a_large_one_comes_in_pieces(world):
    here = world({ONE: [GOOD]})
    here.send()
    assert here.blocking.calls == {Lane.QUEUE: 1}
    body = b"x" * 998 + b"\r\n"
    large = b"Subject: x\r\n\r\n" + body * 1000
    here = world({ONE: [(*HELLO, *TAKE[:2], C(large + b".\r\n"), b"250 ok\r\n")]})
    here.content.path.write_bytes(b"envelope\n" + large)
    content = StoredContent(here.content.path, 9, len(large))
    assert isinstance(run(here.transmitter.send(ROUTE, ENVELOPE, content))[A], Delivered)
    assert 4 <= here.blocking.calls[Lane.QUEUE] <= 5


def test_no_recipient_is_nothing_to_do(world):
    assert world().send(envelope=ENVELOPE.with_recipients([])) == {}


def test_a_recipient_that_is_named_twice_gets_one_outcome(world):
    here = world({ONE: [GOOD]})
    assert list(here.send(envelope=ENVELOPE.with_recipients([A, A]))) == [A]


# --- what the journal hears -------------------------------------------------------------------------------------------


def test_the_journal_hears_of_dns_and_of_every_connection(world):
    here = world({ONE: [(b"554 5.7.1 go away\r\n",)], OTHER: [GOOD]})
    assert isinstance(run(here.transmitter.send(ROUTE, ENVELOPE, here.content, "0QUEUED"))[A], Delivered)
    mx1, mx2 = f"mx1.test[{ONE}]", f"mx2.test[{OTHER}]"
    words = "the host does not want our mail now"
    assert here.events.history == [
        LookedUp("0QUEUED", "example.net", (mx1, mx2)),
        Tried("0QUEUED", mx1, "banner", words, "554 5.7.1 go away"),
        Talked("0QUEUED", mx2),
    ]


def test_the_journal_hears_why_there_was_nobody_to_try(world):
    here = world(dns={"mx": {}})
    here.send()
    assert here.events.history == [LookedUp("", "example.net", (), "the domain example.net does not exist")]


SIX = "2001:db8::1"
NAMELESS = b"550 5.7.25 The IP address sending this message does not have a PTR record setup\r\n"


def six_and_four(*hosts):
    names = [f"mx{number}.test" for number in hosts]
    return {
        "mx": {"example.net": [(10, name) for name in names]},
        "addresses": {name: [f"2001:db8::{name[2]}", f"198.51.100.{name[2]}"] for name in names},
    }


def test_ipv6_that_leads_nowhere_is_noticed_and_told_once(world):
    dead = {f"2001:db8::{n}": ["no connection within 30 s"] * 9 for n in range(1, 5)}
    here = world({**dead, **{f"198.51.100.{n}": [GOOD] * 9 for n in range(1, 5)}})
    for number in (1, 2, 3):
        here.resolver.mx_table, here.resolver.address_table = six_and_four(number).values()
        assert isinstance(here.send()[A], Delivered)
    assert here.dialed == ["2001:db8::1", "198.51.100.1", "2001:db8::2", "198.51.100.2", "2001:db8::3", "198.51.100.3"]
    here.resolver.mx_table, here.resolver.address_table = six_and_four(4).values()
    here.send()
    assert here.dialed[6:] == ["198.51.100.4"]
    (told,) = [event for event in here.events if isinstance(event, Ipv4First)]
    assert told.for_s == 4 * 3600 and "3 hosts" in told.reason
    assert here.transmitter.ipv4_first() == (told.reason, told.for_s)
    here.clock.advance(4 * 3600 + 1)
    assert here.transmitter.ipv4_first() is None
    here.send()
    assert here.dialed[7:] == ["2001:db8::4", "198.51.100.4"]


@pytest.mark.parametrize(
    "first",
    [
        (b"554 5.7.1 no PTR record for your IPv6 address\r\n",),
        (*HELLO, NAMELESS + b"503\r\n503\r\n"),
        (*HELLO, b"250\r\n" + NAMELESS + b"503\r\n"),
        (*HELLO, *TAKE[:3], NAMELESS),
    ],
)
def test_a_refusal_for_the_missing_name_of_our_ipv6_address_is_answered_over_ipv4(world, first):
    here = world({SIX: [first], ONE: [GOOD, GOOD]}, dns=six_and_four(1), keep_s=3.0)
    assert isinstance(here.send()[A], Delivered)
    here.transmitter.close()
    assert here.dialed == [SIX, ONE]
    assert [event.for_s for event in here.events if isinstance(event, Ipv4First)] == [24 * 3600]


def test_without_ipv4_such_a_refusal_is_what_it_is(world):
    dns = {"mx": {"example.net": [(10, "mx1.test")]}, "addresses": {"mx1.test": [SIX]}}
    here = world({SIX: [(*HELLO, *TAKE[:3], NAMELESS)]}, dns=dns)
    assert isinstance(here.send()[A], Bounced)


def test_who_asked_for_a_family_gets_it(world):
    here = world({SIX: [(*HELLO, *TAKE[:3], NAMELESS)]}, dns=six_and_four(1), rules=MxRules(family=AddressFamily.IPV6))
    here.send()
    assert not [event for event in here.events if isinstance(event, Ipv4First)]


def test_a_host_that_offers_tls_no_more_is_told_once_a_day_and_in_each_outcome(world):
    secured = (*TLS_HELLO, TLS_OK, C(b"EHLO us.example\r\n"), b"250-mx\r\n250 PIPELINING\r\n", *TAKE)
    here = world({ONE: [secured, GOOD, GOOD, GOOD, secured, GOOD]})
    assert here.send()[A].tls == "TLSv1.3"
    for _ in range(2):
        assert here.send()[A].tls == "without TLS, although the host had TLSv1.3 before"
    told = [event for event in here.events if isinstance(event, TlsMissing)]
    assert told == [TlsMissing("mx1.test", "TLSv1.3")]
    here.clock.advance(86401)
    here.send()
    assert here.send()[A].tls == "TLSv1.3"
    here.clock.advance(86401)
    here.send()
    assert len([event for event in here.events if isinstance(event, TlsMissing)]) == 3
