"""What POP3 hands out is what SMTP took, octet for octet, behind the trace fields."""

import os
import random
import re
import smtplib
import socket
from contextlib import contextmanager

import pytest

from tests.integration.server import ALICE, BOB, HOST, Server

JURGEN = "jürgen@example.test"
HEADER = b"From: alice@example.test\r\nTo: bob@example.test\r\nSubject: round trip\r\n"
HEADER += b"Date: Mon, 02 Jun 2025 10:00:00 +0200\r\nMessage-ID: <1@client.example.test>\r\n"
UTF8_HEADER = HEADER.replace(b"round trip", "größe ✓".encode())

_noise = random.Random(1).randbytes(30_000).translate(None, b"\0\r\n")

# Everything behind the header section. The empty line between them is part of it.
BODIES = {
    "empty body": b"\r\n",
    "no body and no empty line": b"",
    "one line": b"\r\nhello\r\n",
    "dots": b"\r\n.\r\n..\r\n...\r\n.a\r\na.\r\n\r\n.\r\n",
    "a dot first and last": b"\r\n.first\r\n\r\nlast.\r\n.\r\n",
    "only empty lines": b"\r\n" * 50,
    "trailing blanks": b"\r\na \r\nb\t\r\n \r\n\r\n",
    "8-bit": b"\r\n" + bytes(octet for octet in range(1, 256) if octet not in b"\r\n") + b"\r\n",
    "noise": b"\r\n" + b"\r\n".join(_noise[at : at + 700] for at in range(0, len(_noise), 700)) + b"\r\n",
    "lines of 998": b"\r\n" + (b"x" * 998 + b"\r\n") * 3,
    "lines of 5,000": b"\r\n" + (b"." * 5_000 + b"\r\n") * 3,
    "lines of 200,000": b"\r\n" + (b"." + b"y" * 199_999 + b"\r\n") * 3,
    "dots at every border": b"\r\n" + (b"." * 61 + b"\r\n") * 20_000,
    "From lines": b"\r\nFrom me\r\n>From you\r\n",
    "looks like the end": b"\r\n\r\n.\r\nQUIT\r\n..\r\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), accounts=(ALICE, BOB, JURGEN)) as server:
        yield server


@contextmanager
def mx(server):
    """As another server, on port 25."""
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=60) as client:
        client.ehlo()
        yield client


@contextmanager
def submission(server):
    """As alice's mail program."""
    with smtplib.SMTP_SSL("localhost", server.ports["submissions"], timeout=60, context=server.tls) as client:
        client.login(ALICE, server.password(ALICE))
        yield client


class Pop3:
    """A client that takes lines of any length, as poplib does not."""

    def __init__(self, server, address):
        self._socket = socket.create_connection((HOST, server.ports["pop3"]), timeout=60)
        self._file = self._socket.makefile("rb")
        assert self._file.readline().startswith(b"+OK")
        self.command("UTF8")
        self.command(f"USER {address}")
        self.command(f"PASS {server.password(address)}")

    def command(self, line):
        self._socket.sendall(line.encode() + b"\r\n")
        reply = self._file.readline()
        assert reply.startswith(b"+OK"), (line, reply)
        return reply

    def retrieve(self, number):
        """The octets of a message, dots removed."""
        self.command(f"RETR {number}")
        content = bytearray()
        while (line := self._file.readline()) != b".\r\n":
            assert line.endswith(b"\r\n")
            content += line.removeprefix(b".")
        return bytes(content)

    def quit(self):
        self.command("QUIT")
        self._file.close()
        self._socket.close()


def fetch_only(server, address):
    """The one message in a mailbox, after which the mailbox is empty. Its size must be what STAT and LIST say."""
    client = Pop3(server, address)
    count, size = client.command("STAT").split()[1:3]
    assert count == b"1"
    assert client.command("LIST 1").split()[1:3] == [b"1", size]
    content = client.retrieve(1)
    assert len(content) == int(size)
    client.command("DELE 1")
    client.quit()
    return content


