"""Signing and checking with real servers and a name server: keys published, mail signed, verified, bounced, left."""

import json
import re
import smtplib
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tests.integration.server import ALICE, HOST, LIMIT_S, Server, free_ports, takes_connections, wait_until
from tests.policy.dkim.keys import checked

CAROL = "carol@far.test"
_LARGE = b"".join(b"line %d \t of a long letter\r\n" % number for number in range(30_000))


class Zone:
    """A name server in a process of its own, whose zone the test writes."""

    def __init__(self, folder):
        self.path = folder / "zone.json"
        self.texts = {}
        self.publish({})
        (self.port,) = free_ports(1)
        command = [sys.executable, "-m", "tests.fakes.dns_server", "--port", str(self.port), str(self.path)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: takes_connections(self.port), "the name server")

    def publish(self, texts):
        self.texts |= texts
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({name: {"TXT": [text]} for name, text in self.texts.items()}))
        new.rename(self.path)

    def stop(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def zone(tmp_path_factory):
    zone = Zone(tmp_path_factory.mktemp("zone"))
    yield zone
    zone.stop()


@pytest.fixture(scope="module")
def far(tmp_path_factory, zone):
    """The server of far.test, which checks even its neighbors on this machine."""
    settings = {
        "hostname": "mx.far.test",
        "domains": ["far.test"],
        "postmaster": CAROL,
        "authentication": {"check_loopback": True},
        "dns": {"servers": [f"{HOST}:{zone.port}"]},
    }
    with Server(tmp_path_factory.mktemp("far"), settings, accounts=[CAROL]) as server:
        yield server


@pytest.fixture(scope="module")
def near(tmp_path_factory, zone, far):
    """The server of example.test with keys, made before it started and published."""
    settings = {
        "relay": {"routes": {"far.test": f"{HOST}:{far.ports['smtp']}"}},
        "dns": {"servers": [f"{HOST}:{zone.port}"]},
    }
    server = Server(tmp_path_factory.mktemp("near"), settings)
    server.state.mkdir(parents=True)
    zone.publish(records(server.cli("dkim", "create", "example.test")))
    with server:
        server.wait_for_log("state=active", 2)
        yield server


def records(text):
    """The TXT records of a zone file by name."""
    flat = re.sub(r"\(\n|\n\)|\n(?=    )", " ", text)
    lines = [line for line in flat.splitlines() if line and not line.startswith(";")]
    return {line.split(". ")[0]: "".join(re.findall(r'"([^"]*)"', line)) for line in lines}


@contextmanager
def as_alice(server):
    with smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S) as client:
        client.starttls(context=server.tls)
        client.login(ALICE, server.password(ALICE))
        yield client


def letter(subject, body):
    return b"From: alice@example.test\r\nSubject: " + subject.encode() + b"\r\n\r\n" + body


def found(server, mailbox, subject):
    """The message with this subject, when it has come, with CRLF line ends and without the trace of the copy."""
    words = f"\nSubject: {subject}\n".encode()
    wait_until(lambda: any(words in one for one in server.messages(mailbox)), f"the message {subject}")
    return next(one for one in server.messages(mailbox) if words in one).replace(b"\n", b"\r\n")


def verdicts(zone, content):
    answers = {name: (text,) for name, text in zone.texts.items()}
    return {str(one).partition(" ")[0] + " " + one.algorithm for one in checked(content, answers, time.time()).dkim}


BOTH = {"pass rsa-sha256", "pass ed25519-sha256"}


@pytest.mark.parametrize(("subject", "body"), [("small", b"hello \r\n\r\n\r\n"), ("large", _LARGE)])
def test_what_is_signed_here_passes_there(near, far, zone, subject, body):
    with as_alice(near) as client:
        client.sendmail(ALICE, [CAROL, ALICE], letter(subject, body))
    there, here = found(far, CAROL, subject), found(near, ALICE, subject)
    for content in (there, here):
        assert verdicts(zone, content) == BOTH
        assert content.endswith(body)
    results = b" ".join(there[: there.index(b"Received:")].split())
    assert b"Authentication-Results: mx.far.test;" in results
    assert results.count(b"dkim=pass header.d=example.test") == 2
    far.wait_for_log('dkim="pass example.test ')
    assert "signatures (DKIM): pass example.test" in far.cli("why", CAROL)


def test_what_the_sendmail_command_leaves_is_signed(near, far, zone):
    near.cli("sendmail", "-f", ALICE, CAROL, stdin="From: alice@example.test\nSubject: left\n\nhello\n")
    assert verdicts(zone, found(far, CAROL, "left")) == BOTH


def test_a_report_of_the_server_is_signed(near, zone):
    with as_alice(near) as client:
        client.sendmail(ALICE, ["nobody@far.test"], letter("lost", b"x\r\n"))
    wait_until(lambda: any(b"Action: failed" in one for one in near.messages(ALICE)), "a bounce")
    report = next(one for one in near.messages(ALICE) if b"Action: failed" in one).replace(b"\n", b"\r\n")
    assert verdicts(zone, report) == BOTH


def test_a_rotation_while_the_server_runs(near, zone):
    new = records(near.cli("dkim", "rotate", "example.test", "--unchecked"))
    zone.publish(new)
    wanted = [f"s={name.partition('.')[0]};".encode() for name in new]

    def is_signed_anew():
        with as_alice(near) as client:
            client.sendmail(ALICE, [ALICE], letter("turned", b"x\r\n"))
        return any(all(one in content for one in wanted) for content in near.messages(ALICE))

    wait_until(is_signed_anew, "a message that is signed with the new keys")
    states = {one["selector"]: one["state"] for one in json.loads(near.cli("dkim", "list", "--json"))}
    assert sorted(states.values()) == ["active", "active", "retiring", "retiring"]
