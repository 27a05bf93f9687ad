"""The whole way out over real sockets of loopback: name server, hosts, TLS, kept connections, and ugly peers."""

import random
import select
from ipaddress import ip_address

import pytest
import pytest_twisted
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import deferLater
from zope.interface import implementer

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.outcome import Bounced, Delivered, Stage
from mailserver.mail.outcome import Deferred as PutOff
from mailserver.mail.route import FixedRoute, Login, MxRoute, SmarthostRoute, SmarthostTls
from mailserver.net.dialer import TcpDialer
from mailserver.net.resolver import CachingResolver
from mailserver.ports import StoredContent
from mailserver.relay.attempt import AttemptLimits, MxTransmitter, Outward
from mailserver.relay.mx import MxRules
from mailserver.session.smtp_client import SmtpClientSession
from tests.fakes.awaiting import until
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock
from tests.fakes.dns_server import DnsServer
from tests.fakes.smtp_host import DROP, MUTE, SmtpHost

A, B = (Recipient(Mailbox(name, "example.net")) for name in "ab")
ENVELOPE = Envelope(Mailbox("s", "example.org"), (A, B))
ROUTE = MxRoute("example.net")
CONTENT = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n" + b"y" * 5000 + b"\r\n\xff\r\n.\r\n"


@implementer(IOpenSSLServerConnectionCreator)
class ServerContext:
    def __init__(self, certificate):
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate(x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()))
        self.context.use_privatekey(load_pem_private_key(certificate.private_key_pem.bytes(), None))

    def serverConnectionForTLS(self, protocol):
        return SSL.Connection(self.context, None)


class World:
    """Two hosts on one port, 127.0.0.2 before 127.0.0.3, a name server that names them, and a transmitter.

    Sockets are real and time is not: nothing is ever too late by itself, on the slowest machine.
    """

    def __init__(self, tmp_path):
        self.path = tmp_path / "queued"
        self.stops = []
        self.clock = FakeClock()
        self.dns = DnsServer(
            {
                "example.net": {"MX": [[10, "mx1.test"], [20, "mx2.test"]]},
                "mx1.test": {"A": ["127.0.0.2"]},
                "mx2.test": {"A": ["127.0.0.3"]},
            }
        ).start(reactor)
        self.stops.append(self.dns.stop)

    def host(self, **kind):
        host = SmtpHost(reactor, **kind)
        self.stops.append(host.stop)
        return host

    def hosts(self, first=None, second=None):
        one = self.host(interface="127.0.0.2", **(first or {}))
        return one, self.host(interface="127.0.0.3", port=one.port, **(second or {}))

    def transmitter(self, port=25, keep_s=0.0):
        transmitter = MxTransmitter(
            Outward("us.test", port, MxRules(allow_private=True), AttemptLimits(connect_s=10, keep_s=keep_s)),
            resolver=CachingResolver(reactor, self.clock, [("127.0.0.1", self.dns.port)]),
            dialer=TcpDialer(reactor),
            converse=lambda stream, hop: SmtpClientSession(stream, hop, clock=self.clock),
            blocking=DirectBlocking(),
            clock=self.clock,
            rng=random.Random(1),
        )
        self.stops.append(transmitter.close)
        return transmitter

    async def send(self, one, two):
        """A message on its way to `one` and perhaps `two`; where a host keeps silent, time passes until it is given up.

        A deadline has come when the connection is gone or the next host has been called.
        """
        sending = Deferred.fromCoroutine(self.transmitter(one.port).send(ROUTE, ENVELOPE, self.content()))
        if one.is_to_be_mute:
            await until(lambda: one.is_mute)
            await until(lambda: sending.called or two.connections, lambda: self.clock.advance(100.0))
        return await sending

    def content(self, octets=CONTENT):
        self.path.write_bytes(b"first part\n" + octets)
        return StoredContent(self.path, 11, len(octets))


@pytest.fixture
def world(tmp_path):
    here = World(tmp_path)
    yield here
    for stop in reversed(here.stops):
        if (stopped := stop()) is not None:
            pytest_twisted.blockon(stopped)
    pytest_twisted.blockon(deferLater(reactor, 0.02))


