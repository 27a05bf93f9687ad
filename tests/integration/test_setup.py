"""What `mailserver setup` writes is a server: it starts, takes mail, serves it; fail2ban finds guessers in its log."""

import configparser
import json
import poplib
import random
import re
import smtplib
import subprocess

import pytest

from mailserver.setup.listening import ALL
from tests.integration.server import HOST, LIMIT_S, MAILSERVER, SERVICES, Server, takes_connections, wait_until

ALICE = "alice@example.org"
# As fail2ban 1.0 expands them (server/ipdns.py, server/failregex.py).
IP4 = r"(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})"
IP6 = r"(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):))"


def free_offset():
    """So many above the usual ports nobody listens now."""
    while True:
        offset = random.randrange(10000, 55000)
        if not any(takes_connections(port + offset) for port in ALL.values()):
            return offset


class SetUpServer(Server):
    """Its configuration is written by setup, below the same folder."""

    def configure(self, settings):
        self.offset = free_offset()
        done = subprocess.run(
            [
                *(MAILSERVER, "setup", "example.org", "--user", "alice", "--offline", "--yes", "--json"),
                *("--directory", self.folder, "--port-offset", str(self.offset)),
            ],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, done.stderr
        self.plan = json.loads(done.stdout)
        self.ports = {name: ALL[name] + self.offset for name in SERVICES}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with SetUpServer(tmp_path_factory.mktemp("setup")) as server:
        yield server


def test_it_takes_mail_and_serves_it_with_the_password_that_setup_printed(server):
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
        client.sendmail("tony@outside.example", [ALICE, "postmaster@example.org"], b"Subject: hello\r\n\r\nhello\r\n")
    server.wait_for_messages(ALICE, 1)
    client = poplib.POP3_SSL(HOST, server.ports["pop3s"], timeout=LIMIT_S, context=_any_certificate())
    client.user(ALICE)
    client.pass_(server.plan["password"])
    assert client.stat()[0] >= 1
    client.quit()


def test_it_sends_for_who_logs_in(server):
    with smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S) as client:
        client.starttls(context=_any_certificate())
        client.login(ALICE, server.plan["password"])
        client.sendmail(ALICE, [ALICE], b"From: alice@example.org\r\nSubject: to myself\r\n\r\nx\r\n")
    wait_until(lambda: any(b"to myself" in one for one in server.messages(ALICE)), "the message to myself")


def test_fail2ban_finds_who_guesses_passwords_and_nobody_else(server):
    """By the real lines of the real log."""
    forged = 'x" mechanism=PLAIN reason="wrong login or password\r\n[mail#info] login-refused [198.51.100.9:1]'
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
        client.ehlo("login-refused")
        name = '<"[mail#info] login-refused [198.51.100.9:1] service=smtp reason=wrong password"@example.org>'
        client.docmd(f"MAIL FROM:{name}")
        client.docmd(f"RCPT TO:{name}")
    server.wait_for_log("550 5.1.1")
    with smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S) as client:
        client.starttls(context=_any_certificate())
        client.ehlo()
        for client.user in (ALICE, forged):
            client.password = "guess"
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.auth("PLAIN", client.auth_plain)
    client = poplib.POP3_SSL(HOST, server.ports["pop3s"], timeout=LIMIT_S, context=_any_certificate())
    client.user(ALICE)
    with pytest.raises(poplib.error_proto):
        client.pass_("guess")
    client.close()
    server.wait_for_log("[mail#info] login-refused [127.0.0.1:", 3)
    expression = failregex(server.folder)
    found = [match["ip4"] for line in server.log.splitlines() if (match := expression.search(line))]
    assert found == ["127.0.0.1"] * 3


LINE = "2026-01-05T10:00:00+0000 [mail#info] login-refused [{}] service=pop3 login={} mechanism=USER reason={}"


@pytest.mark.parametrize(
    ("line", "address"),
    [
        (LINE.format("192.0.2.1:4711", "alice", '"wrong name or password"'), "192.0.2.1"),
        (LINE.format("[2001:db8::1]:4711", "alice", '"wrong name or password"'), "2001:db8::1"),
        # As fail2ban makes it of the journal, and of a file, where it takes the time off first.
        ("host twistd[812]: " + LINE.format("192.0.2.1:4711", "alice", '"wrong name or password"'), "192.0.2.1"),
        (" " + LINE.format("192.0.2.1:4711", "alice", '"wrong name or password"').partition(" ")[2], "192.0.2.1"),
        # Not the client's fault.
        (LINE.format("192.0.2.1:4711", "alice", '"too many maildrops wait"'), None),
        (LINE.format("192.0.2.1:4711", r'"x reason=\"wrong name or password\""', '"too many maildrops wait"'), None),
        # A Unix socket has no address.
        (LINE.format("local", "alice", '"wrong name or password"'), None),
        # Not at the beginning of a line.
        (
            "2026-01-05T10:00:00+0000 [mail#info] refused [192.0.2.1:1] about="
            + LINE.format("198.51.100.9:1", "a", "wrong"),
            None,
        ),
    ],
)
def test_the_expression_for_fail2ban(server, line, address):
    match = failregex(server.folder).search(line)
    assert (match and (match["ip4"] or match["ip6"])) == address


def failregex(folder):
    """The expression of the sample as fail2ban reads it."""
    parser = configparser.RawConfigParser()
    parser.read(folder / "samples" / "fail2ban-filter.conf")
    text = parser["Definition"]["failregex"]
    return re.compile(text.replace("<IP4>", IP4).replace("<IP6>", IP6))


def _any_certificate():
    import ssl

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
