"""MTA-STS: records, policies, and which hosts they cover (RFC 8461)."""

import pytest

from mailserver.mail.fault import SyntaxFault
from mailserver.mail.mta_sts import StsMode, StsPolicy
from mailserver.policy.mta_sts import covers, parse_policy, policy_id

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.NET\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=1"], "1"),
        (["v=STSv1 ; x=y ; id=1 ;"], "1"),
        # Other TXT records beside it do not matter (3.1).
        (["v=spf1 -all", "v=STSv1; id=2;"], "2"),
        # More than one is none.
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], None),
        (["v=STSv1; id=;"], None),
        (["v=STSv1; id=has blank;"], None),
        (["v=STSv1; id=" + "x" * 33], None),
        (["v=STSv1;"], None),
        (["v=STSv2; id=1"], None),
        (["id=1; v=STSv1"], None),
        ([], None),
    ],
)
def test_the_record_has_an_id_or_there_is_no_policy(texts, found):
    assert policy_id(texts) == found


def test_a_policy_is_read():
    assert parse_policy(GOOD) == StsPolicy(StsMode.ENFORCE, ("mail.example.com", "*.example.net"), 604800)


@pytest.mark.parametrize(
    ("octets", "policy"),
    [
        (GOOD.replace(b"\r\n", b"\n"), StsPolicy(StsMode.ENFORCE, ("mail.example.com", "*.example.net"), 604800)),
        # The first of two counts (3.2); unknown fields are passed over.
        (b"version:STSv1\nmode:testing\nmode:enforce\nmx:a.example\nmax_age:1\nfuture: x\n",
         StsPolicy(StsMode.TESTING, ("a.example",), 1)),
        (b"version: STSv1\nmode: none\nmax_age: 86400\n", StsPolicy(StsMode.NONE, (), 86400)),
        # Longer than a year is a year.
        (b"version: STSv1\nmode: testing\nmx: a.example\nmax_age: 9999999999\n",
         StsPolicy(StsMode.TESTING, ("a.example",), 31557600)),
        # What is no host name covers nothing.
        (b"version: STSv1\nmode: testing\nmx: a.example\nmx: *\nmx: a.*.example\nmx: \xff\nmax_age: 1\n",
         StsPolicy(StsMode.TESTING, ("a.example",), 1)),
    ],
)  # fmt: skip
def test_policies_as_they_are_found(octets, policy):
    assert parse_policy(octets) == policy


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<html>not found</html>",
        GOOD.replace(b"STSv1", b"STSv2"),
        GOOD.replace(b"enforce", b"always"),
        GOOD.replace(b"604800", b"a week"),
        GOOD.replace(b"604800", "٣".encode()),
        GOOD.replace(b"mx:", b"my:"),
        GOOD + b"x" * 65536,
    ],
)
def test_what_is_no_policy_is_refused(octets):
    assert isinstance(parse_policy(octets), SyntaxFault)


@pytest.mark.parametrize(
    ("host", "is_covered"),
    [
        ("mail.example.com", True),
        ("other.example.com", False),
        ("mx1.example.net", True),
        ("example.net", False),
        # One label and no more (4.1).
        ("a.b.example.net", False),
        ("mail.example.com.evil.example", False),
        ("", False),
    ],
)
def test_a_star_is_one_label(host, is_covered):
    assert covers(parse_policy(GOOD), host) is is_covered
