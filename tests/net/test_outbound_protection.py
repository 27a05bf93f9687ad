"""DANE, MTA-STS and REQUIRETLS over real sockets: signed answers, real certificates, hosts that prove it or do not."""

import random
from dataclasses import replace

import pytest
import pytest_twisted
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from twisted.internet import reactor
from twisted.internet.task import deferLater

from mailserver.mail.mta_sts import NoStsPolicy, StsMode, StsPolicy
from mailserver.mail.outcome import Bounced, Delivered, Stage
from mailserver.mail.outcome import Deferred as PutOff
from mailserver.mail.route import MxRoute
from mailserver.maillog import TlsTrial, Tried
from mailserver.net.clock import ReactorClock
from mailserver.net.dialer import TcpDialer
from mailserver.net.resolver import CachingResolver
from mailserver.ports import PeerTls, StoredContent
from mailserver.relay.attempt import AttemptLimits, MxTransmitter, Outward
from mailserver.relay.mx import MxRules
from mailserver.relay.protection import ProtectionDoors
from mailserver.session.smtp_client import SmtpClientSession
from tests.fakes.blocking import DirectBlocking
from tests.fakes.dns_server import DnsServer
from tests.fakes.smtp_host import SmtpHost
from tests.net.test_outbound import ENVELOPE, A, ServerContext

ROUTE = MxRoute("example.net")
CONTENT = b"Subject: hi\r\n\r\nlook ma\r\n"
OPTIONAL = b"TLS-Required: No\r\n" + CONTENT

REQUIRETLS = ("PIPELINING", "REQUIRETLS")


class Policies:
    def __init__(self, answer):
        self.answer = answer

    async def policy(self, domain):
        return self.answer


class History:
    def __init__(self, **known):
        self.known = known

    def tls(self, host):
        return self.known.get(host.partition(".")[0])

    def remember_tls(self, host, seen):
        self.known[host.partition(".")[0]] = seen


class World:
    """One host, `mx.test`, at 127.0.0.2, and a second one, `mx2.test`, at 127.0.0.3 if a test wants it."""

    def __init__(self, tmp_path):
        self.authority = trustme.CA()
        self.issued = self.authority.issue_cert("mx.test")
        self.ca_file = tmp_path / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.path = tmp_path / "queued"
        self.events = []
        self.stops = []
        self.one = self.host("127.0.0.2")
        self.dns = DnsServer(
            {
                "example.net": {"signed": True, "MX": [[10, "mx.test"]]},
                "mx.test": {"signed": True, "A": ["127.0.0.2"]},
                "mx2.test": {"signed": True, "A": ["127.0.0.3"]},
            }
        ).start(reactor)
        self.stops.append(self.dns.stop)

    def host(self, address, port=0, offers=("PIPELINING",), issued=None):
        host = SmtpHost(reactor, interface=address, port=port, offers=offers, tls=ServerContext(issued or self.issued))
        self.stops.append(host.stop)
        return host

    def second(self, **kind):
        self.dns.zone["example.net"]["MX"].append([20, "mx2.test"])
        return self.host("127.0.0.3", self.one.port, issued=self.authority.issue_cert("mx2.test"), **kind)

    def publish(self, usage=3, certificate=None, host="mx.test", **more):
        pem = (certificate or self.issued).cert_chain_pems[0].bytes()
        digest = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()
        self.dns.zone[f"_{self.one.port}._tcp.{host}"] = {"signed": True, "TLSA": [f"{usage} 0 1 {digest}"], **more}

    async def send(self, *, dane=True, sts=None, history=None, content=CONTENT, require=False, insists=False):
        clock = ReactorClock(reactor)
        resolver = CachingResolver(reactor, clock, [("127.0.0.1", self.dns.port)])
        doors = ProtectionDoors(
            resolver if dane else None,
            None if sts is None else Policies(sts),
            history,
            insists,
            self.ca_file,
            self.one.port,
        )
        transmitter = MxTransmitter(
            Outward("us.test", self.one.port, MxRules(allow_private=True), AttemptLimits(connect_s=10, keep_s=0.0)),
            resolver=resolver,
            dialer=TcpDialer(reactor),
            converse=lambda stream, hop: SmtpClientSession(stream, hop, clock=clock),
            blocking=DirectBlocking(),
            clock=clock,
            rng=random.Random(1),
            sink=self.events.append,
            history=history,
            protection=doors,
        )
        self.stops.append(transmitter.close)
        self.path.write_bytes(content)
        envelope = replace(ENVELOPE, require_tls=require).with_recipients([A])
        return (await transmitter.send(ROUTE, envelope, StoredContent(self.path, 0, len(content))))[A]

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def world(tmp_path):
    here = World(tmp_path)
    yield here
    for stop in reversed(here.stops):
        if (stopped := stop()) is not None:
            pytest_twisted.blockon(stopped)
    pytest_twisted.blockon(deferLater(reactor, 0.02))


def policy(mode, *hosts):
    return StsPolicy(StsMode(mode), hosts or ("mx.test",), 86400)


# --- DANE -------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_dane_that_fits_lets_mail_through(world):
    world.publish()
    outcome = await world.send()
    assert isinstance(outcome, Delivered) and outcome.tls.startswith("TLSv1.")


@pytest_twisted.ensureDeferred
async def test_dane_that_does_not_fit_makes_mail_wait(world):
    world.publish(certificate=world.authority.issue_cert("mx.test"))
    outcome = await world.send()
    assert isinstance(outcome, PutOff) and outcome.stage is Stage.STARTTLS
    assert "TLSA" in outcome.reason and "DANE" in outcome.reason
    assert not world.one.messages
    # The journal has the same words.
    assert world.told(Tried)[0].reason == outcome.reason


