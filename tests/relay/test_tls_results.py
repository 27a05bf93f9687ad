"""What a session is told as in reports about TLS (RFC 8460 4.3)."""

from ipaddress import ip_address

import pytest

from mailserver.mail.dns import TlsaRecord
from mailserver.mail.mta_sts import NoStsPolicy, StsMode, StsPolicy
from mailserver.mail.outcome import Stage
from mailserver.mail.route import FixedRoute, MxRoute
from mailserver.policy.transport import DaneRecords, DaneUnknown, Known, NoDane, requirement_for
from mailserver.ports import NotOpened, Opened, TlsDetails, TlsUse
from mailserver.relay.mx import Target
from mailserver.relay.tls_results import TlsSession, result_type, session_of
from tests.fakes.stream import BREAK, TLS_BROKEN, TLS_OK
from tests.relay.test_attempt import DNS, ENVELOPE, HELLO, ONE, TAKE, TLS_HELLO, World

ROUTE = MxRoute("example.net")
TARGET = Target("mx.example.net", ip_address("198.51.100.1"))
NO_DANE, NO_STS = NoDane("the host has no TLSA records"), NoStsPolicy("no policy is published")
RECORD = TlsaRecord(3, 1, 1, b"x" * 32)
DANE = DaneRecords((RECORD,), "mx.example.net")
OLD_DANE = DaneRecords((TlsaRecord(0, 0, 1, b"x" * 32),), "mx.example.net")


def sts(mode: StsMode, *hosts: str) -> StsPolicy:
    return StsPolicy(mode, hosts or ("mx.example.net",), 86400)


WELL = Opened(TlsDetails("TLSv1.3", "x"))
CLEAR = Opened(None)
FAILED = "the TLS handshake did not succeed: "


def not_done(reason: str) -> NotOpened:
    return NotOpened(reason, Stage.STARTTLS)


EXPIRED = not_done(FAILED + "certificate verify failed: certificate has expired")
NO_OFFER = not_done("the host offers no STARTTLS")
NO_CIPHER = not_done(FAILED + "no shared cipher")
MISMATCH = not_done(FAILED + "its certificate agrees with none of the TLSA records of the host")
UNPROVEN = Opened(TlsDetails("TLSv1.3", "x", "its certificate is not for mx.example.net"))


@pytest.mark.parametrize(
    ("dane", "policy", "opened", "kind", "result"),
    [
        (NO_DANE, NO_STS, WELL, "no-policy-found", ""),
        (NO_DANE, NO_STS, CLEAR, "no-policy-found", "starttls-not-supported"),
        (NO_DANE, NO_STS, NO_CIPHER, "no-policy-found", "validation-failure"),
        (NO_DANE, sts(StsMode.ENFORCE), WELL, "sts", ""),
        (NO_DANE, sts(StsMode.ENFORCE), EXPIRED, "sts", "certificate-expired"),
        (NO_DANE, sts(StsMode.ENFORCE), NO_OFFER, "sts", "starttls-not-supported"),
        (NO_DANE, sts(StsMode.ENFORCE, "other.example.net"), None, "sts", "validation-failure"),
        (NO_DANE, sts(StsMode.TESTING, "other.example.net"), WELL, "sts", "validation-failure"),
        (NO_DANE, sts(StsMode.TESTING), WELL, "sts", ""),
        (NO_DANE, sts(StsMode.TESTING), CLEAR, "sts", "starttls-not-supported"),
        (NO_DANE, sts(StsMode.TESTING), UNPROVEN, "sts", "certificate-host-mismatch"),
        (NO_DANE, sts(StsMode.NONE), WELL, "no-policy-found", ""),
        (NO_DANE, NoStsPolicy("the policy could not be fetched"), WELL, "sts", "sts-policy-fetch-error"),
        (DANE, NO_STS, WELL, "tlsa", ""),
        (DANE, sts(StsMode.ENFORCE), WELL, "tlsa", ""),
        (DANE, NoStsPolicy("the policy could not be fetched"), WELL, "tlsa", ""),
        (DANE, NO_STS, MISMATCH, "tlsa", "validation-failure"),
        (DANE, NO_STS, NO_OFFER, "tlsa", "starttls-not-supported"),
        (OLD_DANE, NO_STS, WELL, "tlsa", ""),
        (DaneUnknown("SERVFAIL"), NO_STS, None, "tlsa", "dnssec-invalid"),
    ],
)  # fmt: skip
def test_what_a_session_counts_as(dane, policy, opened, kind, result):
    required = requirement_for(ROUTE, "mx.example.net", Known(dane, policy))
    found = session_of(ROUTE, TARGET, required, dane, policy, required.use, opened)
    assert isinstance(found, TlsSession)
    assert (found.domain, found.host, found.address) == ("example.net", "mx.example.net", "198.51.100.1")
    assert (found.kind, found.result) == (kind, result)
    assert bool(found.reason) == bool(result)


