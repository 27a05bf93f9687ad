"""The web listeners of the real process: policy, settings, status, and clients that mean no good."""

import http.client
import smtplib
import socket
import ssl
import time
import urllib.parse

import pytest
import pytest_twisted
import trustme
from twisted.internet import reactor

from mailserver.mail.mta_sts import StsMode, StsPolicy
from mailserver.net.policy_host import PolicyHosts
from mailserver.policy.mta_sts import parse_policy
from tests.fakes.network import MemoryResolver
from tests.integration.server import ALICE, HOST, LIMIT_S, Server, wait_until

NAMES = ("mail.example.test", "mta-sts.example.test", "autoconfig.example.test")
POLICY_PATH = "/.well-known/mta-sts.txt"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority):
    """One server for all of these, with a certificate of a test authority."""
    folder = tmp_path_factory.mktemp("web")
    issue(authority, folder)
    settings = {
        "tls": {"certificate": str(folder / "cert.pem"), "private_key": str(folder / "key.pem")},
        "mta_sts": {"mode": "enforce"},
        "web": {"status": True},
    }
    with Server(folder, settings, web=True) as running:
        yield running


def issue(authority, folder, names=NAMES):
    """A certificate and its key, as files, for the first time or in place of those before."""
    issued = authority.issue_cert(*names)
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))


def context(authority):
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting


class ToServer(http.client.HTTPSConnection):
    """HTTPS to a port of the loopback whatever the host name; the certificate must be for the name."""

    def connect(self):
        self.sock = self._context.wrap_socket(
            socket.create_connection((HOST, self.port), self.timeout), server_hostname=self.host
        )


def fetch(server, authority, host, path, method="GET", body=None):
    connection = ToServer(host, server.ports["https"], timeout=LIMIT_S, context=context(authority))
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def plain(server, host, path):
    connection = http.client.HTTPConnection(HOST, server.ports["http"], timeout=LIMIT_S)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_policy_is_fetched_over_https_and_nowhere_else(server, authority):
    status, headers, body = fetch(server, authority, "mta-sts.example.test", POLICY_PATH)
    assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert headers["Server"] is None
    assert body == b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.test\r\nmax_age: 604800\r\n"
    assert fetch(server, authority, "mail.example.test", POLICY_PATH)[0] == 404
    assert plain(server, "mta-sts.example.test", POLICY_PATH)[0] == 404


@pytest_twisted.ensureDeferred
async def test_our_own_client_follows_our_own_policy(server, authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    resolver = MemoryResolver(addresses={"mta-sts.example.test": [HOST]})
    hosts = PolicyHosts(reactor, resolver, lambda _: True, port=server.ports["https"], ca_file=tmp_path / "ca.pem")
    policy = parse_policy(await hosts.fetch("example.test"))
    assert policy == StsPolicy(StsMode.ENFORCE, ("mail.example.test",), 604800)


def test_mail_programs_find_the_ports_of_this_server(server, authority):
    path = "/mail/config-v1.1.xml?" + urllib.parse.urlencode({"emailaddress": ALICE})
    for status, body in (
        fetch(server, authority, "autoconfig.example.test", path)[::2],
        plain(server, "autoconfig.example.test", path),
    ):
        assert status == 200
        for service in ("pop3s", "pop3", "submissions", "submission"):
            assert f"<port>{server.ports[service]}</port>".encode() in body
    asking = f"<Autodiscover><Request><EMailAddress>{ALICE}</EMailAddress></Request></Autodiscover>"
    status, _, body = fetch(server, authority, "mail.example.test", "/autodiscover/autodiscover.xml", "POST", asking)
    assert status == 200
    assert f"<LoginName>{ALICE}</LoginName>".encode() in body


def test_the_status_is_shown_here_and_counts(server):
    status, body = plain(server, "localhost", "/status")
    assert status == 200
    assert b"Messages in the queue" in body
    assert plain(server, "status.example.com", "/status")[0] == 404
    assert b"mailserver_queue_messages 0" in plain(server, "127.0.0.1", "/metrics")[1]


def test_a_header_without_end_is_refused_and_the_server_stays_well(server):
    for service in ("http", "https"):
        with socket.create_connection((HOST, server.ports[service]), timeout=LIMIT_S) as client:
            try:
                for _ in range(200):
                    client.sendall(b"X" * 4096)
                answer = client.recv(100)
            except (ConnectionResetError, BrokenPipeError):
                answer = b""
            assert answer[:12] in (b"", b"HTTP/1.1 431") or service == "https"
    assert plain(server, "localhost", "/")[0] == 404


def test_idle_connections_starve_neither_mail_nor_pages(server):
    idle = []
    try:
        for number in range(200):
            # From many clients, or the cap for one would do it all.
            client = socket.create_connection(
                (HOST, server.ports["http" if number % 2 else "https"]),
                timeout=LIMIT_S,
                source_address=(f"127.0.{1 + number // 100}.{1 + number % 100}", 0),
            )
            idle.append(client)
        began = time.monotonic()
        with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as mail:
            mail.sendmail("stranger@outside.example", [ALICE], b"Subject: still here\r\n\r\nYes.\r\n")
        assert plain(server, "localhost", "/")[0] == 404
        assert time.monotonic() - began < LIMIT_S / 3
    finally:
        for client in idle:
            client.close()


def test_a_new_certificate_is_used_without_a_restart(server, authority):
    def serial():
        with context(authority).wrap_socket(
            socket.create_connection((HOST, server.ports["https"]), LIMIT_S), server_hostname="mta-sts.example.test"
        ) as client:
            return client.getpeercert()["serialNumber"]

    before = serial()
    issue(authority, server.folder, (*NAMES, "mta-sts.example.net"))
    server.reload()
    wait_until(lambda: serial() != before, "the new certificate")
    assert fetch(server, authority, "mta-sts.example.test", POLICY_PATH)[0] == 200