@pytest_twisted.ensureDeferred
async def test_a_stripped_starttls_makes_mail_wait_where_dane_is_published(world):
    world.publish()
    world.one.tls = None
    outcome = await world.send()
    assert isinstance(outcome, PutOff) and "no STARTTLS" in outcome.reason and not world.one.messages


@pytest_twisted.ensureDeferred
async def test_tlsa_that_dns_cannot_tell_skips_the_host_and_the_next_one_takes_it(world):
    """RFC 7672 2.1.2."""
    world.publish(rcode="SERVFAIL")
    outcome = await world.send()
    assert isinstance(outcome, PutOff) and "DANE" in outcome.reason and not world.one.connections
    second = world.second()
    assert isinstance(await world.send(), Delivered) and second.messages


@pytest.mark.parametrize("name", ["example.net", "mx.test", "tlsa"])
@pytest_twisted.ensureDeferred
async def test_records_that_nobody_vouches_for_count_for_nothing(world, name):
    world.publish(certificate=world.authority.issue_cert("mx.test"))
    tlsa = f"_{world.one.port}._tcp.mx.test"
    del world.dns.zone[tlsa if name == "tlsa" else name]["signed"]
    assert isinstance(await world.send(), Delivered)
    asked = [question for question, kind, _ in world.dns.questions if kind == "TLSA"]
    assert bool(asked) is (name == "tlsa")


@pytest_twisted.ensureDeferred
async def test_dane_that_is_off_is_not_asked_for(world):
    world.publish(certificate=world.authority.issue_cert("mx.test"))
    assert isinstance(await world.send(dane=False), Delivered)


# --- MTA-STS ----------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_policy_that_is_met_lets_mail_through(world):
    assert isinstance(await world.send(sts=policy("enforce")), Delivered)
    assert isinstance(await world.send(sts=NoStsPolicy("no policy is published")), Delivered)


@pytest_twisted.ensureDeferred
async def test_an_enforced_policy_wants_the_name_and_the_chain(world):
    outcome = await world.send(sts=policy("enforce", "other.test"))
    assert isinstance(outcome, PutOff) and "does not name mx.test" in outcome.reason and not world.one.connections
    world.one.tls = ServerContext(trustme.CA().issue_cert("mx.test"))
    outcome = await world.send(sts=policy("enforce"))
    assert isinstance(outcome, PutOff) and "MTA-STS" in outcome.reason and not world.one.messages


@pytest_twisted.ensureDeferred
async def test_a_policy_in_testing_tells_and_lets_mail_through(world):
    assert isinstance(await world.send(sts=policy("testing")), Delivered) and not world.told(TlsTrial)
    await world.send(sts=policy("testing", "other.test"))
    world.one.tls = ServerContext(world.authority.issue_cert("elsewhere.test"))
    await world.send(sts=policy("testing"))
    world.one.tls = None
    await world.send(sts=policy("testing"))
    assert len(world.one.messages) == 4
    reasons = [event.reason for event in world.told(TlsTrial)]
    assert len(reasons) == 3 and "does not name" in reasons[0] and "not for mx.test" in reasons[1]
    assert reasons[2] == "the host did no TLS"


@pytest_twisted.ensureDeferred
async def test_the_host_that_a_policy_names_is_tried_after_one_that_it_does_not(world):
    second = world.second()
    assert isinstance(await world.send(sts=policy("enforce", "mx2.test")), Delivered)
    assert second.messages and not world.one.connections


# --- what the message says, and what the host did before --------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_tls_required_no_is_not_held_up(world):
    """RFC 8689 3, 4.2.2."""
    world.publish(certificate=world.authority.issue_cert("mx.test"))
    assert isinstance(await world.send(sts=policy("enforce", "other.test"), content=OPTIONAL), Delivered)
    world.publish(rcode="SERVFAIL")
    assert isinstance(await world.send(content=OPTIONAL), Delivered)
    # REQUIRETLS outweighs the header.
    assert not isinstance(await world.send(content=OPTIONAL, require=True), Delivered)


@pytest_twisted.ensureDeferred
async def test_requiretls_goes_to_a_proven_host_that_offers_it(world):
    world.one.offers = list(REQUIRETLS)
    assert isinstance(await world.send(require=True), Delivered)
    assert any(line.endswith("REQUIRETLS") for line in world.one.lines)
    world.publish()
    assert isinstance(await world.send(require=True), Delivered)


@pytest_twisted.ensureDeferred
async def test_requiretls_bounces_only_when_no_host_offers_it(world):
    outcome = await world.send(require=True)
    assert isinstance(outcome, Bounced) and outcome.enhanced == "5.7.30"
    second = world.second(offers=REQUIRETLS)
    assert isinstance(await world.send(require=True), Delivered) and second.messages


@pytest_twisted.ensureDeferred
async def test_requiretls_waits_where_nobody_vouches_for_the_host(world):
    del world.dns.zone["example.net"]["signed"]
    world.one.offers = list(REQUIRETLS)
    outcome = await world.send(require=True)
    assert isinstance(outcome, PutOff) and "vouches" in outcome.reason and not world.one.connections
    assert isinstance(await world.send(require=True, sts=policy("testing")), Delivered)


@pytest_twisted.ensureDeferred
async def test_a_host_that_did_tls_before_can_be_insisted_on_until_it_has_given_it_up(world):
    world.one.tls = None
    history = History(mx=PeerTls("TLSv1.3", ReactorClock(reactor).now()))
    assert isinstance(await world.send(history=history), Delivered)
    outcome = await world.send(history=history, insists=True)
    assert isinstance(outcome, PutOff) and "remembered_tls" in outcome.reason
    assert history.known["mx"].clear_since