def test_the_policy_is_shown_as_it_is_published():
    required = requirement_for(ROUTE, "mx.example.net", Known(NO_DANE, sts(StsMode.ENFORCE)))
    found = session_of(ROUTE, TARGET, required, NO_DANE, sts(StsMode.ENFORCE), required.use, WELL)
    assert found.texts == ("version: STSv1", "mode: enforce", "mx: mx.example.net", "max_age: 86400")
    required = requirement_for(ROUTE, "mx.example.net", Known(DANE))
    found = session_of(ROUTE, TARGET, required, DANE, NO_STS, required.use, WELL)
    assert found.texts == (f"3 1 1 {RECORD.association.hex()}",)
    assert found.hosts == ("mx.example.net",)


@pytest.mark.parametrize(
    ("route", "use", "opened"),
    [
        (FixedRoute("mx.example.net", 25), TlsUse.OPPORTUNISTIC, WELL),
        (ROUTE, TlsUse.NEVER, CLEAR),
        (ROUTE, TlsUse.OPPORTUNISTIC, NotOpened("421", Stage.CONNECT)),
        (ROUTE, TlsUse.OPPORTUNISTIC, NotOpened("no EHLO", Stage.EHLO)),
    ],
)
def test_what_is_no_matter_of_tls_or_of_the_domain_is_not_counted(route, use, opened):
    required = requirement_for(ROUTE, "mx.example.net", Known())
    assert session_of(route, TARGET, required, NO_DANE, NO_STS, use, opened) is None


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("certificate verify failed: self-signed certificate", "certificate-not-trusted"),
        ("certificate verify failed: unable to get local issuer certificate", "certificate-not-trusted"),
        ("the certificate is not for this name", "certificate-host-mismatch"),
        ("certificate has expired", "certificate-expired"),
        ("the host did not start TLS", "starttls-not-supported"),
        ("the moon is full", "validation-failure"),
    ],
)
def test_reasons_in_the_words_of_the_standard(reason, word):
    assert result_type(reason) == word


# --- the door ---------------------------------------------------------------------------------------------------------


def counted(tmp_path, hosts, envelope=ENVELOPE, content=None):
    found = []
    world = World(tmp_path, hosts, dns=DNS)
    world.transmitter.tell_tls = found.append
    if content is not None:
        world.content.path.write_bytes(b"envelope\n" + content)
    world.send(envelope=envelope)
    return [(one.host, one.kind, one.result) for one in found]


def test_each_session_is_told_once(tmp_path):
    tls = (*TLS_HELLO, TLS_OK, *HELLO[1:], *TAKE)
    assert counted(tmp_path, {ONE: [tls]}) == [("mx1.test", "no-policy-found", "")]


def test_a_session_in_clear_is_told(tmp_path):
    assert counted(tmp_path, {ONE: [(*HELLO, *TAKE)]}) == [("mx1.test", "no-policy-found", "starttls-not-supported")]


def test_a_handshake_that_failed_is_told_once_and_not_again_in_clear(tmp_path):
    hosts = {ONE: [(*TLS_HELLO, TLS_BROKEN), (*HELLO, *TAKE)]}
    assert counted(tmp_path, hosts) == [("mx1.test", "no-policy-found", "validation-failure")]


def test_a_host_without_a_greeting_is_not_told(tmp_path):
    assert counted(tmp_path, {ONE: [(BREAK,)]}) == []


def test_a_report_is_not_counted(tmp_path):
    """RFC 8460 3: the session that brings a report is in no report."""
    content = b"TLS-Required: No\r\n\r\nhello\r\n"
    assert counted(tmp_path, {ONE: [(*HELLO, BREAK)]}, content=content) == []
