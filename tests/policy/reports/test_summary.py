"""What follows from reports, in sums and sentences."""

from dataclasses import replace

import pytest

from mailserver.mail.reports import KeptRow, KeptTls
from mailserver.policy.reports.dmarc_summary import sentences, summaries
from mailserver.policy.reports.tls_summary import tls_summaries

OWN, OTHER, SPAMMER = "192.0.2.7", "198.51.100.3", "203.0.113.9"
ROW = KeptRow(
    "example.org", 20000, OWN, 100, "none", True, True, "example.org", "google.com", "google.com",
    ("example.org",), ("example.org",), "none",
)  # fmt: skip


def told(*rows: KeptRow) -> list[str]:
    [summary] = summaries(rows, frozenset({OWN}))
    return sentences(summary)


def over(days: int, **changes) -> list[KeptRow]:
    return [replace(ROW, day=20000 + number, **changes) for number in range(days)]


def test_sums_by_source_with_the_busiest_first():
    rows = [
        ROW,
        replace(ROW, count=5, spf=False, reporter="yahoo.com", proven="yahoo.com", spf_domains=()),
        replace(ROW, source=SPAMMER, count=300, dkim=False, spf=False, disposition="reject", dkim_domains=()),
        replace(ROW, domain="example.net"),
    ]
    second, first = summaries(rows, frozenset({OWN}))
    assert (first.domain, first.messages, first.days, first.policy) == ("example.org", 405, 1, "none")
    spammer, own = first.sources
    assert (spammer.address, spammer.failed, dict(spammer.dispositions)) == (SPAMMER, 300, {"reject": 300})
    assert (own.is_ours, own.messages, own.passed, own.spf, own.dkim) == (True, 105, 105, 100, 105)
    assert own.reporters == {"google.com": True, "yahoo.com": True}
    assert second.domain == "example.net"


def test_all_is_well():
    assert told(ROW)[0] == f"all 100 messages from your own address {OWN} passed"


def test_own_mail_that_fails_is_told_first_and_nothing_stricter_is_advised():
    found = told(*over(30), replace(ROW, count=3, dkim=False, spf=False))
    assert found[0].startswith(f"3 of 3,003 messages from your own address {OWN} failed")
    assert found[-1].startswith("leave _dmarc.example.org at p=none")


def test_strangers_are_named():
    found = told(
        ROW,
        replace(ROW, source=SPAMMER, count=12, dkim=False, spf=False),
        *(replace(ROW, source=f"203.0.113.{n}", count=1, dkim=False, spf=False) for n in range(20, 25)),
    )
    assert found[1] == (
        "17 messages from 203.0.113.9, 203.0.113.20, 203.0.113.21 and 3 other addresses failed both SPF and DKIM: "
        "somebody else sends in your name, or a service that you use is not in SPF and does not sign"
    )


def test_services_that_pass_are_named():
    assert told(ROW, replace(ROW, source=OTHER, count=1))[1].startswith(f"1 message from {OTHER} passed by")


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (over(13), "for p=quarantine, look again"),
        (over(14), "can say p=quarantine"),
        (over(14, count=1), "for p=quarantine, look again"),
        (over(14, proven=""), "for p=quarantine, look again"),
        (over(27, policy="quarantine"), "for p=reject, look again"),
        (over(28, policy="quarantine"), "can say p=reject"),
        (over(28, policy="reject"), "the strictest"),
        (over(28, source=OTHER), "none of these sources is known to be yours"),
        ([*over(28), replace(ROW, source=SPAMMER, dkim=False, spf=False)], "can say p=quarantine"),
        ([*over(28), *over(1, source=OTHER), *over(1, source=OTHER, dkim=False, spf=False)], "leave"),
        # What anybody may have made up changes no advice.
        ([*over(28), *over(1, dkim=False, spf=False, proven="")], "can say p=quarantine"),
        ([*over(27, policy="quarantine"), replace(ROW, day=20100, policy="quarantine", proven="")], "for p=reject"),
    ],
)
def test_advice(rows, word):
    assert word in told(*rows)[-1]


def test_what_nobody_vouches_for_is_marked():
    found = told(replace(ROW, proven=""))
    assert any("nobody vouches for" in one for one in found)
    [summary] = summaries([replace(ROW, proven="")], frozenset())
    assert (summary.days, summary.sources[0].unproven, summary.sources[0].reporters) == (0, 100, {"google.com": False})


TLS = KeptTls("example.org", 20000, "sts", "Google Inc.", "google.com", 20, 3)


def test_tls_in_words():
    failed = replace(
        TLS, successes=0, failures=0, result="certificate-expired", host="mail.example.org", count=3, reason="x"
    )
    [summary] = tls_summaries([TLS, failed, replace(failed, reporter="Other", proven="", count=1)])
    assert summary.sentence == "example.org: 3 of 23 sessions that were told of had trouble with TLS"
    [trouble] = summary.troubles
    assert (trouble.sessions, list(trouble.hosts), list(trouble.said)) == (4, ["mail.example.org"], ["x"])
    assert trouble.meaning == "the certificate had expired"
    assert trouble.reporters == {"Google Inc. (google.com)": True, "Other": False}


def test_tls_without_trouble():
    [summary] = tls_summaries([replace(TLS, failures=0)])
    assert "all 20 sessions" in summary.sentence
    assert tls_summaries([]) == []


def test_a_result_that_nobody_knows_is_shown_as_it_is():
    [summary] = tls_summaries([replace(TLS, result="moon-phase", count=1)])
    assert (summary.troubles[0].meaning, summary.troubles[0].remedy) == ("moon-phase", "")
