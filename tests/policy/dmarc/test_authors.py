"""Whose name is in From, for every reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import canonical_domain
from mailserver.policy.dmarc.authors import authors_of

GOOD = [
    (b"From: a@x.example\r\n", ("x.example",)),
    (b"from : <a@X.Example>\r\n", ("x.example",)),
    (b"Subject: x\r\nFrom: Bob\r\n <a@x.example> (c@y.example)\r\nTo: b@z.example\r\n", ("x.example",)),
    (b'From: "c@y.example" <a@x.example>\r\n', ("x.example",)),
    (b"From: a@x.example, b@X.example\r\n", ("x.example",)),
    (b"From: a@x.example, b@y.example\r\n", ("x.example", "y.example")),
    (b"From: a@x.example\r\nFrom: b@y.example\r\n", ("x.example", "y.example")),
    ("From: Jürgen <a@bücher.example>\r\n".encode(), ("xn--bcher-kva.example",)),
    ("From: 用户@例子.example\r\n".encode(), ("xn--fsqu00a.example",)),
    (b"From: J\xfcrgen <a@x.example>\r\n", ("x.example",)),
    (b"From: =?utf-8?q?J=C3=BC?= <a@x.example>\r\n", ("x.example",)),
    # What RFC 5322 does not allow, and what hides no domain.
    (b"From: bob..smith@x.example\r\n", ("x.example",)),
    (b"From: <.bob.@x.example>\r\n", ("x.example",)),
    (b"From: Friends: a@x.example, b@y.example;\r\n", ("x.example", "y.example")),
    (b"From: a@x.example.\r\n", ("x.example",)),
    (b"From: a@[192.0.2.1]\r\n", ("[192.0.2.1]",)),
    (b"From: a@x.example <b@y.example>\r\n", ("y.example",)),
]


@pytest.mark.parametrize(("section", "domains"), GOOD)
def test_domains(section, domains):
    found = authors_of(section)
    assert (found.domains, found.problem) == (domains, "")


@pytest.mark.parametrize(
    ("section", "problem", "is_suspect"),
    [
        (b"", "there is no From field", False),
        (b"Subject: x\r\nSender: a@x.example\r\n", "there is no From field", False),
        (b"From: \r\n", "the From field cannot be read", False),
        (b"From: MAILER-DAEMON\r\n", "the From field cannot be read", False),
        (b"From: Nobody:;\r\n", "the From field cannot be read", False),
        (b"From: <a@x.example bank>\r\n", "the From field cannot be read", True),
        (b"From: a@x.example, b@\r\n", "the From field cannot be read", True),
        (b"From: a@x.example\r\nFrom: b@y_\xff.example\r\n", "the From field cannot be read", True),
        (b"From: " + b"a@x.example," * 2000 + b"\r\n", "the From field cannot be read", True),
        (b"From: a@x.example\r\n" * 10_000, "there are too many From fields", True),
        (
            b"From: " + b",".join(b"a@x%d.example" % number for number in range(5)) + b"\r\n",
            "the From field holds too many domains",
            True,
        ),
    ],
)
def test_no_domains(section, problem, is_suspect):
    found = authors_of(section)
    assert (found.domains, found.problem, found.is_suspect) == ((), problem, is_suspect)


@given(st.binary(max_size=200))
def test_any_octets_can_be_read(octets):
    found = authors_of(b"From: " + octets + b"\r\n")
    assert bool(found.domains) is not bool(found.problem)
    assert all(domain == canonical_domain(domain) for domain in found.domains)


@given(st.text('<>()",;:@. \\ax=', max_size=60))
def test_any_field_with_marks_can_be_read(text):
    authors_of(b"From: " + text.encode() + b"\r\n")