def assert_same(fetched, sent):
    """`fetched` is `sent` behind trace fields, and nothing else."""
    assert fetched.endswith(sent), f"{len(fetched)} octets fetched, {len(sent)} sent; they differ"
    trace = re.sub(rb"\r\n[ \t]", b" ", fetched.removesuffix(sent)).splitlines()
    names = {line.partition(b":")[0] for line in trace}
    # What strangers send has the verdicts on who sent it as well.
    assert names - {b"Authentication-Results", b"Received-SPF"} == {b"Return-Path", b"Delivered-To", b"Received"}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("way", [mx, submission], ids=["port 25", "submission"])
def test_data(server, way, body):
    sent = HEADER + body
    with way(server) as client:
        client.sendmail(ALICE, [BOB], sent, mail_options=["BODY=8BITMIME"])
    assert_same(fetch_only(server, BOB), sent)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("chunk", [1_000, 70_000, 10_000_000])
def test_bdat(server, body, chunk):
    sent = HEADER + body
    with mx(server) as client:
        send_chunks(client, BOB, sent, chunk)
    assert_same(fetch_only(server, BOB), sent)


@pytest.mark.parametrize("end", [b"no newline", b"x" * 300_000, b"."])
def test_bdat_without_a_final_newline_gets_one(server, end):
    """RFC 3030 content may end anywhere; a stored message, and what POP3 sends, ends with a line end."""
    sent = HEADER + b"\r\n" + end
    with mx(server) as client:
        send_chunks(client, BOB, sent, 100_000)
    assert_same(fetch_only(server, BOB), sent + b"\r\n")


def send_chunks(client, recipient, content, chunk):
    assert client.docmd("MAIL", f"FROM:<{ALICE}> BODY=8BITMIME")[0] == 250
    assert client.docmd("RCPT", f"TO:<{recipient}>")[0] == 250
    pieces = [content[at : at + chunk] for at in range(0, len(content), chunk)]
    for number, piece in enumerate(pieces, 1):
        client.send(b"BDAT %d%s\r\n" % (len(piece), b" LAST" if number == len(pieces) else b"") + piece)
        assert client.getreply()[0] == 250


def content_of(size):
    """A message of exactly so many octets."""
    line = b"." + os.urandom(300).hex().encode() + b"\r\n"
    content = HEADER + b"\r\n" + line * ((size - len(HEADER) - 4) // len(line))
    return content + b"x" * (size - len(content) - 2) + b"\r\n"


def test_a_message_as_large_as_we_say_we_take(server):
    with mx(server) as client:
        limit = int(client.esmtp_features["size"])
        assert limit >= 50_000_000
        sent = content_of(limit)
        client.sendmail(ALICE, [BOB], sent)
    assert_same(fetch_only(server, BOB), sent)


def test_one_octet_more_is_refused_whether_it_is_told_before_or_not(server):
    with mx(server) as client:
        sent = content_of(int(client.esmtp_features["size"]) + 1)
        with pytest.raises(smtplib.SMTPSenderRefused, match="552"):
            client.sendmail(ALICE, [BOB], sent)
        assert client.mail(ALICE)[0] == client.rcpt(BOB)[0] == 250
        assert client.data(sent)[0] == 552
        assert client.noop()[0] == 250
    assert server.messages(BOB) == []


@pytest.mark.parametrize("way", [mx, submission], ids=["port 25", "submission"])
def test_addresses_and_header_in_another_script(server, way):
    sent = UTF8_HEADER + "\r\nGrüße\r\n".encode()
    with way(server) as client:
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        sender = ALICE if way is submission else "søren@elsewhere.test"
        client.sendmail(sender, [JURGEN], sent, mail_options=options)
    fetched = fetch_only(server, JURGEN)
    assert_same(fetched, sent)
    assert f"Delivered-To: {JURGEN}\r\n".encode() in fetched
    assert f"Return-Path: <{sender}>\r\n".encode() in fetched


def test_one_message_for_several_mailboxes(server):
    sent = HEADER + BODIES["dots"]
    with mx(server) as client:
        client.sendmail("ann@elsewhere.test", [ALICE, BOB], sent)
    for address in (ALICE, BOB):
        assert_same(fetch_only(server, address), sent)


def test_what_was_sent_survives_a_restart(tmp_path):
    sent = HEADER + BODIES["noise"]
    with Server(tmp_path) as server:
        with mx(server) as client:
            client.sendmail(ALICE, [BOB], sent, mail_options=["BODY=8BITMIME"])
        server.restart()
        assert_same(fetch_only(server, BOB), sent)
