"""The truth table of what a way out must be protected by."""

from itertools import product
from pathlib import Path

import pytest

from mailserver.mail.dns import TlsaRecord
from mailserver.mail.mta_sts import NoStsPolicy, StsMode, StsPolicy
from mailserver.mail.route import FixedRoute, MxRoute, SmarthostRoute, SmarthostTls
from mailserver.policy.transport import (
    DaneRecords,
    DaneUnknown,
    Known,
    NoDane,
    Protection,
    Wish,
    is_usable,
    requirement_for,
)
from mailserver.ports import PeerTls, TlsRequirement, TlsUse

CA = Path("ca.pem")
MX = MxRoute("example.net")
FIXED = FixedRoute("mx.test", 25)
EE = TlsaRecord(3, 1, 1, b"x" * 32)
TA = TlsaRecord(2, 0, 2, b"x" * 64)
PKIX_EE = TlsaRecord(1, 1, 1, b"x" * 32)
HAD = PeerTls("TLSv1.3", 1_750_000_000.0)
GAVE_UP = PeerTls("", 1_750_000_000.0)

NONE, USABLE, UNUSABLE, UNKNOWN = (
    NoDane("no TLSA record"),
    DaneRecords((PKIX_EE, EE, TA), "base.test"),
    DaneRecords((PKIX_EE,), "mx.test"),
    DaneUnknown("SERVFAIL"),
)
NO_STS = NoStsPolicy("none is published")


def sts(mode, *hosts):
    return StsPolicy(mode, hosts or ("mx.test",), 86400)


ENFORCE, TESTING, OVER = sts(StsMode.ENFORCE), sts(StsMode.TESTING), sts(StsMode.NONE)
OTHERS, OTHERS_TESTING = sts(StsMode.ENFORCE, "other.test"), sts(StsMode.TESTING, "other.test")

USUAL, REQUIRE, OPTIONAL = Wish.USUAL, Wish.REQUIRE_TLS, Wish.TLS_IS_OPTIONAL
OPP, ENC, PKIX, DANE, REFUSE = (
    Protection.OPPORTUNISTIC,
    Protection.ENCRYPTED,
    Protection.PKIX,
    Protection.DANE,
    Protection.REFUSE,
)

# DANE, MTA-STS, remembered, insists, the name is authentic: for a usual message, for REQUIRETLS.
TABLE = [
    (NONE, NO_STS, None, False, False, OPP, REFUSE),
    (NONE, NO_STS, None, False, True, OPP, PKIX),
    (NONE, NO_STS, HAD, False, False, OPP, REFUSE),
    (NONE, NO_STS, HAD, True, False, ENC, REFUSE),
    (NONE, NO_STS, HAD, True, True, ENC, PKIX),
    (NONE, NO_STS, GAVE_UP, True, False, OPP, REFUSE),
    (NONE, ENFORCE, None, False, False, PKIX, PKIX),
    (NONE, ENFORCE, HAD, True, True, PKIX, PKIX),
    (NONE, OTHERS, None, False, True, REFUSE, REFUSE),
    (NONE, TESTING, None, False, False, OPP, PKIX),
    (NONE, TESTING, HAD, True, False, ENC, PKIX),
    (NONE, OTHERS_TESTING, None, False, False, OPP, REFUSE),
    (NONE, OVER, None, False, False, OPP, REFUSE),
    (NONE, OVER, None, False, True, OPP, PKIX),
    (USABLE, NO_STS, None, False, True, DANE, DANE),
    # RFC 8461 2: what DANE says is never overruled by MTA-STS, neither way.
    (USABLE, ENFORCE, None, False, True, DANE, DANE),
    (USABLE, OTHERS, None, False, True, DANE, DANE),
    (USABLE, TESTING, HAD, True, True, DANE, DANE),
    # RFC 7672 2.2: records that cannot be used still say that there is TLS.
    (UNUSABLE, NO_STS, None, False, True, ENC, PKIX),
    (UNUSABLE, ENFORCE, None, False, True, PKIX, PKIX),
    (UNUSABLE, OTHERS, None, False, True, REFUSE, REFUSE),
    (UNUSABLE, TESTING, None, False, True, ENC, PKIX),
    # RFC 7672 2.1.2: somebody may be hiding them.
    (UNKNOWN, NO_STS, None, False, True, REFUSE, REFUSE),
    (UNKNOWN, ENFORCE, HAD, True, True, REFUSE, REFUSE),
]


@pytest.mark.parametrize(("dane", "policy", "remembered", "insists", "authentic", "usual", "required"), TABLE)
def test_the_truth_table(dane, policy, remembered, insists, authentic, usual, required):
    known = Known(dane, policy, remembered, authentic, insists, CA)
    found = requirement_for(MX, "mx.test", known)
    assert found.protection is usual and found.reasons
    assert requirement_for(MX, "mx.test", known, REQUIRE).protection is required
    # A message that says so is never held up by anything that is published.
    assert requirement_for(MX, "mx.test", known, OPTIONAL).protection is OPP


