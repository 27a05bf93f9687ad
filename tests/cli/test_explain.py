"""`mailserver explain`: without a configuration, from the command line or standard input."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mailserver.cli.main import main
from mailserver.policy.causes.names import FactKind

UNKNOWN_USER = "550-5.1.1 <bob@example.net>: Recipient address\n550 5.1.1 rejected: User unknown"


def explain(*words: str, input: str | bytes | None = None):
    return CliRunner().invoke(main, ["explain", *words], input=input, prog_name="mailserver")


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No configuration far and wide."""
    monkeypatch.chdir(tmp_path)


def test_a_reply_is_explained_in_plain_words():
    result = explain(UNKNOWN_USER)
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "class:     mailbox_unknown"
    assert "means:     The recipient's server knows no such address." in lines
    assert "by:        the sender" in lines
    assert "temporary: no, a retry changes nothing" in lines
    assert lines[-1] == "they said: <bob@example.net>: Recipient address rejected: User unknown"
    assert all(len(line) <= 92 for line in lines)


def test_json_has_the_fixed_keys():
    answer = json.loads(explain("--json", "--stage", "rcpt", UNKNOWN_USER).stdout)
    assert answer["class"] == "mailbox_unknown"
    assert answer["also"] == []
    assert answer["temporary"] is False
    assert answer["who"] == "sender"
    assert answer["remedy"].startswith("Check the address")
    assert answer["evidence"][0] == {
        "class": "mailbox_unknown",
        "kind": "wording",
        "reason": "the recipient is said not to exist",
        "found": "user unknown",
    }
    assert set(answer) == {"class", "also", "temporary", "who", "remedy", "evidence", "means", "reply"}


def test_words_need_no_quotes():
    assert "class:     mailbox_full" in explain("552", "5.2.2", "mailbox", "full").stdout


@pytest.mark.parametrize("words", [(), ("-",)])
def test_a_bounce_is_read_from_standard_input(words):
    bounce = "From: a@example.net\nTo: b@example.org\nSubject: x\n\n<c@example.com>: host a said: 550 spam\n"
    assert "class:     content_rejected_spam" in explain(*words, input=bounce).stdout
    octets = b"From: a@example.net\nTo: b@example.org\n\n550 Benutzer \xfc unbekannt \xff\n"
    assert "class:     mailbox_unknown" in explain(*words, input=octets).stdout


def test_facts_count_and_may_stand_alone():
    assert "class:     domain_not_found" in explain("--fact", "NXDOMAIN").stdout
    answer = json.loads(explain("--fact", "no PTR", "--fact", "IPv6 used", "554 rejected", "--json").stdout)
    assert answer["class"] == "reverse_dns_ipv6"
    assert answer["evidence"][0]["kind"] == "fact"


def test_an_unknown_fact_is_answered_with_those_that_are_known():
    result = explain("--fact", "moon in cancer", "550 no")
    assert result.exit_code == 2
    assert "moon in cancer: no such fact" in result.stderr
    for kind in FactKind:
        assert f"\n  {kind.value}\n" in result.stderr


@pytest.mark.parametrize("words", [(), ("-",), ("",), ("  ",)])
def test_nothing_is_no_question(words):
    result = explain(*words, input="")
    assert result.exit_code == 2
    assert "nothing to explain" in result.stderr


def test_a_stage_that_is_none():
    result = explain("--stage", "lunch", "550 no")
    assert result.exit_code == 2
    assert "'lunch' is not one of 'dns', 'connect', 'banner'" in result.stderr


def test_a_terminal_is_not_harmed():
    result = explain("550 user unknown \x1b[31m\x07")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout and "\x07" not in result.stdout


def test_no_twisted():
    code = "import sys, mailserver.cli.explain; sys.exit('twisted' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
