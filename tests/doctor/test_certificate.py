"""The certificate, and the TLSA records about it."""

import datetime
import hashlib

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificates

from mailserver.doctor.certificate import (
    Presented,
    certificate_path,
    check_certificate,
    check_tlsa,
    read_presented,
)
from mailserver.doctor.check import Verdict
from mailserver.mail.certificate import CertificateSummary
from mailserver.mail.dns import CannotTell, NoRecords, NoSuchName, TlsaRecord
from mailserver.net.tls import ensure_self_signed
from mailserver.store.acme_folder import AcmeFolder, AcmeRecord
from tests.doctor.configs import configured

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
HOST = "mail.example.org"
NOW = 1_750_000_000.0
DAY = 86400.0
OWN = '[tls]\ncertificate = "own.pem"\nprivate_key = "own.key"\n'
ACME = '[acme]\ndirectory = "letsencrypt"\nagree_terms = true\nwebroot = "web"\n'


@pytest.fixture
def config(tmp_path):
    return configured(tmp_path, OWN)


def presented(config, *, days=60.0, length=90.0, names=(HOST,), is_self_signed=False, trouble="", begins=None):
    end = NOW + days * DAY
    facts = CertificateSummary(names, "R11", begins or end - length * DAY, end, "1", "00", is_self_signed)
    return Presented(config.tls.certificate or config.path, b"", facts, trouble)


def worst(checks):
    order = [FAIL, WARN, UNKNOWN, PASS, SKIP]
    found = list(checks)
    assert len({check.key for check in found}) == len(found)
    return min(found, key=lambda check: order.index(check.verdict))


@pytest.mark.parametrize(
    ("about", "verdict", "words"),
    [
        pytest.param({}, PASS, "it lasts 60 days more", id="all well"),
        pytest.param({"days": 20}, WARN, "it expires in 20 days", id="soon"),
        pytest.param({"days": 3}, FAIL, "it expires in 3 days", id="now"),
        pytest.param({"days": 0.5}, FAIL, "it expires in less than a day", id="today"),
        pytest.param({"days": -1}, FAIL, "it has expired", id="expired"),
        pytest.param({"days": 4, "length": 6}, PASS, "it lasts 4 days more", id="one for six days"),
        pytest.param({"days": 1.4, "length": 6}, WARN, "it expires in 1 day", id="the end of one for six days"),
        pytest.param({"begins": NOW + DAY}, FAIL, "not valid yet", id="not yet"),
        pytest.param({"names": ("www.example.org",)}, FAIL, f"for www.example.org and not for {HOST}", id="other name"),
        pytest.param({"names": ("*.example.org",)}, PASS, "", id="wildcard"),
        pytest.param({"is_self_signed": True}, WARN, "self-signed", id="self-signed"),
        pytest.param({"trouble": "unable to get local issuer certificate"}, FAIL, "nobody can trust it", id="no chain"),
    ],
)
def test_the_certificate(config, about, verdict, words):
    found = worst(check_certificate(config, presented(config, **about), None, AcmeRecord(), NOW))
    assert (found.verdict, words in found.finding) == (verdict, True), found
    assert bool(found.remedy) is (verdict is not PASS)


def test_self_signed_is_right_for_practice(tmp_path):
    config = configured(
        tmp_path,
        '[practice]\naccounts = ["alice@example.org"]\n[listen]\nsmtp = []\nsubmission = []\nsubmissions = []\n'
        "pop3 = []\npop3s = []\n",
    )
    found = worst(check_certificate(config, presented(config, is_self_signed=True), None, AcmeRecord(), NOW))
    assert found.verdict is PASS


def test_a_certificate_that_cannot_be_read_is_not_known(config):
    found = worst(check_certificate(config, "/x cannot be read: permission denied", None, AcmeRecord(), NOW))
    assert found.verdict is UNKNOWN


def test_a_server_that_has_not_taken_up_a_new_one(config):
    fresh = presented(config)
    assert worst(check_certificate(config, fresh, fresh.facts.not_after, AcmeRecord(), NOW)).verdict is PASS
    found = worst(check_certificate(config, fresh, NOW + 3 * DAY, AcmeRecord(), NOW))
    assert (found.verdict, found.remedy) == (WARN, "systemctl reload mailserver")


@pytest.mark.parametrize(("days", "verdict"), [(60, WARN), (6, FAIL)])
def test_renewals_that_do_not_succeed(tmp_path, days, verdict):
    config = configured(tmp_path, ACME)
    record = AcmeRecord(failures=3, reason="port 80 did not answer", remedy="open port 80")
    found = [
        one
        for one in check_certificate(config, presented(config, days=days), None, record, NOW)
        if one.about == "renewal"
    ]
    assert [(one.verdict, one.remedy) for one in found] == [(verdict, "open port 80")]
    assert found[0].finding == "renewing did not succeed, 3 times in a row: port 80 did not answer"


