"""Dialer and stream on loopback: refusals, silence, TLS with and without verification, back-pressure."""

import errno
import socket
from ipaddress import ip_address

import pytest
import pytest_twisted
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from mailserver.mail.dns import TlsaRecord
from mailserver.net import stream as stream_module
from mailserver.net.dialer import TcpDialer, _plain
from mailserver.ports import ConnectionFailed, TlsFailed, TlsRequirement
from tests.fakes.awaiting import until

LOOPBACK = ip_address("127.0.0.1")


@implementer(IOpenSSLServerConnectionCreator)
class ServerContext:
    """A server's side with a certificate of trustme's."""

    def __init__(self, certificate, maximum=None):
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        chain, key = certificate.cert_chain_pems[0].bytes(), certificate.private_key_pem.bytes()
        self.context.use_certificate(x509.load_pem_x509_certificate(chain))
        for blob in certificate.cert_chain_pems[1:]:
            self.context.add_extra_chain_cert(x509.load_pem_x509_certificate(blob.bytes()))
        self.context.use_privatekey(load_pem_private_key(key, None))
        if maximum:
            self.context.set_min_proto_version(SSL.TLS1_VERSION)
            self.context.set_max_proto_version(maximum)
            self.context.set_cipher_list(b"ALL:@SECLEVEL=0")

    def serverConnectionForTLS(self, protocol):
        return SSL.Connection(self.context, None)


class Peer(Protocol):
    """The other side: collects what comes; `STARTTLS` is answered by `reply` and the handshake."""

    def __init__(self, server):
        self.server = server
        self.received = b""
        self.reason = None

    def connectionMade(self):
        self.server.peers.append(self)
        if self.server.greeting:
            self.transport.write(self.server.greeting)

    def dataReceived(self, data):
        self.received += data
        if data == b"STARTTLS\r\n" and self.server.context:
            self.transport.write(self.server.reply)
            self.transport.startTLS(self.server.context)
        elif data.startswith(b"\x16"):  # a ClientHello that nobody expects
            self.transport.write(b"250 not a handshake at all\r\n" * 20)
        elif data == b"SAY\r\n":
            self.transport.write(b"said\r\n")

    def connectionLost(self, reason):
        self.reason = reason


class Server:
    def __init__(self, *, context=None, greeting=b"", reply=b"220 go\r\n"):
        self.context, self.greeting, self.reply = context, greeting, reply
        self.peers = []
        factory = Factory.forProtocol(lambda: Peer(self))
        self.listener = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.port = self.listener.getHost().port


@pytest.fixture
def serve():
    servers = []

    def make(**kind):
        servers.append(Server(**kind))
        return servers[-1]

    yield make
    for server in servers:
        pytest_twisted.blockon(server.listener.stopListening())
        for peer in server.peers:
            peer.transport.abortConnection()
    pytest_twisted.blockon(deferLater(reactor, 0.01))


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def dial():
    opened = []

    async def connect(server):
        stream = await TcpDialer(reactor).dial(LOOPBACK, server.port, timeout_s=5)
        opened.append(stream)
        return stream

    yield connect
    for stream in opened:
        stream.abort()
    pytest_twisted.blockon(deferLater(reactor, 0.01))


async def upgrade(stream, requirement):
    await stream.write(b"STARTTLS\r\n")
    assert await stream.read() == b"220 go\r\n"
    return await stream.start_tls(requirement)


@pytest_twisted.ensureDeferred
async def test_a_refused_connection_is_told_in_plain_words():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionFailed, match="the connection was refused"):
            await TcpDialer(reactor).dial(LOOPBACK, taken.getsockname()[1], timeout_s=5)


@pytest_twisted.ensureDeferred
async def test_a_host_that_does_not_answer_is_given_up_in_time():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # Fill the backlog: the kernel then leaves further SYNs unanswered.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        with pytest.raises(ConnectionFailed, match=r"no connection within 0.2 s"):
            await TcpDialer(reactor).dial(LOOPBACK, deaf.getsockname()[1], timeout_s=0.2)
        for filler in fillers:
            filler.close()


@pytest_twisted.ensureDeferred
async def test_a_name_is_looked_up_by_the_system(serve):
    server = serve(greeting=b"220 hello\r\n")
    stream = await TcpDialer(reactor).dial("localhost", server.port, timeout_s=5)
    assert await stream.read() == b"220 hello\r\n"
    stream.abort()


@pytest_twisted.ensureDeferred
async def test_an_unknown_name_is_told_in_plain_words():
    with pytest.raises(ConnectionFailed, match="is not known"):
        await TcpDialer(reactor).dial("no-such-host.invalid", 25, timeout_s=5)


@pytest_twisted.ensureDeferred
async def test_the_source_address_is_used_and_a_foreign_one_is_told(serve):
    server = serve(greeting=b"220 hello\r\n")
    dialer = TcpDialer(reactor, source_address=ip_address("127.0.0.9"))
    stream = await dialer.dial(LOOPBACK, server.port, timeout_s=5)
    await stream.read()
    assert server.peers[0].transport.getPeer().host == "127.0.0.9"
    stream.abort()
    with pytest.raises(ConnectionFailed, match="source address"):
        await TcpDialer(reactor, source_address=ip_address("192.0.2.1")).dial(LOOPBACK, server.port, timeout_s=5)


