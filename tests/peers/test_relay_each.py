"""The same mail to and from each of chasquid, OpenSMTPD and Postfix: octet for octet, refused, put off."""

import email
import email.policy
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.server import wait_until
from tests.peers.ours import ANN, JOE
from tests.peers.running import HOST, maildir_files, wait_for_messages
from tests.peers.test_clients_send import crlf

# The tools of `test_relay` are fixtures, so they are needed by name here.
from tests.peers.test_relay import BOB, queue, start_relaying, submit, trusting, wait_for_empty_queue

__all__ = ["start_relaying", "submit", "trusting"]

LATE = "late@remote.test"
USERS = ("bob", "eve", "late")
HEADER = (
    b"From: Joe <joe@example.test>\n"
    b"To: bob@remote.test,\n"
    b"\teve@remote.test\n"
    b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\n"
    b"Date: Mon, 02 Jun 2025 10:00:00 +0200\n"
    b"Message-ID: <each@client.example.test>\n"
    b"X-Long: " + b"word " * 180 + b"end\n"
    b"MIME-Version: 1.0\n"
    b"Content-Type: text/plain; charset=iso-8859-1\n"
    b"Content-Transfer-Encoding: 8bit\n"
)
# Dots, octets that are no UTF-8, blanks at line ends, what mbox files quote, and the longest line the standard allows.
CONTENT_LINES = [
    b".",
    b"..",
    b"...and so on",
    b".\xe9t\xe9 " + bytes(range(0xA0, 0x100)),
    b"From here on",
    b">From there",
    b"trailing blanks  \t ",
    b"",
    b"",
    b"z" * 998,
    b"." + b"y" * 997,
    b"last line",
]
BODY = b"".join(line + b"\n" for line in CONTENT_LINES)
MESSAGE = HEADER + b"\n" + BODY


@dataclass(frozen=True, slots=True)
class Peer:
    """A foreign server that takes mail for USERS of remote.test; it may put off `late@` until `take_all`."""

    name: str
    port: int
    maildir: Callable[[str], Path]
    read_log: Callable[[], str]
    take_all: Callable[[], None]


@pytest.fixture(params=["chasquid", "opensmtpd", "postfix"])
def start_peer(request, folder, certificate):
    """Starts the peer, with STARTTLS."""

    def start(*, puts_off=False):
        begin = request.getfixturevalue(f"start_{request.param}")
        if request.param == "chasquid":
            peer = begin(users=dict.fromkeys(USERS, "secret"), puts_off=puts_off)
            return Peer("chasquid", peer.port, peer.maildir, peer.read_log, peer.take_all)
        if request.param == "opensmtpd":
            peer = begin(users=USERS, put_off=("late",) if puts_off else (), certificate=certificate)
            return Peer("OpenSMTPD", peer.port, peer.maildir, peer.read_log, peer.take_all)
        access = folder / "access"
        access.write_text(f"{LATE} 450 4.7.1 come back later\n" if puts_off else "")
        settings = {
            "smtpd_recipient_restrictions": f"check_recipient_access texthash:{access}, reject_unauth_destination",
        }
        peer = begin(users=USERS, certificate=certificate, settings=settings)

        def take_all():
            access.write_text("")
            peer.stop()
            peer.start()

        return Peer("Postfix", peer.port, peer.maildir, peer.read_log, take_all)

    return start


# --- to each ----------------------------------------------------------------------------------------------------------


def test_several_recipients_get_it_octet_for_octet_over_tls(start_peer, start_relaying, submit):
    peer = start_peer()
    server = start_relaying(peer.port)
    submit(server, [BOB, "eve@remote.test"], MESSAGE)
    for user in ("bob", "eve"):
        (message,) = wait_for_messages(peer.maildir(user), 1, lambda: server.log + peer.read_log())
        header, _, body = message.partition(b"\n\n")
        assert body == BODY
        assert header.endswith(HEADER.rstrip(b"\n"))
        # Its trace says how it came; OpenSMTPD offers a TLS that it cannot do, which must not keep the mail from it.
        by_peer = header.partition(b"Received: ")[2].partition(b"\nReceived: ")[0]
        assert (b"with ESMTPS" in by_peer) == (peer.name != "OpenSMTPD")
    wait_for_empty_queue(server)
    assert (" clear-text " in server.log) == (peer.name == "OpenSMTPD"), server.log


