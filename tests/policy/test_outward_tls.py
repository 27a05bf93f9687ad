"""When a host does worse than before."""

import pytest

from mailserver.policy.outward_tls import after_conversation
from mailserver.ports import PeerTls

DAY = 86400.0
NOW = 1_750_000_000.0
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