def kinds(outcomes):
    return [type(outcomes[who]) for who in (A, B)]


@pytest_twisted.ensureDeferred
async def test_what_arrives_is_what_was_queued_octet_for_octet(world):
    one, two = world.hosts()
    outcomes = await world.transmitter(one.port).send(ROUTE, ENVELOPE, world.content())
    assert kinds(outcomes) == [Delivered, Delivered]
    assert outcomes[A].host == "mx1.test[127.0.0.2]"
    assert [m.content for m in one.messages] == [CONTENT]
    assert one.messages[0].recipients == ["<a@example.net>", "<b@example.net>"]
    assert not two.connections


@pytest_twisted.ensureDeferred
async def test_a_large_message_arrives_whole(world):
    one, _ = world.hosts()
    octets = b"Subject: large\r\n\r\n" + (b"." + b"z" * 900 + b"\r\n") * 10_000
    outcomes = await world.transmitter(one.port).send(ROUTE, ENVELOPE, world.content(octets))
    assert kinds(outcomes) == [Delivered, Delivered]
    assert one.messages[0].content == octets


@pytest.mark.parametrize("is_known", [True, False])
@pytest_twisted.ensureDeferred
async def test_opportunistic_tls_works_with_any_certificate(world, is_known):
    tls = ServerContext(trustme.CA().issue_cert("mx1.test" if is_known else "other.test"))
    one, _ = world.hosts({"tls": tls})
    outcomes = await world.transmitter(one.port).send(ROUTE, ENVELOPE, world.content())
    assert kinds(outcomes) == [Delivered, Delivered]
    assert outcomes[A].tls == "TLSv1.3" and one.messages[0].is_tls
    assert one.messages[0].content == CONTENT


@pytest_twisted.ensureDeferred
async def test_a_host_whose_tls_is_broken_gets_the_message_in_clear(world):
    @implementer(IOpenSSLServerConnectionCreator)
    class Broken(ServerContext):
        def __init__(self):
            self.context = SSL.Context(SSL.TLS_SERVER_METHOD)  # no certificate: no shared cipher

    one, _ = world.hosts({"tls": Broken()})
    outcomes = await world.transmitter(one.port).send(ROUTE, ENVELOPE, world.content())
    assert kinds(outcomes) == [Delivered, Delivered]
    assert outcomes[A].tls == "" and len(one.connections) == 2