def test_who_is_refused_for_good_is_bounced_and_the_others_are_served(start_peer, start_relaying, submit):
    peer = start_peer()
    server = start_relaying(peer.port)
    submit(server, [BOB, "nobody@remote.test", "eve@remote.test"], MESSAGE)
    for user in ("bob", "eve"):
        wait_for_messages(peer.maildir(user), 1, lambda: server.log + peer.read_log())
    (bounce,) = server.wait_for_messages(JOE, 1)
    wait_for_empty_queue(server)
    report = email.message_from_bytes(bounce, policy=email.policy.default)
    text, status, _ = report.iter_parts()
    assert "nobody@remote.test" in text.get_content()
    _, of_recipient = status.get_payload()
    assert of_recipient["Final-Recipient"] == "rfc822; nobody@remote.test"
    assert of_recipient["Action"] == "failed"
    assert of_recipient["Status"].startswith("5.")
    assert of_recipient["Diagnostic-Code"].startswith("smtp; 550")
    assert BOB not in status.as_string()


def test_who_is_put_off_gets_it_later_and_once(start_peer, start_relaying, submit):
    peer = start_peer(puts_off=True)
    server = start_relaying(peer.port)
    submit(server, [LATE], MESSAGE)
    wait_until(lambda: queue(server)[0]["recipients"][0]["attempts"] >= 2, f"two attempts; log:\n{server.log}")
    # Not the last reply: chasquid ends a connection that saw a few refusals with 421, and that is no refusal either.
    assert "come back later" in server.log
    assert maildir_files(peer.maildir("late")) == []
    peer.take_all()
    (message,) = wait_for_messages(peer.maildir("late"), 1, lambda: server.log + peer.read_log())
    assert message.partition(b"\n\n")[2] == BODY
    wait_for_empty_queue(server)
    assert len(maildir_files(peer.maildir("late"))) == 1
    assert server.messages(JOE) == []


# --- from each --------------------------------------------------------------------------------------------------------


def assert_came(server, peer_log):
    """JOE and ANN have the message, octet for octet, over TLS."""
    for address in (JOE, ANN):
        try:
            (message,) = server.wait_for_messages(address, 1)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{peer_log()}") from None
        header, _, body = message.partition(b"\n\n")
        assert body == BODY
        assert header.endswith(HEADER.rstrip(b"\n"))
        assert header.startswith(b"Return-Path: <bob@remote.test>\n")
        assert b"with ESMTPS" in header.partition(b"for <")[0]


def test_chasquid_hands_its_mail_to_us(private_network, start_chasquid, start_dns, start_server, trusting):
    server = start_server()
    # A real MX is asked for: chasquid knows no fixed routes.
    start_dns("example.test. MX 10 mx.example.test.", f"mx.example.test. A {HOST}", port=53)
    chasquid = start_chasquid(users={"bob": "secret"}, relay_to=server.ports["smtp"])
    with smtplib.SMTP("localhost", chasquid.submission_port, timeout=30) as client:
        client.starttls(context=trusting)
        client.login(BOB, "secret")
        client.sendmail(BOB, [JOE, ANN], crlf(MESSAGE), mail_options=["BODY=8BITMIME"])
    assert_came(server, chasquid.read_log)


def test_opensmtpd_hands_its_mail_to_us(start_opensmtpd, server):
    opensmtpd = start_opensmtpd(relay_to=server.ports["smtp"])
    with smtplib.SMTP(HOST, opensmtpd.port, timeout=30) as client:
        client.sendmail(BOB, [JOE, ANN], crlf(MESSAGE), mail_options=["BODY=8BITMIME"])
    assert_came(server, opensmtpd.read_log)


def test_postfix_hands_its_mail_to_us(start_postfix, server, authority):
    settings = {
        "smtp_tls_security_level": "secure",
        "smtp_tls_CAfile": str(authority.pem),
        "smtp_tls_secure_cert_match": "localhost",
        "mynetworks": "127.0.0.0/8",
        "relayhost": f"[{HOST}]:{server.ports['smtp']}",
    }
    postfix = start_postfix(settings=settings)
    with smtplib.SMTP(HOST, postfix.port, timeout=30) as client:
        client.sendmail(BOB, [JOE, ANN], crlf(MESSAGE), mail_options=["BODY=8BITMIME"])
    assert_came(server, postfix.read_log)


def test_opensmtpd_is_told_of_an_unknown_user_and_its_bounce_comes_back_to_us(start_opensmtpd, server):
    opensmtpd = start_opensmtpd(relay_to=server.ports["smtp"])
    with smtplib.SMTP(HOST, opensmtpd.port, timeout=30) as client:
        client.sendmail(JOE, ["nobody@example.test"], crlf(MESSAGE), mail_options=["BODY=8BITMIME"])
    (bounce,) = server.wait_for_messages(JOE, 1)
    assert bounce.startswith(b"Return-Path: <>\n")
    assert b"550 5.1.1" in bounce
    assert b"nobody@example.test" in bounce
