"""The server's contexts: handshakes in memory over pyOpenSSL connections, files on a real folder."""

import contextlib
import os
import ssl
import stat
import time
import warnings

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from mailserver.net.tls import (
    CertificateFiles,
    CertificateTrouble,
    ServerTls,
    ensure_self_signed,
    self_signed_files,
)

NOW = 1_750_000_000.0
YEAR = 365 * 86400


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def files(tmp_path, authority):
    return written(tmp_path, authority, "mail.example.org")


def written(folder, authority, *names):
    """A chain and key of the authority for these names, in `folder`."""
    issued = authority.issue_cert(*names)
    found = CertificateFiles(folder / "chain.pem", folder / "key.pem")
    found.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    found.private_key.write_bytes(issued.private_key_pem.bytes())
    return found


class Client:
    """A client of the standard library after a handshake in memory; raises `ssl.SSLError` when it does not succeed."""

    def __init__(self, server_tls, context=None, session=None, name="mail.example.org"):
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.context = context or unverified()
        self._client = self.context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=name or None, session=session
        )
        self._server = server_tls.serverConnectionForTLS(None)
        self._server.set_accept_state()
        self._shake()
        # Reading takes what comes behind the handshake: session tickets, under TLS 1.3.
        self._server.send(b"220 ready")
        self._carry_to_client()
        assert self._client.read(100) == b"220 ready"

    @property
    def version(self):
        return self._client.version()

    @property
    def cipher(self):
        return self._client.cipher()[0]

    @property
    def session(self):
        return self._client.session

    @property
    def session_reused(self):
        return self._client.session_reused

    @property
    def certificate(self):
        return x509.load_der_x509_certificate(self._client.getpeercert(binary_form=True))

    def _shake(self):
        for _ in range(10):
            try:
                self._client.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                is_done = False
            if self._outgoing.pending:
                self._server.bio_write(self._outgoing.read())
            try:
                self._server.do_handshake()
            except SSL.WantReadError:
                is_done = False
            except SSL.Error:
                self._carry_to_client()
                self._client.do_handshake()
                raise
            self._carry_to_client()
            if is_done:
                return
        raise AssertionError("the handshake goes on for ever")

    def _carry_to_client(self):
        with contextlib.suppress(SSL.WantReadError):
            self._incoming.write(self._server.bio_read(2**16))


def unverified():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def only(version):
    context = unverified()
    context.minimum_version = context.maximum_version = version
    return context


# --- contexts ---------------------------------------------------------------------------------------------------------


def test_it_is_what_twisted_asks_for(files):
    verifyObject(IOpenSSLServerConnectionCreator, ServerTls(files))


