"""DMARC in the real process, with a name server on loopback."""

import smtplib

import pytest

from tests.integration.names import name_server
from tests.integration.server import ALICE, HOST, LIMIT_S, Server

ZONE = {
    "good.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]},
    "_dmarc.good.example": {"TXT": ["something else", "v=DMARC1; p=reject; np=reject"]},
    "news.good.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]},
    "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]},
    "_dmarc.shop.example": {"TXT": ["v=DMARC1; p=none; np=quarantine"]},
    "_dmarc.broken.example": {"rcode": "SERVFAIL"},
}


@pytest.fixture
def names(tmp_path):
    with name_server(tmp_path, ZONE) as port:
        yield port


def send(server, author, sender="tony@good.example", text="hello"):
    with smtplib.SMTP(HOST, server.ports["smtp"], "client.example", timeout=LIMIT_S) as client:
        client.sendmail(sender, [ALICE], f"From: {author}\r\nSubject: dmarc\r\n\r\n{text}\r\n")


def dmarc_of(message):
    """The dmarc part of the first field."""
    field = message.partition(b"Authentication-Results: ")[2].partition(b"Received:")[0]
    return field.partition(b"dmarc=")[2].split()[0].decode().rstrip(";")


def test_what_the_owner_of_from_asks_for(tmp_path, names):
    settings = {
        "dns": {"servers": [f"{HOST}:{names}"]},
        "authentication": {
            "check_loopback": True,
            "dmarc": "enforce",
            "dmarc_overrides": {"lists.bank.example": "check"},
        },
    }
    wanted = {
        "good.example": "pass",
        "news.good.example": "pass",
        "lists.bank.example": "fail",
        "gone.shop.example": "fail",
        "broken.example": "temperror",
        "none.example": "none",
    }
    with Server(tmp_path, settings) as server:
        for large in (False, True):
            text = ("y" * 70 + "\r\n") * (5000 if large else 1)
            with pytest.raises(smtplib.SMTPDataError) as refused:
                send(server, "Your Bank <tony@bank.example>", text=text)
            assert refused.value.smtp_code == 550
            assert refused.value.smtp_error.startswith(
                b"5.7.1 This message fails DMARC, and the policy of bank.example"
            )
        for number, name in enumerate(wanted, 1):
            send(server, f"tony@{name}", text=("y" * 70 + "\r\n") * (5000 if name == "gone.shop.example" else 1))
            server.wait_for_messages(ALICE, number)
        found = {}
        for message in server.messages(ALICE):
            found[message.partition(b"From: tony@")[2].split()[0].decode()] = dmarc_of(message)
        assert found == wanted
        told = server.cli("why", "tony@good.example")
        assert "what the domain in From asks for (DMARC): pass good.example reject" in told
        assert "(DMARC): fail gone.shop.example quarantine, done: quarantine" in told
        assert "5.7.1 This message fails DMARC, and the policy of bank.example" in told
