"""Authentication-Results written, and forged ones found (RFC 8601)."""

import authres
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.authentication_results import (
    MethodResult,
    authentication_results,
    authserv_id_of,
    without_forged,
)

HOST = "mail.example.org"


def test_each_result_stands_on_a_line_of_its_own():
    field = authentication_results(
        HOST,
        [
            MethodResult(
                "spf", "pass", (("smtp.mailfrom", "tony@outside.example"),), comment="outside.example permits it"
            ),
            MethodResult("dkim", "fail", (("header.d", "outside.example"), ("header.s", "")), reason="body hash"),
        ],
    )
    assert field == (
        b"Authentication-Results: mail.example.org;\r\n"
        b"\tspf=pass (outside.example permits it) smtp.mailfrom=tony@outside.example;\r\n"
        b'\tdkim=fail reason="body hash" header.d=outside.example\r\n'
    )


def test_no_result_is_said():
    assert authentication_results(HOST, []) == b"Authentication-Results: mail.example.org; none\r\n"


NASTY = [
    'a"b\\c@example.org',
    "x\r\nBcc: y@example.org",
    "(comment) open (",
    "a; dkim=pass header.d=bank.example",
    "\u03b1\u03b2@example.org",
    "\ud800",
    "y" * 5000,
    "\x00\x1b[31m",
    "",
    "==",
]


@pytest.mark.parametrize("value", NASTY)
def test_a_value_can_neither_end_the_field_nor_add_a_result(value):
    field = authentication_results(HOST, [MethodResult("spf", "fail", (("smtp.mailfrom", value),), value, value)])
    text = field.decode("utf-8")
    assert text.count("\r\n") == len(text.splitlines())
    assert all(line.startswith(("Authentication-Results:", "\t")) for line in text.splitlines())
    assert all(len(line.encode()) <= 998 for line in text.splitlines())
    text = text.encode("ascii", "replace").decode()  # authres knows ASCII only
    read = authres.AuthenticationResultsHeader.parse(text.rstrip("\r\n").replace("\r\n", ""))
    assert [(one.method, one.result) for one in read.results] == [("spf", "fail")]


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=60), st.text(max_size=60))
def test_another_reader_finds_what_we_wrote(value, comment):
    wanted = MethodResult("spf", "softfail", (("smtp.helo", value),), comment=comment)
    text = authentication_results(HOST, [wanted]).decode("utf-8")
    read = authres.AuthenticationResultsHeader.parse(text.rstrip("\r\n").replace("\r\n", ""))
    assert read.authserv_id == HOST
    assert [(one.method, one.result) for one in read.results] == [("spf", "softfail")]


OURS = [
    b"Authentication-Results: mail.example.org; dkim=pass\r\n",
    b"AUTHENTICATION-RESULTS: MAIL.Example.ORG; dkim=pass\r\n",
    b"authentication-results:mail.example.org;none\r\n",
    b"Authentication-Results \t: mail.example.org; none\r\n",
    b"Authentication-Results:\r\n\tmail.example.org;\r\n dkim=pass\r\n",
    b"Authentication-Results: (a (nested) \\) comment) mail.example.org; none\r\n",
    b"Authentication-Results: (a\r\n folded comment)\r\n mail.example.org (x) 1; none\r\n",
    b'Authentication-Results: "mail.example.org"; none\r\n',
    b'Authentication-Results: "mail.\\example.org"; none\r\n',
    b"Authentication-Results: mail.example.org 1; none\r\n",
    b"Authentication-Results: mail.example.org.; none\r\n",
    b"Authentication-Results: mail.example.org\r\n",
    "Authentication-Results: \uff4dail.example.org; none\r\n".encode(),  # full-width, which IDNA folds
    # Those that cannot be read far enough.
    b"Authentication-Results:\r\n",
    b"Authentication-Results: (mail.example.org; dkim=pass\r\n",
    b'Authentication-Results: "mail.example.org; dkim=pass\r\n',
    b"Authentication-Results: ; dkim=pass\r\n",
]
THEIRS = [
    b"Authentication-Results: mx.other.example; dkim=pass header.d=mail.example.org\r\n",
    b"Authentication-Results: mail.example.org.other.example; none\r\n",
    b"Authentication-Results: xmail.example.org; none\r\n",
    b"Authentication-Results: example.org; none\r\n",
    b"Authentication-Results: mx.other.example (mail.example.org; spf=pass)\r\n",
    b"ARC-Authentication-Results: i=1; mail.example.org; spf=pass\r\n",
    b"X-Authentication-Results: mail.example.org; spf=pass\r\n",
    b"Subject: Authentication-Results: mail.example.org; none\r\n",
    b"Subject: x\r\n Authentication-Results: mail.example.org; none\r\n",
]


@pytest.mark.parametrize("field", OURS)
@pytest.mark.parametrize("before", [b"", b"Subject: a\r\n b\r\n"])
@pytest.mark.parametrize("after", [b"", b"To: c\r\n"])
def test_a_forged_field_is_taken_out(field, before, after):
    assert without_forged(before + field + after, HOST) == before + after


@pytest.mark.parametrize("field", THEIRS)
def test_the_fields_of_others_stay(field):
    section = b"From: a\r\n" + field + b"To: b\r\n"
    assert without_forged(section, HOST) is section


def test_many_are_taken_out_at_once():
    section = b"".join(ours + theirs for ours, theirs in zip(OURS, THEIRS * 2, strict=False))
    assert without_forged(section, HOST) == b"".join((THEIRS * 2)[: len(OURS)])


def test_one_behind_a_line_that_is_no_field_is_taken_out_too():
    section = b"From: a\r\nnot a field\r\nAuthentication-Results: mail.example.org; dkim=pass\r\n"
    assert without_forged(section, HOST) == b"From: a\r\nnot a field\r\n"


def test_a_section_full_of_them_costs_little():
    section = b"Authentication-Results:(\\((((\r\n" * 8000
    assert without_forged(section, HOST) == b""
    deep = b"Authentication-Results: " + b"(" * 250_000 + b"\r\n"
    assert without_forged(deep, HOST) == b""


@given(st.binary(max_size=80))
def test_any_value_is_read_or_not(value):
    authserv_id_of(value)


@given(st.lists(st.sampled_from(OURS + THEIRS + [b"From: a\r\n", b"bad line\r\n"]), max_size=8))
def test_what_is_left_is_a_part_of_what_came(parts):
    section = b"".join(parts)
    left = without_forged(section, HOST)
    assert left == b"".join(part for part in parts if part not in OURS)
    assert without_forged(left, HOST) is left
