"""SPF results as header fields."""

import ipaddress

import pytest

from mailserver.policy.spf.evaluation import SpfQuestion
from mailserver.policy.spf.fields import method_result, received_spf
from mailserver.policy.spf.result import SpfIdentity, SpfResult, SpfVerdict

QUESTION = SpfQuestion(
    ipaddress.ip_address("192.0.2.1"), "outside.example", "tony", "mx.outside.example", "mail.example.org"
)
FAIL = SpfResult(SpfVerdict.FAIL, SpfIdentity.MAIL_FROM, "outside.example", "-all")


def test_the_part_of_authentication_results_names_the_reverse_path():
    result = method_result(FAIL, QUESTION)
    assert (result.method, result.result) == ("spf", "fail")
    assert result.properties == (("smtp.mailfrom", "tony@outside.example"),)
    assert result.comment == "outside.example does not permit 192.0.2.1"


def test_the_part_about_helo_names_the_host():
    question = SpfQuestion(QUESTION.client, "mx.outside.example", identity=SpfIdentity.HELO)
    result = method_result(SpfResult(SpfVerdict.PASS, SpfIdentity.HELO, "mx.outside.example"), question)
    assert result.properties == (("smtp.helo", "mx.outside.example"),)


def test_received_spf_is_one_folded_field():
    """RFC 7208 9.1."""
    assert received_spf(FAIL, QUESTION) == (
        b"Received-SPF: fail (mail.example.org: outside.example does not permit 192.0.2.1)\r\n"
        b'\treceiver="mail.example.org";\r\n'
        b'\tclient-ip="192.0.2.1";\r\n'
        b'\tenvelope-from="tony@outside.example";\r\n'
        b'\thelo="mx.outside.example";\r\n'
        b'\tidentity="mailfrom";\r\n'
        b'\tmechanism="-all"\r\n'
    )


@pytest.mark.parametrize("nasty", ['a"\\b', "x\r\nBcc: y", "(", ")", "\x00", "\ud800", "z" * 4000])
@pytest.mark.parametrize("verdict", SpfVerdict)
def test_nothing_a_stranger_says_leaves_the_field(nasty, verdict):
    question = SpfQuestion(QUESTION.client, nasty, nasty, nasty, "mail.example.org")
    field = received_spf(SpfResult(verdict, SpfIdentity.MAIL_FROM, "", nasty, "", nasty), question).decode("utf-8")
    lines = field.split("\r\n")
    assert lines.pop() == ""
    assert all(line.startswith(("Received-SPF: ", "\t")) and len(line) < 998 for line in lines)
    assert "\r" not in "".join(lines) and "\n" not in "".join(lines)
    assert lines[0].count("(") == lines[0].count(")") == 1
