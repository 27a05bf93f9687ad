"""How a conversation is protected, and when a host does worse than before."""

from pathlib import Path

import pytest

from mailserver.mail.route import FixedRoute, MxRoute, SmarthostRoute, SmarthostTls
from mailserver.policy.outward_tls import after_conversation, tls_requirement
from mailserver.ports import PeerTls, TlsRequirement, TlsUse

DAY = 86400.0
NOW = 1_750_000_000.0
CA = Path("ca.pem")


def smarthost(tls, ca_file=None):
    return SmarthostRoute("relay.test", 587, tls, ca_file=ca_file)


@pytest.mark.parametrize(
    ("route", "host", "must_verify", "use", "requirement"),
    [
        (MxRoute("example.net"), "mx.test", False, TlsUse.OPPORTUNISTIC, TlsRequirement("mx.test")),
        (MxRoute("example.net"), "mx.test", True, TlsUse.REQUIRED, TlsRequirement("mx.test", "mx.test")),
        (MxRoute("[192.0.2.1]"), "", False, TlsUse.OPPORTUNISTIC, TlsRequirement("")),
        (FixedRoute("mx.test", 25), "mx.test", False, TlsUse.OPPORTUNISTIC, TlsRequirement("mx.test")),
        (FixedRoute("mx.test", 25), "mx.test", True, TlsUse.REQUIRED, TlsRequirement("mx.test", "mx.test")),
        (
            smarthost(SmarthostTls.STARTTLS),
            "relay.test",
            False,
            TlsUse.REQUIRED,
            TlsRequirement("relay.test", "relay.test"),
        ),
        (
            smarthost(SmarthostTls.STARTTLS, CA),
            "relay.test",
            False,
            TlsUse.REQUIRED,
            TlsRequirement("relay.test", "relay.test", CA),
        ),
        (smarthost(SmarthostTls.TLS), "relay.test", False, TlsUse.IMPLICIT, TlsRequirement("relay.test", "relay.test")),
        (smarthost(SmarthostTls.NONE), "relay.test", False, TlsUse.NEVER, TlsRequirement("relay.test")),
        # What a domain publishes says nothing of the operator's own smarthost.
        (smarthost(SmarthostTls.NONE), "relay.test", True, TlsUse.NEVER, TlsRequirement("relay.test")),
    ],
)
def test_what_a_conversation_must_prove(route, host, must_verify, use, requirement):
    assert tls_requirement(route, host, must_verify=must_verify) == (use, requirement)


HAD = PeerTls("TLSv1.3", NOW - 100)


@pytest.mark.parametrize(
    ("before", "version", "remember", "missing", "is_told"),
    [
        (None, "TLSv1.3", PeerTls("TLSv1.3", NOW), "", False),
        (None, "", PeerTls("", NOW), "", False),
        (HAD, "TLSv1.3", None, "", False),
        (HAD, "TLSv1.2", PeerTls("TLSv1.2", NOW), "", False),
        (PeerTls("TLSv1.3", NOW - 2 * DAY), "TLSv1.3", PeerTls("TLSv1.3", NOW), "", False),
        (PeerTls("", NOW - 100), "", None, "", False),
        (PeerTls("", NOW - 100), "TLSv1.3", PeerTls("TLSv1.3", NOW), "", False),
        (HAD, "", PeerTls("TLSv1.3", NOW - 100, NOW, NOW), "TLSv1.3", True),
        # Told an hour ago.
        (PeerTls("TLSv1.3", 1.0, NOW - 3600, NOW - 3600), "", None, "TLSv1.3", False),
        # Told yesterday.
        (PeerTls("TLSv1.3", 1.0, NOW - DAY, NOW - DAY), "", PeerTls("TLSv1.3", 1.0, NOW - DAY, NOW), "TLSv1.3", True),
        # It has been without for two weeks, so that is what it is.
        (PeerTls("TLSv1.3", 1.0, NOW - 15 * DAY, NOW - DAY), "", PeerTls("", NOW), "", False),
        # It is back.
        (PeerTls("TLSv1.3", NOW - 100, NOW - 50, NOW - 50), "TLSv1.3", PeerTls("TLSv1.3", NOW), "", False),
        # The clock was set back.
        (
            PeerTls("TLSv1.3", NOW + DAY, NOW + 9 * DAY, NOW + 9 * DAY),
            "",
            PeerTls("TLSv1.3", NOW + DAY, NOW + 9 * DAY, NOW),
            "TLSv1.3",
            True,
        ),
    ],
)
def test_a_host_that_does_worse_than_before_is_told_once_a_day(before, version, remember, missing, is_told):
    seen = after_conversation(before, version, NOW)
    assert (seen.remember, seen.missing, seen.is_told) == (remember, missing, is_told)