def test_running_out_of_files_is_not_blamed_on_the_source_address():
    assert _plain(ConnectBindError(errno.EMFILE, "x"), 1.0) == "this server has too many files open"
    assert _plain(ConnectBindError(errno.EADDRNOTAVAIL, "x"), 1.0) == "the configured source address cannot be used"


@pytest_twisted.ensureDeferred
async def test_the_end_comes_after_what_was_said(serve, dial):
    server = serve(greeting=b"421 goodbye\r\n")
    stream = await dial(server)
    assert stream.peer == f"127.0.0.1:{server.port}"
    await until(lambda: stream._unread_octets)
    server.peers[0].transport.loseConnection()
    await until(lambda: server.peers[0].reason)
    assert await stream.read() == b"421 goodbye\r\n"
    assert await stream.read() == b""
    with pytest.raises(ConnectionFailed):
        await stream.write(b"NOOP\r\n")


@pytest_twisted.ensureDeferred
async def test_a_reset_is_a_failure_not_an_end(serve, dial):
    server = serve(greeting=b"220 hello\r\n")
    stream = await dial(server)
    await stream.read()
    server.peers[0].transport.abortConnection()
    with pytest.raises(ConnectionFailed):
        await stream.read()


@pytest_twisted.ensureDeferred
async def test_abort_wakes_who_waits(serve, dial):
    stream = await dial(serve())
    reading = Deferred.fromCoroutine(stream.read())
    stream.abort()
    with pytest.raises(ConnectionFailed):
        await reading


@pytest_twisted.ensureDeferred
async def test_close_sends_what_was_written_first(serve, dial):
    server = serve()
    stream = await dial(server)
    await stream.write(b"QUIT\r\n")
    stream.close()
    await until(lambda: server.peers[0].reason)
    assert server.peers[0].received == b"QUIT\r\n"


@pytest_twisted.ensureDeferred
async def test_a_peer_that_does_not_read_makes_the_writer_wait(serve, dial):
    server = serve(greeting=b"220 hello\r\n")
    stream = await dial(server)
    await stream.read()
    server.peers[0].transport.pauseProducing()
    writing = Deferred.fromCoroutine(stream.write(b"x" * 20_000_000))
    await deferLater(reactor, 0.05)
    assert not writing.called
    server.peers[0].transport.resumeProducing()
    await writing


@pytest_twisted.ensureDeferred
async def test_a_reader_that_does_not_read_makes_the_peer_wait(serve, dial):
    server = serve(greeting=b"y" * 30_000_000)
    stream = await dial(server)
    await deferLater(reactor, 0.1)
    assert stream._unread_octets < 2 * stream_module.MAX_UNREAD_OCTETS + 100_000
    total = 0
    while total < 30_000_000:
        total += len(await stream.read())
    assert total == 30_000_000


@pytest_twisted.ensureDeferred
async def test_opportunistic_tls_takes_a_certificate_nobody_vouches_for(serve, dial):
    """RFC 7435: encrypted is better than not."""
    server = serve(context=ServerContext(trustme.CA().issue_cert("other.example")))
    stream = await dial(server)
    details = await upgrade(stream, TlsRequirement("mx.example.net"))
    assert details.version in ("TLSv1.2", "TLSv1.3")
    assert details.cipher
    await stream.write(b"SAY\r\n")
    assert await stream.read() == b"said\r\n"
    stream.close()
    await until(lambda: server.peers[0].reason)


@pytest_twisted.ensureDeferred
async def test_a_verified_handshake_proves_chain_and_name(serve, dial, authority, ca_file):
    server = serve(context=ServerContext(authority.issue_cert("smtp.isp.example")))
    stream = await dial(server)
    await upgrade(stream, TlsRequirement("smtp.isp.example", "smtp.isp.example", ca_file))


@pytest_twisted.ensureDeferred
async def test_a_verified_handshake_with_an_address_proves_the_address(serve, dial, authority, ca_file):
    server = serve(context=ServerContext(authority.issue_cert("127.0.0.1")))
    stream = await dial(server)
    await upgrade(stream, TlsRequirement("", "127.0.0.1", ca_file))


@pytest_twisted.ensureDeferred
async def test_a_wrong_name_fails_verification(serve, dial, authority, ca_file):
    server = serve(context=ServerContext(authority.issue_cert("smtp.isp.example")))
    stream = await dial(server)
    with pytest.raises(TlsFailed, match="not for this name"):
        await upgrade(stream, TlsRequirement("smtp.evil.example", "smtp.evil.example", ca_file))


@pytest_twisted.ensureDeferred
async def test_an_unknown_authority_fails_verification(serve, dial, ca_file):
    server = serve(context=ServerContext(trustme.CA().issue_cert("smtp.isp.example")))
    stream = await dial(server)
    with pytest.raises(TlsFailed, match="certificate verify failed"):
        await upgrade(stream, TlsRequirement("smtp.isp.example", "smtp.isp.example", ca_file))


