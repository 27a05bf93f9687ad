"""The real doors, against a name server and a web server on loopback."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import Site

from mailserver.survey.doors import WebTrouble
from mailserver.survey.system import SimpleWeb, Validator, name_servers
from tests.fakes.dns_server import DnsServer

ZONE = {
    "signed.example": {"signed": True, "SOA": ["ns.example. host.example. 1 2 3 4 5"]},
    "plain.example": {"SOA": ["ns.example. host.example. 1 2 3 4 5"]},
}


class Page(Resource):
    isLeaf = True

    def __init__(self, text, date):
        super().__init__()
        self.text, self.date = text, date

    def render_GET(self, request):
        request.setHeader(b"date", self.date)
        if request.path == b"/moved":
            request.redirect(b"/")
            return b""
        if request.path == b"/broken":
            request.setHeader(b"content-length", b"1000")
            request.write(b"x")
            request.transport.abortConnection()
            return b""
        return self.text


@pytest.fixture
def web():
    port = reactor.listenTCP(
        0, Site(Page(b"203.0.114.7\n" + b" " * 9000, b"Sun, 06 Nov 1994 08:49:37 GMT")), interface="127.0.0.1"
    )
    yield port.getHost().port
    pytest_twisted.blockon(port.stopListening())


@pytest_twisted.ensureDeferred
async def test_a_page_has_its_text_and_its_date(web):
    page = await SimpleWeb(reactor).get(f"http://127.0.0.1:{web}/")
    assert page.text.strip() == "203.0.114.7"
    assert len(page.text) == 4096
    assert page.date == 784111777.0


@pytest_twisted.ensureDeferred
async def test_who_sends_elsewhere_has_a_clock_and_no_text(web):
    page = await SimpleWeb(reactor).get(f"http://127.0.0.1:{web}/moved")
    assert (page.text, page.date) == ("", 784111777.0)


@pytest.mark.parametrize("path", ["http://127.0.0.1:{}/broken", "http://127.0.0.1:1/", "gopher://127.0.0.1:{}/"])
@pytest_twisted.ensureDeferred
async def test_what_is_no_page_is_trouble(web, path):
    with pytest.raises(WebTrouble) as caught:
        await SimpleWeb(reactor).get(path.format(web))
    assert str(caught.value)
    assert "\n" not in str(caught.value)


class Endless(Protocol):
    """Sends header fields for as long as somebody takes them, or 8 MB of them."""

    sent = 0

    def connectionMade(self):
        self.transport.write(b"HTTP/1.1 200 OK\r\n")
        self.transport.registerProducer(self, False)

    def resumeProducing(self):
        Endless.sent += 64_000
        self.transport.write(b"X-A: b\r\n" * 8000)
        if Endless.sent > 8_000_000:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self):
        self.transport.unregisterProducer()


@pytest_twisted.ensureDeferred
async def test_an_answer_without_end_takes_no_memory():
    port = reactor.listenTCP(0, Factory.forProtocol(Endless), interface="127.0.0.1")
    try:
        with pytest.raises(WebTrouble):
            await SimpleWeb(reactor).get(f"http://127.0.0.1:{port.getHost().port}/")
        assert Endless.sent < 8_000_000
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_name_server_that_vouches_for_a_signed_zone_validates():
    server = DnsServer(ZONE).start(reactor)
    try:
        validates = Validator(reactor)
        assert await validates(("127.0.0.1", server.port), "signed.example")
        assert not await validates(("127.0.0.1", server.port), "plain.example")
        assert not await validates(("127.0.0.1", server.port), "none.example")
    finally:
        await server.stop()


def test_who_is_asked_whether_it_validates(tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 192.0.2.53\nnameserver 127.0.0.1\n")
    here = (("127.0.0.1", 53), ("::1", 53))
    assert name_servers((), conf) == (("192.0.2.53", 53), *here)
    assert name_servers((("127.0.0.1", 5353),), conf) == (("127.0.0.1", 5353), *here)
    assert name_servers((), tmp_path / "none") == here