# --- from files -------------------------------------------------------------------------------------------------------


def test_a_whole_chain_is_trusted_and_a_leaf_alone_is_not(tmp_path):
    root = trustme.CA()
    between = root.create_child_ca()
    leaf = between.issue_cert(HOST)
    root.cert_pem.write_to_path(tmp_path / "ca.pem")
    config = configured(tmp_path, f'{OWN}[relay]\nca_file = "ca.pem"\n')
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    alone = read_presented(config)
    assert "unable to get" in alone.chain_trouble
    for pem in leaf.cert_chain_pems[1:]:
        pem.write_to_path(tmp_path / "own.pem", append=True)
    whole = read_presented(config)
    assert (whole.chain_trouble, whole.facts.names) == ("", (HOST,))


def test_an_expired_chain_is_expired_and_not_untrusted(tmp_path):
    root = trustme.CA()
    leaf = root.issue_cert(HOST, not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    root.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    assert read_presented(configured(tmp_path, f'{OWN}[relay]\nca_file = "ca.pem"\n')).chain_trouble == ""


def test_what_is_no_certificate_says_so(tmp_path):
    config = configured(tmp_path, OWN)
    assert read_presented(config) == f"there is no certificate {tmp_path}/own.pem yet"
    (tmp_path / "own.pem").write_text("nonsense")
    assert read_presented(config).startswith(f"{tmp_path}/own.pem: ")


def test_which_certificate_is_in_force(tmp_path):
    config = configured(tmp_path)
    assert certificate_path(config) == tmp_path / "var" / "tls" / "certificate.pem"
    ensure_self_signed(tmp_path / "var" / "tls", HOST, NOW)
    assert read_presented(config).facts.is_self_signed
    config = configured(tmp_path, ACME)
    assert certificate_path(config) == tmp_path / "var" / "tls" / "certificate.pem"
    leaf = trustme.CA().issue_cert(HOST)
    AcmeFolder(tmp_path / "var").install(leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())
    assert certificate_path(config) == tmp_path / "var" / "acme" / "certificate.pem"
    assert read_presented(config).facts.names == (HOST,)


# --- TLSA -------------------------------------------------------------------------------------------------------------

ROOT = trustme.CA()
LEAF = ROOT.issue_cert(HOST)
CHAIN = LEAF.cert_chain_pems[0].bytes() + ROOT.cert_pem.bytes()
OWN_CERT, ROOT_CERT = load_pem_x509_certificates(CHAIN)


def spki(certificate):
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sha256(octets):
    return hashlib.sha256(octets).digest()


GOOD = TlsaRecord(3, 1, 1, sha256(spki(OWN_CERT)))
BAD = TlsaRecord(3, 1, 1, bytes(32))


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        pytest.param((GOOD,), PASS, "agree with the certificate", id="3 1 1"),
        pytest.param((TlsaRecord(3, 0, 1, sha256(OWN_CERT.public_bytes(Encoding.DER))),), PASS, "agree", id="3 0 1"),
        pytest.param((TlsaRecord(3, 1, 0, spki(OWN_CERT)),), PASS, "agree", id="3 1 0"),
        pytest.param((TlsaRecord(3, 1, 2, hashlib.sha512(spki(OWN_CERT)).digest()),), PASS, "agree", id="3 1 2"),
        pytest.param((TlsaRecord(2, 1, 1, sha256(spki(ROOT_CERT))),), PASS, "agree", id="2 1 1"),
        pytest.param((GOOD, BAD), PASS, "1 of 2", id="a rollover"),
        pytest.param((BAD,), FAIL, "who checks DANE sends no mail here", id="an old key"),
        pytest.param((TlsaRecord(1, 1, 1, sha256(spki(OWN_CERT))),), FAIL, "no TLSA record", id="a usage of the web"),
        pytest.param(NoSuchName(), PASS, "no TLSA records are published", id="none"),
        pytest.param(NoRecords(), PASS, "no TLSA records are published", id="none that is authentic"),
        pytest.param(CannotTell("SERVFAIL"), UNKNOWN, "SERVFAIL", id="cannot tell"),
    ],
)
def test_tlsa_records_agree(answer, verdict, words):
    found = check_tlsa(HOST, answer, CHAIN, may_tell=True)
    assert (found.verdict, words in found.finding) == (verdict, True), found


def test_tlsa_records_say_nothing_without_dnssec():
    assert check_tlsa(HOST, (BAD,), CHAIN, may_tell=False).verdict is SKIP