@pytest_twisted.ensureDeferred
async def test_a_smarthost_is_verified_and_logged_in_to(world, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    host = world.host(tls=ServerContext(authority.issue_cert("localhost")), login=("user", "secret"))
    login = Login("user", "secret")
    transmitter, content = world.transmitter(), world.content()
    route = SmarthostRoute("localhost", host.port, SmarthostTls.STARTTLS, login, tmp_path / "ca.pem")
    assert kinds(await transmitter.send(route, ENVELOPE, content)) == [Delivered, Delivered]
    assert host.messages[0].is_tls
    # The system's authorities do not know this one; a wrong password is not final either.
    for wrong in (
        SmarthostRoute("localhost", host.port, SmarthostTls.STARTTLS, login),
        SmarthostRoute("127.0.0.1", host.port, SmarthostTls.STARTTLS, login, tmp_path / "ca.pem"),
        SmarthostRoute("localhost", host.port, SmarthostTls.STARTTLS, Login("user", "x"), tmp_path / "ca.pem"),
    ):
        assert kinds(await transmitter.send(wrong, ENVELOPE, content)) == [PutOff, PutOff]
    assert len(host.messages) == 1


@pytest_twisted.ensureDeferred
async def test_implicit_tls_to_a_smarthost(world, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    host = world.host(tls=ServerContext(authority.issue_cert("127.0.0.1")), implicit=True)
    route = SmarthostRoute("127.0.0.1", host.port, SmarthostTls.TLS, None, tmp_path / "ca.pem")
    outcomes = await world.transmitter().send(route, ENVELOPE, world.content())
    assert kinds(outcomes) == [Delivered, Delivered] and host.messages[0].is_tls


@pytest_twisted.ensureDeferred
async def test_one_connection_serves_many_messages_and_is_closed_after_a_while(world):
    one, _ = world.hosts()
    transmitter, content = world.transmitter(one.port, keep_s=30.0), world.content()
    for _ in range(5):
        assert kinds(await transmitter.send(ROUTE, ENVELOPE, content)) == [Delivered, Delivered]
    assert len(one.connections) == 1 and len(one.messages) == 5
    world.clock.advance(31)
    await until(lambda: one.lines[-1] == "QUIT")


@pytest_twisted.ensureDeferred
async def test_a_kept_connection_that_the_host_closed_is_replaced(world):
    one, _ = world.hosts()
    transmitter, content = world.transmitter(one.port, keep_s=5.0), world.content()
    await transmitter.send(ROUTE, ENVELOPE, content)
    one.connections[0].transport.write(b"421 4.4.2 idle too long\r\n")
    one.connections[0].transport.loseConnection()
    await until(lambda: one.connections[0].is_lost)
    assert kinds(await transmitter.send(ROUTE, ENVELOPE, content)) == [Delivered, Delivered]
    assert len(one.connections) == 2


@pytest_twisted.ensureDeferred
async def test_messages_side_by_side_use_connections_of_their_own(world):
    one, _ = world.hosts()
    transmitter, content = world.transmitter(one.port, keep_s=30.0), world.content()
    sent = [Deferred.fromCoroutine(transmitter.send(ROUTE, ENVELOPE, content)) for _ in range(8)]
    assert all(kinds(outcomes) == [Delivered, Delivered] for outcomes in await gatherResults(sent))
    assert len(one.connections) == 8


ENDLESS = b"250-more\r\n" * 50_000
ELSEWHERE = {
    "refuses": {"BANNER": b"554 5.7.1 not you\r\n"},
    "busy": {"BANNER": b"421 4.7.0 busy\r\n"},
    "drops at once": {"BANNER": DROP},
    "tarpit": {"BANNER": MUTE},
    "is no mail server": {"BANNER": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
    "greets without end": {"BANNER": b"220-" + b"x" * 3_000_000},
    "drops at EHLO": {"EHLO": DROP},
    "mute at EHLO": {"EHLO": MUTE},
    "never ends EHLO": {"EHLO": ENDLESS},
    "closes at EHLO": {"EHLO": b"421 bye\r\n"},
    "drops at MAIL": {"MAIL": DROP},
    "mute at MAIL": {"MAIL": MUTE},
    "full at MAIL": {"MAIL": b"452 4.3.1 full\r\n"},
    "nonsense at MAIL": {"MAIL": b"ok\r\n"},
    "drops at RCPT": {"RCPT": DROP},
    "mute at RCPT": {"RCPT": MUTE},
    "421 at RCPT": {"RCPT": b"421 4.3.2 going down\r\n"},
    "contradicts itself at RCPT": {"RCPT": b"250-yes\r\n550 no\r\n"},
    "drops at DATA": {"DATA": DROP},
    "mute at DATA": {"DATA": MUTE},
    "421 at DATA": {"DATA": b"421 bye\r\n"},
}


@pytest.mark.parametrize("answers", ELSEWHERE.values(), ids=ELSEWHERE.keys())
@pytest_twisted.ensureDeferred
async def test_a_host_in_trouble_costs_nothing_because_there_is_another(world, answers):
    one, two = world.hosts({"answers": answers})
    outcomes = await world.send(one, two)
    assert kinds(outcomes) == [Delivered, Delivered]
    assert not one.messages and [message.content for message in two.messages] == [CONTENT]


HERE = {
    "drops behind the dot": ({"EOD": DROP}, PutOff, Stage.EOD),
    "mute behind the dot": ({"EOD": MUTE}, PutOff, Stage.EOD),
    "421 behind the dot": ({"EOD": b"421 bye\r\n"}, PutOff, Stage.EOD),
    "greylists": ({"RCPT": b"450 4.7.1 later\r\n"}, PutOff, Stage.RCPT),
    "has no such user": ({"RCPT": b"550 5.1.1 no\r\n"}, Bounced, Stage.RCPT),
    "does not like the sender": ({"MAIL": b"550 5.7.1 no\r\n"}, Bounced, Stage.MAIL),
    "does not like the content": ({"EOD": b"554-5.7.1 this\r\n554 5.7.1 is spam\r\n"}, Bounced, Stage.EOD),
    "takes DATA from nobody": ({"RCPT": b"550 5.1.1 no\r\n", "EOD": b"554 5.5.1 nobody\r\n"}, Bounced, Stage.RCPT),
    "gives a strange answer to DATA": ({"DATA": b"250 ok\r\n"}, PutOff, Stage.DATA),
}


@pytest.mark.parametrize(("answers", "kind", "stage"), HERE.values(), ids=HERE.keys())
@pytest_twisted.ensureDeferred
async def test_what_a_host_says_of_a_message_stands(world, answers, kind, stage):
    one, two = world.hosts({"answers": answers})
    outcomes = await world.send(one, two)
    assert kinds(outcomes) == [kind, kind]
    assert outcomes[A].stage is stage
    assert not two.connections


@pytest_twisted.ensureDeferred
async def test_helo_only_hosts_get_mail_too(world):
    one, _ = world.hosts({"answers": {"EHLO": b"500 what\r\n"}, "offers": ()})
    outcomes = await world.transmitter(one.port).send(ROUTE, ENVELOPE, world.content())
    assert kinds(outcomes) == [Delivered, Delivered]
    assert one.lines[1] == "HELO us.test"


@pytest_twisted.ensureDeferred
async def test_too_many_recipients_are_continued_on_the_same_connection(world):
    answers = {"RCPT": [b"250 ok\r\n", b"452 4.5.3 one at a time\r\n"]}
    one, _ = world.hosts({"answers": answers})
    outcomes = await world.transmitter(one.port).send(ROUTE, ENVELOPE, world.content())
    assert kinds(outcomes) == [Delivered, Delivered]
    assert [message.recipients for message in one.messages] == [["<a@example.net>"], ["<b@example.net>"]]
    assert len(one.connections) == 1


@pytest_twisted.ensureDeferred
async def test_a_host_that_stops_reading_is_given_up(world):
    one, two = world.hosts()
    content = world.content(b"Subject: x\r\n\r\n" + b"y" * 998 * 20_000 + b"\r\n")
    sending = Deferred.fromCoroutine(world.transmitter(one.port).send(ROUTE, ENVELOPE, content))
    await until(lambda: one.lines[-1:] == ["DATA"])
    one.connections[0].transport.pauseProducing()
    # The content has begun to arrive, and the whole of it fits into no buffer.
    await until(lambda: select.select([one.connections[0].transport], (), (), 0)[0])
    await until(lambda: two.connections, lambda: world.clock.advance(4.0))
    outcomes = await sending
    # No final dot was said, so the other host may have it.
    assert kinds(outcomes) == [Delivered, Delivered]
    assert not one.messages and len(two.messages) == 1


@pytest_twisted.ensureDeferred
async def test_dns_trouble_defers_and_a_name_that_is_not_there_bounces(world):
    transmitter, content = world.transmitter(1), world.content()
    world.dns.zone["example.net"] = {"rcode": "SERVFAIL"}
    outcomes = await transmitter.send(ROUTE, ENVELOPE, content)
    assert kinds(outcomes) == [PutOff, PutOff] and outcomes[A].stage is Stage.DNS
    del world.dns.zone["example.net"]
    outcomes = await transmitter.send(ROUTE, ENVELOPE, content)
    assert kinds(outcomes) == [Bounced, Bounced] and outcomes[A].enhanced == "5.1.2"
    world.dns.zone["example.net"] = {"MX": [[0, "."]]}
    assert (await transmitter.send(ROUTE, ENVELOPE, content))[A].enhanced == "5.1.10"


@pytest_twisted.ensureDeferred
async def test_a_fixed_route_reaches_a_host_by_address(world):
    host = world.host()
    outcomes = await world.transmitter().send(FixedRoute("127.0.0.1", host.port), ENVELOPE, world.content())
    assert kinds(outcomes) == [Delivered, Delivered]
    assert outcomes[A].host == str(ip_address("127.0.0.1"))
