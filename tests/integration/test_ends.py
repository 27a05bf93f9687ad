"""How connections end: the client's half closed behind the last dot, and our last words to one that goes on sending."""

import select
import socket
import ssl

import pytest

from tests.integration.server import HOST, Server, wait_until

ALICE = "alice@example.test"


def connect(server, service):
    connection = socket.create_connection((HOST, server.ports[service]), 10)
    connection.settimeout(20)
    return connection


def ends(server):
    return "\n".join(line for line in server.log.splitlines() if " disconnected " in line or "disconnected [" in line)


def said_until_the_end(connection):
    """Everything to the end of the stream; a reset raises."""
    octets = b""
    while piece := connection.recv(65536):
        octets += piece
    return octets


def test_a_client_that_ends_tls_right_behind_the_dot_has_its_message_filed_once(tmp_path):
    with Server(tmp_path) as server, connect(server, "smtp") as plain:
        wire = plain.makefile("rb")
        wire.readline()
        plain.sendall(b"EHLO client.outside.example\r\n")
        while wire.readline()[3:4] == b"-":
            pass
        plain.sendall(b"STARTTLS\r\n")
        assert wire.readline().startswith(b"220")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server.tls.wrap_bio(incoming, outgoing, server_hostname="localhost")

        def until_done(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
                finally:
                    plain.sendall(outgoing.read())

        until_done(tls.do_handshake)
        for words in (
            b"EHLO c.outside.example",
            b"MAIL FROM:<t@outside.example>",
            b"RCPT TO:<%s>" % ALICE.encode(),
            b"DATA",
        ):
            tls.write(words + b"\r\n")
            until_done(lambda: tls.read(65536))
        tls.write(b"Subject: the end\r\n\r\nhello\r\n.\r\n")
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        plain.sendall(outgoing.read())  # the dot and close_notify, in one segment
        plain.shutdown(socket.SHUT_WR)
        said_until_the_end(plain)
        server.wait_for_messages(ALICE, 1)
        server.wait_for_log("disconnected")
        server.wait_for_log(" accepted ")
        assert server.log.count(" accepted ") == 1
        assert not any(word in server.log for word in ("Traceback", "broke", "TLS failed", "trouble"))
        assert len(server.messages(ALICE)) == 1


@pytest.mark.parametrize(
    ("service", "command", "last"), [("smtp", b"NONSENSE\r\n", b"421 "), ("pop3", b"NONSENSE\r\n", b"-ERR ")]
)
def test_who_goes_on_sending_still_gets_our_last_words(tmp_path, service, command, last):
    """Input that comes after the close makes a reset of it, and many a client then sees nothing but that."""
    with Server(tmp_path, {"smtp": {"max_errors": 3}}) as server, connect(server, service) as client:
        client.sendall(command * 50)
        ended = select.poll()
        ended.register(client, select.POLLRDHUP)
        assert ended.poll(20_000), "the server closed its half"
        for _ in range(200):
            client.sendall(command * 1000)  # a reset would break this
        client.shutdown(socket.SHUT_WR)
        lines = said_until_the_end(client).splitlines()
        assert lines[-1].startswith(last) and len(lines) < 50
        wait_until(lambda: "too many errors" in ends(server).lower(), "a true reason in the log")