@pytest_twisted.ensureDeferred
async def test_the_system_authorities_do_not_vouch_for_a_test(serve, dial):
    server = serve(context=ServerContext(trustme.CA().issue_cert("smtp.isp.example")))
    stream = await dial(server)
    with pytest.raises(TlsFailed, match="certificate verify failed"):
        await upgrade(stream, TlsRequirement("smtp.isp.example", "smtp.isp.example"))


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"hello", "no certificates"), (b"-----BEGIN CERTIFICATE-----\nxx", "no certificates")],
)
@pytest_twisted.ensureDeferred
async def test_a_broken_ca_file_is_told(serve, dial, tmp_path, content, words):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    stream = await dial(serve())
    with pytest.raises(TlsFailed, match=words):
        await stream.start_tls(TlsRequirement("a.example", "a.example", path))


@pytest_twisted.ensureDeferred
async def test_tls_below_1_2_is_refused(serve, dial, authority):
    """RFC 8996."""
    server = serve(context=ServerContext(authority.issue_cert("mx.example.net"), SSL.TLS1_1_VERSION))
    stream = await dial(server)
    with pytest.raises(TlsFailed):
        await upgrade(stream, TlsRequirement("mx.example.net"))


@pytest_twisted.ensureDeferred
async def test_a_host_that_does_not_speak_tls_is_a_failed_handshake(serve, dial):
    server = serve()
    stream = await dial(server)
    with pytest.raises(TlsFailed):
        await stream.start_tls(TlsRequirement("mx.example.net"))


@pytest_twisted.ensureDeferred
async def test_octets_before_the_handshake_are_an_error(serve, dial, authority):
    """CVE-2021-38371: what came in clear must never be read as if it came through TLS."""
    server = serve(greeting=b"220 go\r\n250 injected\r\n", context=ServerContext(authority.issue_cert("a.example")))
    stream = await dial(server)
    await until(lambda: stream._unread_octets)
    with pytest.raises(TlsFailed, match="before the handshake"):
        await stream.start_tls(TlsRequirement("mx.example.net"))


@pytest_twisted.ensureDeferred
async def test_a_host_that_hangs_up_during_the_handshake_is_a_failed_handshake(serve, dial):
    server = serve(greeting=b"220 go\r\n")
    stream = await dial(server)
    await stream.read()
    handshake = Deferred.fromCoroutine(stream.start_tls(TlsRequirement("mx.example.net")))
    server.peers[0].transport.loseConnection()
    with pytest.raises(TlsFailed, match=r"handshake|lost"):
        await handshake


@pytest_twisted.ensureDeferred
async def test_abort_ends_a_handshake(serve, dial):
    stream = await dial(serve())
    handshake = Deferred.fromCoroutine(stream.start_tls(TlsRequirement("mx.example.net")))
    stream.abort()
    with pytest.raises(TlsFailed):
        await handshake


def tlsa(usage, pem):
    certificate = x509.load_pem_x509_certificate(pem.bytes())
    return TlsaRecord(usage, 0, 1, certificate.fingerprint(hashes.SHA256()))


@pytest_twisted.ensureDeferred
async def test_dane_proves_the_host_by_its_records(serve, dial, authority):
    issued = authority.create_child_ca().issue_cert("mx.test")
    server = serve(context=ServerContext(issued))
    own, above = issued.cert_chain_pems[:2]
    for record in (tlsa(3, own), tlsa(2, above)):
        details = await upgrade(await dial(server), TlsRequirement("mx.test", tlsa=(record,), names=("mx.test",)))
        assert details.version.startswith("TLSv1.") and not details.unproven
    with pytest.raises(TlsFailed, match="TLSA"):
        await upgrade(await dial(server), TlsRequirement("mx.test", tlsa=(tlsa(3, above),), names=("mx.test",)))
    with pytest.raises(TlsFailed, match=r"not for other\.test"):
        await upgrade(await dial(server), TlsRequirement("mx.test", tlsa=(tlsa(2, above),), names=("other.test",)))


@pytest_twisted.ensureDeferred
async def test_a_trial_tells_what_would_be_wrong_and_goes_on(serve, dial, authority, ca_file):
    server = serve(context=ServerContext(authority.issue_cert("mx.test")))
    fine = await upgrade(await dial(server), TlsRequirement("mx.test", "mx.test", ca_file, is_trial=True))
    wrong = await upgrade(await dial(server), TlsRequirement("mx.test", "other.test", ca_file, is_trial=True))
    unknown = await upgrade(await dial(server), TlsRequirement("mx.test", "mx.test", is_trial=True))
    assert fine.unproven == "" and "not for other.test" in wrong.unproven and unknown.unproven
    stream = await dial(server)
    await upgrade(stream, TlsRequirement("mx.test", "other.test", ca_file, is_trial=True))
    await stream.write(b"SAY\r\n")
    assert await stream.read() == b"said\r\n"