@pytest.mark.parametrize(
    ("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_tls_12_and_13_are_spoken(files, version, name):
    assert Client(ServerTls(files), only(version)).version == name


def test_tls_11_is_refused(files):
    """RFC 8996"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = only(ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        Client(ServerTls(files), old)


def test_the_whole_chain_is_sent(tmp_path):
    """A client that knows only the root can check the certificate."""
    root = trustme.CA()
    context = ssl.create_default_context()
    root.configure_trust(context)
    assert Client(ServerTls(written(tmp_path, root.create_child_ca(), "mail.example.org")), context).version


@pytest.mark.parametrize("name", ["mail.example.org", "other.example.org", ""])
def test_any_name_or_none_gets_the_certificate(files, name):
    server = ServerTls(files)
    assert Client(server, name=name).certificate.serial_number == Client(server).certificate.serial_number


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_old_session_or_ticket_gets_a_full_handshake_and_never_an_alert(files, version):
    """Session tickets break inbound mail from one large sender."""
    server = ServerTls(files)
    first = Client(server, only(version))
    again = Client(server, first.context, session=first.session)
    assert not again.session_reused


def test_an_old_session_from_before_a_reload_gets_a_full_handshake(files, tmp_path, authority):
    server = ServerTls(files)
    first = Client(server)
    written(tmp_path, authority, "mail.example.org")
    server.load()
    assert not Client(server, first.context, session=first.session).session_reused


class GivesTickets:
    """A server as ours was, or would be after a change: with the same certificate, and tickets that it takes."""

    def __init__(self, files):
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_session_id(b"mailserver")
        self._context.use_certificate_chain_file(str(files.certificate))
        self._context.use_privatekey_file(str(files.private_key))

    def serverConnectionForTLS(self, protocol):
        return SSL.Connection(self._context, None)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_of_another_server_gets_a_full_handshake_and_never_an_alert(files, version):
    other = GivesTickets(files)
    first = Client(other, only(version))
    assert first.session.has_ticket
    assert Client(other, first.context, session=first.session).session_reused  # the ticket is good where it came from
    assert not Client(ServerTls(files), first.context, session=first.session).session_reused


def test_with_an_rsa_key_who_can_gets_forward_secrecy(tmp_path):
    """Whatever the client's order; plain RSA is for who has nothing else."""
    issued = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("mail.example.org", key_type=trustme.KeyType.RSA)
    found = CertificateFiles(tmp_path / "chain.pem", tmp_path / "key.pem")
    found.certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    found.private_key.write_bytes(issued.private_key_pem.bytes())
    for offered, agreed in (
        ("AES128-SHA:AES256-GCM-SHA384:ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES128-SHA"),
        ("AES128-SHA", "AES128-SHA"),
    ):
        client = only(ssl.TLSVersion.TLSv1_2)
        client.set_ciphers(offered)
        assert Client(ServerTls(found), client).cipher == agreed


def test_no_ticket_is_given_under_tls_12(files):
    assert not Client(ServerTls(files), only(ssl.TLSVersion.TLSv1_2)).session.has_ticket


# --- reload -----------------------------------------------------------------------------------------------------------


def test_the_next_handshake_takes_the_certificate_that_was_loaded_last(files, tmp_path, authority):
    server = ServerTls(files)
    before = Client(server).certificate
    written(tmp_path, authority, "mail.example.org")
    server.load()
    after = Client(server).certificate
    assert before.serial_number != after.serial_number


@pytest.mark.parametrize("damage", ["missing", "garbage", "mismatch"])
def test_a_reload_that_is_refused_keeps_the_old_certificate(files, tmp_path, authority, damage):
    server = ServerTls(files)
    before = Client(server).certificate
    if damage == "missing":
        files.private_key.unlink()
    elif damage == "garbage":
        files.certificate.write_text("certificate, honest")
    else:
        files.private_key.write_bytes(authority.issue_cert("x.example").private_key_pem.bytes())
    with pytest.raises(CertificateTrouble):
        server.load()
    after = Client(server).certificate
    assert before.serial_number == after.serial_number


def test_a_wrapped_factory_speaks_tls_with_the_context_in_force(files, tmp_path, authority):
    server = ServerTls(files)
    wrapped = server.wrap(Factory.forProtocol(Protocol), MemoryReactorClock())
    written(tmp_path, authority, "new.example.org")
    server.load()
    assert server.facts.names == ("new.example.org",)
    assert wrapped.buildProtocol(None) is not None


# --- trouble is told --------------------------------------------------------------------------------------------------


def test_a_missing_file_is_named(files):
    files.certificate.unlink()
    with pytest.raises(CertificateTrouble, match=r"the certificate .*chain\.pem does not exist"):
        ServerTls(files)


def test_a_folder_in_place_of_a_key_is_told(files):
    files.private_key.unlink()
    files.private_key.mkdir()
    with pytest.raises(CertificateTrouble, match=r"the private key .* cannot be read: Is a directory"):
        ServerTls(files)


def test_a_key_that_may_not_be_read_is_told_with_the_user_and_a_remedy(files, monkeypatch):
    def forbidden(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(files.private_key), "read_bytes", forbidden)
    with pytest.raises(CertificateTrouble, match=rf"may not be read by user {os.geteuid()}.*setfacl"):
        ServerTls(files)


def test_a_key_of_another_certificate_is_told(files, authority):
    files.private_key.write_bytes(authority.issue_cert("x.example").private_key_pem.bytes())
    with pytest.raises(CertificateTrouble, match="does not belong to the first certificate"):
        ServerTls(files)


def test_a_key_with_a_passphrase_is_told_with_the_command_that_helps(files):
    key = serialization.load_pem_private_key(files.private_key.read_bytes(), None)
    files.private_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw")
        )
    )
    with pytest.raises(CertificateTrouble, match=r"passphrase.*openssl pkey"):
        ServerTls(files)


@pytest.mark.parametrize("which", ["certificate", "private_key"])
@pytest.mark.parametrize("octets", [b"", b"hello\n", b"\xff\xfe"])
def test_a_file_that_is_no_pem_is_told(files, which, octets):
    path = getattr(files, which)
    path.write_bytes(octets)
    with pytest.raises(CertificateTrouble, match=f"{path.name} holds no .* in PEM form"):
        ServerTls(files)


