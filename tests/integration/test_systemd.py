"""Under systemd, played by the test: sockets that are handed over, and the word that the server is ready."""

import fcntl
import smtplib
import socket
import sys

from tests.integration.server import ALICE, HOST, LIMIT_S, Server, wait_until

# systemd knows the process id before the program runs; so does a Python that becomes the program.
BECOME = """
import os, sys
count, command = int(sys.argv[1]), sys.argv[2 + int(sys.argv[1]):]
for index, descriptor in enumerate(map(int, sys.argv[2:2 + count])):
    os.dup2(descriptor, 3 + index)
names = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "smtp:pop3"}
os.execve(command[0], command, {**os.environ, **names})
"""


class ActivatedServer(Server):
    """Its sockets are open before it starts; systemd names them by LISTEN_FDS, from descriptor 3 on."""

    def __init__(self, folder, sockets, **arguments):
        self._descriptors = [one.fileno() for one in sockets]
        super().__init__(folder, pass_fds=self._descriptors, **arguments)

    @property
    def command(self):
        descriptors = [str(one) for one in self._descriptors]
        return [sys.executable, "-c", BECOME, str(len(descriptors)), *descriptors, *super().command]


def listening():
    """A listening socket whose descriptor is out of the way of 3 and 4."""
    with socket.socket() as opened:
        opened.bind((HOST, 0))
        opened.listen()
        return socket.socket(fileno=fcntl.fcntl(opened.fileno(), fcntl.F_DUPFD, 50))


def test_sockets_of_systemd_are_served_by_index_and_by_name(tmp_path):
    smtp, pop3 = listening(), listening()
    settings = {
        "practice": None,
        "listen": {
            "smtp": ["systemd:domain=INET:index=0"],
            "pop3": ["systemd:domain=INET:name=pop3"],
            "submission": [],
            "submissions": [],
            "pop3s": [],
        },
    }
    server = ActivatedServer(tmp_path, [smtp, pop3], settings=settings)
    server.cli("account", "add", ALICE, "--password-stdin", stdin="correct horse battery\n")
    server.launch()
    try:
        with smtplib.SMTP(HOST, smtp.getsockname()[1], timeout=LIMIT_S) as client:
            client.sendmail("stranger@outside.example", [ALICE], b"Subject: x\r\n\r\nx\r\n")
        with socket.create_connection(pop3.getsockname(), timeout=LIMIT_S) as client:
            assert client.recv(100).startswith(b"+OK")
        assert len(server.messages(ALICE)) == 1
        server.stop()
    finally:
        server.kill()
        smtp.close()
        pop3.close()


def test_systemd_is_told_when_the_server_is_ready_and_when_it_stops(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(LIMIT_S)
        server = Server(tmp_path, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        server.launch()
        try:
            assert systemd.recv(100) == b"READY=1"
            wait_until(server._answers, "the greetings, which must be there when systemd was told so", limit_s=5)
            server.stop()
            assert systemd.recv(100) == b"STOPPING=1"
        finally:
            server.kill()
