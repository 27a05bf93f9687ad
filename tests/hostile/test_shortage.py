"""Descriptors and name servers that are really gone for a while, against the real process."""

import resource
import smtplib
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hostile.watch import Crowd, Watch, attacked, attackers, cpu_s, send
from tests.integration.server import HOST, LIMIT_S, Server, wait_until
from tests.soak.next_hop import next_hop


def open_descriptors(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


# --- descriptors ------------------------------------------------------------------------------------------------------


def test_descriptors_that_are_gone_while_it_runs_are_no_end_and_no_flood_of_lines(tmp_path):
    """Idle strangers go, the accept loop pauses and does not spin, and all is well when they are back."""
    with Crowd() as crowd, attacked(tmp_path, what="descriptors gone") as watch:
        server = watch.server
        before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        for source in attackers(10):
            for _ in range(10):
                crowd.connect(server.ports["smtp"], source)
        send(server, "127.0.1.250")
        watch.sent += 1
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (open_descriptors(server.pid), before[1]))
        for _ in range(5):
            for source in attackers(10):
                crowd.connect(server.ports["smtp"], source)
            watch.ok()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
        assert server.log.count("Too many open files") >= 1
        assert watch.lines < 300


def test_with_no_descriptor_at_all_nothing_spins_and_mail_comes_in_when_there_are_some(tmp_path):
    with Server(tmp_path) as server:
        send(server)
        watch = Watch(server)
        before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (5, before[1]))
        with smtplib_in_the_background(server) as sending:
            server.wait_for_log("Too many open files")
            used = cpu_s(server.pid)
            moment(1.0)
            assert cpu_s(server.pid) - used < 0.5, "the accept loop spins"
            assert watch.lines < 20
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
            assert sending.wait(LIMIT_S) == 0
        assert len(server.messages("alice@example.test")) == 2


@contextmanager
def smtplib_in_the_background(server):
    """A client that waits for the greeting as long as it takes."""
    script = (
        "import smtplib, sys\n"
        f"with smtplib.SMTP('{HOST}', {server.ports['smtp']}, timeout={LIMIT_S}) as client:\n"
        "    client.sendmail('a@outside.example', ['alice@example.test'], b'Subject: x\\r\\n\\r\\nhi\\r\\n')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def moment(seconds):
    """Let real time pass."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, "a moment")


# --- name servers -----------------------------------------------------------------------------------------------------

ZONE = '{"far.test": {"MX": [[10, "mx.far.test"]]}, "mx.far.test": {"A": ["127.0.0.1"]}}'
TROUBLES = {
    "no answer": '{"*": {"silent": true}}',
    "SERVFAIL": '{"*": {"rcode": "SERVFAIL"}}',
    "REFUSED": '{"*": {"rcode": "REFUSED"}}',
    "truncated, and cut over TCP": '{"*": {"truncate": true, "cut": 8, "MX": [[10, "mx.far.test"]]}}',
    "port closed": "",
}


@contextmanager
def name_server(folder, zone, port):
    """The fake of `tests.fakes.dns_server` on this port."""
    path = folder / "zone.json"
    path.write_text(zone)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.dns_server", "--port", str(port), str(path)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline().startswith(b"ready")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("trouble", list(TROUBLES))
def test_mail_waits_while_dns_is_gone_and_drains_when_it_is_back(tmp_path, trouble):
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    with next_hop() as sink:
        settings = {
            "dns": {"servers": [f"{HOST}:{port}"]},
            "relay": {"port": sink.server_address[1], "allow_private": True, "retry": ["500ms"]},
            "smtp": {"trusted_networks": ["127.0.0.0/8"]},
        }
        with Server(tmp_path, settings) as server:

            def submit():
                for number in range(3):
                    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
                        client.sendmail("a@example.test", [f"x{number}@far.test"], b"Subject: x\r\n\r\nhi\r\n")

            if TROUBLES[trouble]:
                with name_server(tmp_path, TROUBLES[trouble], port):
                    submit()
                    server.wait_for_log("deferred", 3)
            else:
                submit()
                server.wait_for_log("deferred", 3)
            assert "bounced" not in server.log
            with name_server(tmp_path, ZONE, port):
                wait_until(lambda: len(sink.received) == 3, f"three messages; log:\n{server.log[-3000:]}")
            wait_until(lambda: server.cli("queue", "list", "--json").strip() == "[]", "an empty queue")
            assert "bounced" not in server.log and "Traceback" not in server.log
