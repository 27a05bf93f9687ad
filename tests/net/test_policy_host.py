"""MTA-STS policies over real HTTPS on loopback: what is taken, what is refused."""

import pytest
import pytest_twisted
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from mailserver.net import policy_host
from mailserver.net.policy_host import PolicyHosts
from mailserver.ports import ConnectionFailed
from tests.fakes.network import MemoryResolver

POLICY = b"version: STSv1\nmode: none\nmax_age: 86400\n"


def answer(status=b"200 OK", kind=b"text/plain; charset=utf-8", body=POLICY, more=b""):
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n" % (status, kind, len(body), more)
    return head + body


@implementer(IOpenSSLServerConnectionCreator)
class ServerContext:
    def __init__(self, certificate):
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate(x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()))
        self.context.use_privatekey(load_pem_private_key(certificate.private_key_pem.bytes(), None))

    def serverConnectionForTLS(self, protocol):
        return SSL.Connection(self.context, None)


class Host(Protocol):
    def dataReceived(self, data):
        self.factory.asked.append(data)
        if self.factory.answer is not None:
            self.transport.write(self.factory.answer)
            if self.factory.closes:
                self.transport.loseConnection()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def host(authority, tmp_path):
    """A function: an HTTPS host with this answer; what it gives back fetches from it."""
    ports = []
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)

    def make(octets, *, name="mta-sts.example.net", trusts=True, allowed=True, address="127.0.0.1", closes=False):
        factory = Factory.forProtocol(Host)
        factory.answer, factory.asked, factory.closes = octets, [], closes
        issuer = authority if trusts else trustme.CA()
        secure = TLSMemoryBIOFactory(ServerContext(issuer.issue_cert(name)), False, factory)
        ports.append(reactor.listenTCP(0, secure, interface="127.0.0.1"))
        resolver = MemoryResolver(addresses={"mta-sts.example.net": [address]})
        number = ports[-1].getHost().port
        hosts = PolicyHosts(reactor, resolver, lambda _: allowed, port=number, ca_file=ca_file)
        hosts.asked = factory.asked
        return hosts

    yield make
    for port in ports:
        pytest_twisted.blockon(port.stopListening())
    pytest_twisted.blockon(deferLater(reactor, 0.02))


async def trouble(hosts):
    with pytest.raises(ConnectionFailed) as failed:
        await hosts.fetch("example.net")
    return str(failed.value)


@pytest_twisted.ensureDeferred
async def test_a_policy_is_fetched(host):
    hosts = host(answer())
    assert await hosts.fetch("example.net") == POLICY
    (request,) = hosts.asked
    assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
    assert b"Host: mta-sts.example.net" in request


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (answer(b"404 Not Found"), "404"),
        # RFC 8461 3.3: redirects are not followed.
        (answer(b"301 Moved", more=b"Location: https://127.0.0.1/\r\n"), "301"),
        (answer(kind=b"text/html"), "text/plain"),
        (answer(body=b"x" * 70_000), "longer than 65536"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ff\r\n" + b"x" * 255
         + b"\r\n" + b"4000\r\n" + (b"x" * 16384 + b"\r\n4000\r\n") * 5, "longer than 65536"),
        (b"\x00garbage\r\n\r\n", ""),
        # A stranger's host: fields without end took a gigabyte in three seconds.
        (b"HTTP/1.1 200 OK\r\n" + b"X-A: y\r\n" * 50_000, "its answer is too long"),
    ],
)  # fmt: skip
@pytest_twisted.ensureDeferred
async def test_what_is_no_policy_file_is_refused(host, octets, words):
    assert words in await trouble(host(octets))


@pytest_twisted.ensureDeferred
async def test_an_answer_that_breaks_off_is_no_policy(host):
    assert await trouble(host(answer()[:-5], closes=True))


@pytest.mark.parametrize("kind", [{"name": "example.net"}, {"trusts": False}])
@pytest_twisted.ensureDeferred
async def test_the_certificate_must_be_for_the_policy_host(host, kind):
    hosts = host(answer(), **kind)
    assert await trouble(hosts)
    assert hosts.asked == []


@pytest_twisted.ensureDeferred
async def test_addresses_that_are_not_allowed_are_not_dialed(host):
    hosts = host(answer(), allowed=False)
    assert "private" in await trouble(hosts)


@pytest_twisted.ensureDeferred
async def test_a_host_that_dns_does_not_know_or_that_refuses_is_told(host):
    hosts = host(answer(), address="127.0.0.9")
    assert "refused" in await trouble(hosts)
    with pytest.raises(ConnectionFailed, match="not known"):
        await hosts.fetch("nowhere.example")


@pytest_twisted.ensureDeferred
async def test_a_host_that_keeps_silent_costs_a_bounded_time(host, monkeypatch):
    monkeypatch.setattr(policy_host, "FETCH_S", 0.2)
    assert "no answer within" in await trouble(host(None))