# --- facts and warnings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "hostname", "is_covered"),
    [
        (["mail.example.org"], "mail.example.org", True),
        (["mail.example.org"], "MAIL.example.org", True),
        (["mail.example.org"], "example.org", False),
        (["*.example.org"], "mail.example.org", True),
        (["*.example.org"], "a.mail.example.org", False),
        (["*.example.org"], "example.org", False),
        (["a.example.org", "b.example.org"], "b.example.org", True),
    ],
)
def test_a_host_name_that_the_certificate_does_not_cover_is_warned_of(tmp_path, authority, names, hostname, is_covered):
    facts = ServerTls(written(tmp_path, authority, *names)).facts
    assert bool(facts.warnings(hostname, NOW)) is not is_covered


def test_an_expired_certificate_is_warned_of(files):
    facts = ServerTls(files).facts
    assert "expired on" in facts.warnings("mail.example.org", facts.not_after + 1)[0]


# --- the self-signed certificate --------------------------------------------------------------------------------------


def test_it_has_the_host_name_as_cn_and_san_and_the_names_of_loopback(tmp_path):
    files = ensure_self_signed(tmp_path / "tls", "mail.example.test", NOW)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [part.value for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "mail.example.test"
    ]
    assert names.get_values_for_type(x509.DNSName) == ["mail.example.test", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert certificate.not_valid_after_utc.timestamp() > NOW + 9.9 * YEAR
    assert certificate.not_valid_before_utc.timestamp() < NOW


def test_key_and_folder_are_for_the_owner_alone(tmp_path):
    files = ensure_self_signed(tmp_path / "state" / "tls", "mail.example.test", NOW)
    assert stat.S_IMODE(files.private_key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state" / "tls").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "state" / "tls").iterdir()) == [
        "certificate.pem",
        "private-key.pem",
    ]


def test_it_is_made_once(tmp_path):
    before = ensure_self_signed(tmp_path, "mail.example.test", NOW).certificate.read_bytes()
    assert ensure_self_signed(tmp_path, "mail.example.test", NOW + YEAR).certificate.read_bytes() == before


@pytest.mark.parametrize("reason", ["expired", "renamed", "half", "mismatch", "garbage"])
def test_it_is_made_anew_when_it_is_of_no_use(tmp_path, reason):
    files = ensure_self_signed(tmp_path, "mail.example.test", NOW)
    before = files.certificate.read_bytes()
    now, hostname = NOW, "mail.example.test"
    if reason == "expired":
        now += 11 * YEAR
    elif reason == "renamed":
        hostname = "other.example.test"
    elif reason == "half":
        files.certificate.unlink()
        files.private_key.with_suffix(".new").write_text("left by a crash")
    elif reason == "mismatch":
        other = ensure_self_signed(tmp_path / "other", "mail.example.test", NOW)
        files.private_key.write_bytes(other.private_key.read_bytes())
    else:
        files.certificate.write_text("?")
    again = ensure_self_signed(tmp_path, hostname, now)
    assert again.certificate.read_bytes() != before
    assert ServerTls(again).facts.warnings(hostname, now) == ()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(CertificateTrouble, match="no self-signed certificate can be made"):
        ensure_self_signed(tmp_path / "state" / "tls", "mail.example.test", NOW)


@pytest.mark.parametrize("name", ["mail.example.test", "localhost", "127.0.0.1", "::1"])
def test_clients_that_are_given_the_certificate_trust_it(tmp_path, name):
    """OpenSSL's strict checks, as newer Pythons switch them on by default, and a name check."""
    files = ensure_self_signed(tmp_path, "mail.example.test", time.time())
    context = ssl.create_default_context(cafile=str(files.certificate))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert Client(ServerTls(files), context, name=name).version == "TLSv1.3"


def test_a_long_host_name_still_gets_a_certificate(tmp_path):
    """A CN holds 64 characters; a host name may have 253."""
    hostname = ".".join(["a" * 60, "b" * 60, "example", "test"])
    assert ServerTls(ensure_self_signed(tmp_path, hostname, NOW)).facts.warnings(hostname, NOW) == ()


def test_the_files_have_fixed_names(tmp_path):
    assert ensure_self_signed(tmp_path, "mail.example.test", NOW) == self_signed_files(tmp_path)
