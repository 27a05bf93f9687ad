"""Reports handed over by real HTTPS on loopback."""

import pytest
import pytest_twisted
import trustme
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory

from mailserver.net import report_post
from mailserver.net.report_post import ReportPost
from mailserver.ports import ConnectionFailed
from tests.fakes.network import MemoryResolver
from tests.net.test_policy_host import Host, ServerContext

REPORT = b"\x1f\x8b" + bytes(range(256)) * 600


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def host(authority, tmp_path):
    ports = []
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)

    def make(octets, *, name="reports.example.net", allowed=True, address="127.0.0.1"):
        factory = Factory.forProtocol(Host)
        factory.answer, factory.asked, factory.closes = octets, [], False
        secure = TLSMemoryBIOFactory(ServerContext(authority.issue_cert(name)), False, factory)
        ports.append(reactor.listenTCP(0, secure, interface="127.0.0.1"))
        resolver = MemoryResolver(addresses={"reports.example.net": [address]})
        post = ReportPost(reactor, resolver, lambda _: allowed, ca_file=ca_file)
        url = f"https://reports.example.net:{ports[-1].getHost().port}/v1/in?x=1"
        return factory, lambda: post.post(url, REPORT)

    yield make
    for port in ports:
        pytest_twisted.blockon(port.stopListening())
    pytest_twisted.blockon(deferLater(reactor, 0.02))


OK = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


@pytest_twisted.ensureDeferred
async def test_a_report_is_posted(host):
    """RFC 8460 5.4."""
    factory, post = host(OK)
    await post()
    await deferLater(reactor, 0.05)
    sent = b"".join(factory.asked)
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/in?x=1 HTTP/1.1\r\n")
    assert b"content-type: application/tlsrpt+gzip" in head.lower()
    assert f"content-length: {len(REPORT)}".encode() in head.lower()
    assert REPORT.startswith(body[:1000])


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ({"octets": b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"}, "answered 500"),
        (
            {"octets": b"HTTP/1.1 302 There\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"},
            "answered 302",
        ),
        ({"octets": OK, "name": "other.example.net"}, "another name"),
        ({"octets": OK, "allowed": False}, "only private addresses"),
        ({"octets": b"hello\r\n"}, ""),
    ],
)
async def test_what_was_not_taken_says_why(host, kind, reason):
    _, post = host(**kind)
    with pytest.raises(ConnectionFailed) as failed:
        await post()
    assert reason in str(failed.value)


@pytest_twisted.ensureDeferred
async def test_a_host_that_says_nothing_is_given_up(host, monkeypatch):
    monkeypatch.setattr(report_post, "POST_S", 0.3)
    _, post = host(None)
    with pytest.raises(ConnectionFailed) as failed:
        await post()
    assert "no answer within" in str(failed.value)


@pytest_twisted.ensureDeferred
async def test_a_host_that_is_not_known(host):
    post = ReportPost(reactor, MemoryResolver(), lambda _: True)
    with pytest.raises(ConnectionFailed):
        await post.post("https://nowhere.example/x", REPORT)
