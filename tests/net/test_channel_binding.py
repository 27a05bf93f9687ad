"""What binds a login to its TLS connection, over real TLS in memory."""

import contextlib
import hashlib
from datetime import datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL

from mailserver.net.channel_binding import channel_binding


def joined(certificate, key, version=SSL.TLS1_3_VERSION):
    """A client and a server whose handshake is done."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    server = SSL.Connection(context, None)
    server.set_accept_state()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    client = SSL.Connection(context, None)
    client.set_connect_state()
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    return client, server


@pytest.fixture(scope="module")
def issued():
    pem = trustme.CA().issue_cert("localhost")
    certificate = x509.load_pem_x509_certificate(pem.cert_chain_pems[0].bytes())
    return certificate, load_pem_private_key(pem.private_key_pem.bytes(), None)


def test_both_sides_export_the_same(issued):
    """RFC 9266 2: label, no context, 32 octets."""
    client, server = joined(*issued)
    octets = channel_binding(server, "tls-exporter")
    assert len(octets) == 32
    assert octets == client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    assert octets != channel_binding(joined(*issued)[1], "tls-exporter")


def test_tls_1_2_exports_nothing(issued):
    _, server = joined(*issued, version=SSL.TLS1_2_VERSION)
    assert server.get_protocol_version_name() == "TLSv1.2"
    assert channel_binding(server, "tls-exporter") is None
    assert channel_binding(server, "tls-server-end-point") is not None


def test_the_end_point_is_the_digest_of_the_certificate_the_client_sees(issued):
    """RFC 5929 4.1."""
    client, server = joined(*issued)
    seen = client.get_peer_certificate().to_cryptography().public_bytes(Encoding.DER)
    assert channel_binding(server, "tls-server-end-point") == hashlib.sha256(seen).digest()


@pytest.mark.parametrize(
    ("signed_with", "digest"), [(hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512"), (hashes.SHA1(), "sha256")]
)
def test_the_end_point_has_the_hash_of_the_signature(issued, signed_with, digest):
    """RFC 5929 4.1: and SHA-256 instead of MD5 and SHA-1."""

    class Certificate:
        signature_hash_algorithm = signed_with

        def to_cryptography(self):
            return self

        def public_bytes(self, encoding):
            return b"der"

    class Connection:
        def get_certificate(self):
            return Certificate()

    assert channel_binding(Connection(), "tls-server-end-point") == hashlib.new(digest, b"der").digest()


def test_ed25519_has_no_end_point():
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2090, 1, 1))
        .sign(key, None)
    )
    _, server = joined(certificate, key)
    assert channel_binding(server, "tls-server-end-point") is None
    assert channel_binding(server, "tls-exporter") is not None


def test_other_kinds_are_not_to_be_had(issued):
    _, server = joined(*issued)
    for name in ("tls-unique", "", "TLS-EXPORTER"):
        assert channel_binding(server, name) is None