def test_every_combination_has_an_answer_that_fits_together():
    for dane, policy, remembered, insists, authentic, wish, host in product(
        (NONE, USABLE, UNUSABLE, UNKNOWN),
        (NO_STS, ENFORCE, OTHERS, TESTING, OTHERS_TESTING, OVER),
        (None, HAD, GAVE_UP),
        (False, True),
        (False, True),
        Wish,
        ("mx.test", ""),
    ):
        for route in (MX, FIXED):
            found = requirement_for(route, host, Known(dane, policy, remembered, authentic, insists), wish)
            assert (found.use is TlsUse.OPPORTUNISTIC) is (found.protection is OPP)
            assert found.is_authenticated is (
                bool(found.handshake.tlsa or found.handshake.verify_host) and not found.handshake.is_trial
            )
            assert (found.protection is not REFUSE) or found.trouble
            if wish is REQUIRE and (route is MX or host):
                assert found.is_authenticated or found.protection is REFUSE


def test_what_each_level_asks_of_the_handshake():
    def handshake(dane, policy):
        return requirement_for(MX, "mx.test", Known(dane, policy, ca_file=CA)).handshake

    assert handshake(NONE, NO_STS) == TlsRequirement("mx.test")
    assert handshake(NONE, ENFORCE) == TlsRequirement("mx.test", "mx.test", CA)
    assert handshake(NONE, TESTING) == TlsRequirement("mx.test", "mx.test", CA, is_trial=True)
    # RFC 7672 3.2.2 and 8.1: SNI is the TLSA base domain, and the certificate may be for any of these names.
    expected = TlsRequirement("base.test", tlsa=(EE, TA), names=("base.test", "mx.test", "example.net"))
    assert handshake(USABLE, NO_STS) == expected


def test_a_policy_in_testing_that_does_not_name_the_host_is_told_and_holds_nothing_up():
    found = requirement_for(MX, "mx.test", Known(sts=OTHERS_TESTING))
    assert found.use is TlsUse.OPPORTUNISTIC and "does not name mx.test" in found.trouble


@pytest.mark.parametrize(
    ("route", "wish", "protection", "use", "requirement"),
    [
        (
            SmarthostRoute("relay.test", 587, SmarthostTls.STARTTLS, ca_file=CA),
            USUAL,
            PKIX,
            TlsUse.REQUIRED,
            TlsRequirement("relay.test", "relay.test", CA),
        ),
        (
            SmarthostRoute("relay.test", 465, SmarthostTls.TLS),
            REQUIRE,
            PKIX,
            TlsUse.IMPLICIT,
            TlsRequirement("relay.test", "relay.test"),
        ),
        (
            SmarthostRoute("relay.test", 25, SmarthostTls.NONE),
            USUAL,
            Protection.NONE,
            TlsUse.NEVER,
            TlsRequirement("relay.test"),
        ),
        (
            SmarthostRoute("relay.test", 25, SmarthostTls.NONE),
            REQUIRE,
            REFUSE,
            TlsUse.REQUIRED,
            TlsRequirement("relay.test"),
        ),
        # The operator's setting for the smarthost outlasts what a message says.
        (
            SmarthostRoute("relay.test", 587),
            OPTIONAL,
            PKIX,
            TlsUse.REQUIRED,
            TlsRequirement("relay.test", "relay.test"),
        ),
    ],
)
def test_the_smarthost_is_as_configured(route, wish, protection, use, requirement):
    # What a domain publishes says nothing of the operator's own smarthost.
    found = requirement_for(route, "relay.test", Known(USABLE, ENFORCE, HAD, insists=True), wish)
    assert (found.protection, found.use, found.handshake) == (protection, use, requirement)


@pytest.mark.parametrize(
    ("record", "usable"),
    [
        *((TlsaRecord(usage, 1, 1, b"x" * 32), usage in (2, 3)) for usage in (0, 1, 2, 3, 4, 255)),
        *((TlsaRecord(3, selector, 1, b"x" * 32), selector in (0, 1)) for selector in (0, 1, 2, 255)),
        (TlsaRecord(3, 1, 0, b"der"), True),
        (TlsaRecord(3, 1, 0, b""), False),
        (TlsaRecord(3, 1, 1, b"x" * 31), False),
        (TlsaRecord(3, 1, 2, b"x" * 64), True),
        (TlsaRecord(3, 1, 2, b"x" * 32), False),
        (TlsaRecord(3, 1, 3, b"x" * 32), False),
    ],
)
def test_which_records_smtp_uses(record, usable):
    assert is_usable(record) is usable
