"""Clients that close, flood and vanish, against the real process."""

import socket
import time

from tests.integration.server import ALICE, HOST, LIMIT_S, Server

LETTER = f"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n".encode()


def connect(server, service="smtp"):
    return socket.create_connection((HOST, server.ports[service]), timeout=LIMIT_S)


def rest(connection):
    """Everything until the server closes."""
    with connection, connection.makefile("rb") as reader:
        return reader.read()


def test_who_closes_its_half_behind_the_dot_hears_that_the_message_was_taken(tmp_path):
    """`printf ... | nc -N` does so; without the 250 a client would send the message a second time."""
    with Server(tmp_path) as server:
        for end, last in ((b"", b"accepted\r\n"), (b"QUIT\r\n", b"Goodbye\r\n")):
            client = connect(server)
            client.sendall(LETTER + end)
            client.shutdown(socket.SHUT_WR)
            assert rest(client).endswith(last)
        assert len(server.messages(ALICE)) == 2


def test_who_closes_its_half_in_the_middle_of_a_message_is_let_go_and_nothing_is_filed(tmp_path):
    with Server(tmp_path) as server:
        client = connect(server)
        client.sendall(LETTER[:-3])
        client.shutdown(socket.SHUT_WR)
        assert rest(client).endswith(b"a line with only a dot\r\n")
        server.wait_for_log('service=smtp reason="closed by the client"', 2)
        assert server.messages(ALICE) == []


def test_a_flood_of_commands_is_answered_in_order_up_to_the_limit(tmp_path):
    with Server(tmp_path) as server:
        client = connect(server)
        client.sendall(b"NOOP\r\n" * 20_000)
        banner, *answers, last = rest(client).splitlines()
        assert banner.startswith(b"220 ")
        assert answers == [b"250 2.0.0 Ok"] * 5_000
        assert last.startswith(b"421 4.7.0 Too many commands")
        server.wait_for_log('service=smtp reason="421 4.7.0 Too many commands without a message, closing"')


def test_the_log_says_when_and_why_we_closed(tmp_path):
    with Server(tmp_path, {"smtp": {"max_errors": 2}}) as server:
        for said, reason in (
            (b"FOO\r\n" * 3, "421 4.7.0 Too many errors, closing"),
            (
                b"STARTTLS\r\nEHLO x\r\n",
                "421 4.7.0 Commands came behind STARTTLS before TLS; nothing was done, closing",
            ),
            (
                b"BDAT many\r\n",
                "501 5.5.4 BDAT needs a size in octets; closing, because what follows cannot be told apart",
            ),
        ):
            client = connect(server)
            client.sendall(said)
            rest(client)
            server.wait_for_log(f'service=smtp reason="{reason}"')


def test_a_client_of_implicit_tls_that_speaks_in_clear_is_told_of_in_words(tmp_path):
    with Server(tmp_path) as server:
        client = connect(server, "submissions")
        client.sendall(b"EHLO somebody.example\r\n")
        rest(client)
        server.wait_for_log('service=submissions reason="TLS failed: wrong version number"')
        assert "Traceback" not in server.log


def test_whoever_raises_the_limit_of_recipients_may_name_them_all(tmp_path):
    """The bound on commands without a message must not come first."""
    count = 6_000
    with Server(tmp_path, {"smtp": {"max_recipients": count}}) as server:
        client = connect(server)
        client.sendall(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
        for number in range(count):
            client.sendall(b"RCPT TO:<alice+%d@example.test>\r\n" % number)
        client.sendall(b"RCPT TO:<bob@example.test>\r\nDATA\r\n\r\nhi\r\n.\r\nQUIT\r\n")
        answers = rest(client)
        assert answers.count(b"250 2.1.5 ") == count and answers.count(b"452 4.5.3 ") == 1
        assert answers.endswith(b" accepted\r\n221 2.0.0 Goodbye\r\n")
        assert len(server.messages(ALICE)) == 1


def test_a_client_that_reads_late_and_little_gets_each_answer_once(tmp_path):
    """The kernel takes a part of an answer; the rest goes another way (`Conversation._write`)."""
    with Server(tmp_path) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(LIMIT_S)
        client.connect((HOST, server.ports["smtp"]))
        client.sendall(b"HELP\r\n" * 4_000 + b"QUIT\r\n")
        time.sleep(0.3)
        answers = rest(client).splitlines()
        assert len(answers) == 1 + 3 * 4_000 + 1
        assert answers[1:-1] == answers[1:4] * 4_000
        assert answers[-1] == b"221 2.0.0 Goodbye"
