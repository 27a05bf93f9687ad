"""SPF in the real process, with a name server on loopback."""

import smtplib

import pytest

from tests.integration.names import name_server
from tests.integration.server import ALICE, HOST, LIMIT_S, Server

ZONE = {
    "good.example": {"TXT": ["v=spf1 include:_spf.good.example -all", "something else"]},
    # Longer than what UDP holds here, so that the answer is asked for again over TCP.
    "_spf.good.example": {"TXT": ["v=spf1 " + "ip4:203.0.113.0/24 " * 60 + "ip4:127.0.0.0/8 ?all"]},
    "forged.example": {"TXT": ["v=spf1 -all exp=why.forged.example"]},
    "why.forged.example": {"TXT": ["%{i} sends nothing of ours"]},
    "broken.example": {"rcode": "SERVFAIL"},
    "quiet.example": {"silent": True},
}


@pytest.fixture
def names(tmp_path):
    with name_server(tmp_path, ZONE) as port:
        yield port


def settings(port, **authentication):
    return {
        "dns": {"servers": [f"{HOST}:{port}"]},
        "authentication": {"check_loopback": True, "spf_timeout": "1s", **authentication},
    }


def send(server, sender, text="hello"):
    with smtplib.SMTP(HOST, server.ports["smtp"], "client.example", timeout=LIMIT_S) as client:
        client.sendmail(sender, [ALICE], f"From: {sender}\r\nSubject: spf\r\n\r\n{text}\r\n")


def spf_of(message):
    """The spf part of the first field."""
    assert message.partition(b"Authentication-Results: ")[0].count(b"\n") == 2  # Return-Path, Delivered-To
    field = message.partition(b"Authentication-Results: ")[2].partition(b"Received:")[0]
    return field.partition(b"spf=")[2].split()[0].decode()


def test_verdicts_stand_in_the_message_and_in_why(tmp_path, names):
    with Server(tmp_path, settings(names)) as server:
        wanted = {"good": "pass", "forged": "fail", "broken": "temperror", "quiet": "temperror", "gone": "none"}
        for number, name in enumerate(wanted, 1):
            # Large contents take another way.
            send(server, f"tony@{name}.example", "x" * 70 + ("\r\n" + "y" * 70) * (5000 if name == "forged" else 1))
            server.wait_for_messages(ALICE, number)
        found = {}
        for message in server.messages(ALICE):
            name = message.partition(b"From: tony@")[2].partition(b".")[0].decode()
            found[name] = spf_of(message)
        assert found == wanted
        told = server.cli("why", "tony@forged.example")
        assert "where it came from (SPF): fail forged.example -all" in told


def test_a_fail_is_refused_when_so_configured(tmp_path, names):
    with Server(tmp_path, settings(names, spf_fail="refuse", received_spf=True)) as server:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            send(server, "tony@forged.example")
        assert refused.value.smtp_code == 550
        assert b"5.7.23 forged.example explains: 127.0.0.1 sends nothing of ours" in refused.value.smtp_error
        send(server, "tony@good.example")
        (message,) = server.wait_for_messages(ALICE, 1)
        assert b"\nReceived-SPF: pass (mail.example.test: good.example permits 127.0.0.1)\n" in message
        assert "5.7.23 forged.example does not permit 127.0.0.1" in server.cli("why", "tony@forged.example")
