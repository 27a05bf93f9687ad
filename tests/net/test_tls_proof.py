"""Which certificates agree with TLSA records (RFC 6698, RFC 7671, RFC 7672), and which with authorities."""

import datetime
import hashlib

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import crypto

from mailserver.mail.dns import TlsaRecord
from mailserver.net.tls_proof import names_of, pkix_trouble, tlsa_trouble

ROOT = trustme.CA()
MIDDLE = ROOT.create_child_ca()
NAMES = ("mx.test", "example.net")
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


def loaded(blob):
    return x509.load_pem_x509_certificate(blob.bytes())


def chain_for(*names, **kind):
    """The host's certificate, the authority below the root, the root."""
    issued = MIDDLE.issue_cert(*names, **kind)
    return [*(loaded(blob) for blob in issued.cert_chain_pems), loaded(ROOT.cert_pem)]


def record(usage, selector, matching, certificate):
    if selector == 0:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    hashed = {
        0: lambda octets: octets,
        1: lambda o: hashlib.sha256(o).digest(),
        2: lambda o: hashlib.sha512(o).digest(),
    }
    return TlsaRecord(usage, selector, matching, hashed[matching](octets))


GOOD = chain_for("mx.test")
OLD = chain_for("mx.test", not_before=NOW - 20 * DAY, not_after=NOW - 10 * DAY)
FOREIGN = chain_for("elsewhere.test")


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize(("usage", "place"), [(3, 0), (2, 1), (2, 2)])
def test_every_kind_of_record_fits_its_certificate_and_no_other(usage, place, selector, matching):
    fitting = record(usage, selector, matching, GOOD[place])
    assert tlsa_trouble(GOOD, [fitting], NAMES) == ""
    stranger = record(usage, selector, matching, loaded(trustme.CA().cert_pem))
    assert tlsa_trouble(GOOD, [stranger], NAMES)
    # One of several is enough: that is how keys are changed (RFC 7671 8.1).
    assert tlsa_trouble(GOOD, [stranger, fitting], NAMES) == ""


def test_dane_ee_looks_at_neither_names_nor_dates():
    for chain in (OLD, FOREIGN):
        assert tlsa_trouble(chain, [record(3, 1, 1, chain[0])], NAMES) == ""


def test_dane_ee_is_about_the_host_s_own_certificate_only():
    assert tlsa_trouble(GOOD, [record(3, 1, 1, GOOD[1])], NAMES)


def test_dane_ta_wants_name_and_dates():
    assert "not for mx.test or example.net" in tlsa_trouble(FOREIGN, [record(2, 0, 1, FOREIGN[1])], NAMES)
    assert "expired" in tlsa_trouble(OLD, [record(2, 0, 1, OLD[1])], NAMES)
    # The next-hop domain is as good as the host's name (RFC 7672 3.2.2), and a star is one label.
    for name in ("example.net", "*.test"):
        chain = chain_for(name)
        assert tlsa_trouble(chain, [record(2, 0, 1, chain[1])], NAMES) == ""


def test_dane_ta_is_never_the_host_s_own_certificate():
    assert tlsa_trouble(GOOD, [record(2, 1, 1, GOOD[0])], NAMES)


def test_an_authority_that_the_host_only_shows_vouches_for_nothing():
    """Anybody can send a certificate that a record names beside one of their own."""
    forged = [loaded(trustme.CA().issue_cert("mx.test").cert_chain_pems[0]), GOOD[1]]
    assert tlsa_trouble(forged, [record(2, 0, 1, GOOD[1])], NAMES)


def test_a_whole_authority_in_dns_need_not_be_sent():
    """`2 0 0` (RFC 7672 3.1.2)."""
    assert tlsa_trouble(GOOD[:2], [record(2, 0, 0, GOOD[2])], NAMES) == ""
    assert tlsa_trouble(GOOD[:2], [record(2, 0, 1, GOOD[2])], NAMES)
    assert tlsa_trouble(GOOD[:2], [TlsaRecord(2, 0, 0, b"no certificate")], NAMES)


def test_no_certificate_proves_nothing():
    assert tlsa_trouble([], [record(3, 1, 1, GOOD[0])], NAMES)
    assert pkix_trouble([], "mx.test", crypto.X509Store())


def test_a_chain_and_a_name_for_authorities():
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(GOOD[2]))
    assert pkix_trouble(GOOD[:2], "mx.test", store) == ""
    assert "not for other.test" in pkix_trouble(GOOD[:2], "other.test", store)
    assert "expired" in pkix_trouble(OLD[:2], "mx.test", store)
    assert pkix_trouble(GOOD, "mx.test", crypto.X509Store())


def test_the_common_name_counts_only_without_others():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "MX.test")])
    bare = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(NOW - DAY).not_valid_after(NOW + DAY).sign(key, hashes.SHA256())
    )  # fmt: skip
    assert names_of(bare) == ("mx.test",)
    assert names_of(loaded(ROOT.issue_cert("a.test", common_name="b.test").cert_chain_pems[0])) == ("a.test",)
