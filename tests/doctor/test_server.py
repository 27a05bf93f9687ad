"""The server itself: running, listening, reachable, open files, configuration."""

from dataclasses import replace

import pytest

from mailserver.doctor.check import Verdict
from mailserver.doctor.places import places, why_not_on_internet
from mailserver.doctor.server import (
    GREETING_S,
    ServerFacts,
    check_configuration,
    check_listeners,
    check_open_files,
    check_reachable,
    check_server,
)
from mailserver.survey.values import PublicAddress
from tests.doctor.configs import plain
from tests.doctor.test_names import BASE, HOST, V4
from tests.fakes.awaiting import run, start
from tests.fakes.clock import FakeClock
from tests.fakes.network import MemoryDialer
from tests.fakes.stream import BREAK, EOF, SILENCE, TLS_BROKEN, TLS_OK, C
from tests.fakes.world import ip

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
RUNNING = ServerFacts("process 1 (server)", 65536)


def test_a_server_that_does_not_run_fails():
    assert check_server(None).verdict is FAIL
    assert check_server(RUNNING).verdict is PASS
    assert check_server(ServerFacts("")).verdict is UNKNOWN


@pytest.mark.parametrize(
    ("server", "verdict"),
    [
        (None, UNKNOWN),
        (ServerFacts("process 1 (server)"), UNKNOWN),
        (RUNNING, PASS),
        (ServerFacts("process 1 (server)", 1024), WARN),
        (ServerFacts("process 1 (server)", 256), FAIL),
    ],
)
def test_open_files(server, verdict):
    assert check_open_files(plain(), server).verdict is verdict


def test_warnings_of_the_configuration():
    (found,) = check_configuration(plain(), ["postmaster: is told elsewhere"])
    assert found.verdict is PASS
    config = plain('[relay]\nsmarthost_username = "me"\nsmarthost_password_file = "x"\n')
    found = list(check_configuration(config, [f"{config.accounts.file}: aliases.x: has no effect"]))
    assert [one.verdict for one in found] == [WARN] * 3
    assert found[0].finding.startswith("relay.smarthost_username: ")
    assert len({one.key for one in found}) == 3


LISTEN = """[listen]
smtp = ["tcp:2525:interface=127.0.0.1"]
submission = []
submissions = ["tcp:2465"]
pop3 = ["unix:/run/pop3.sock"]
pop3s = []
"""


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ('smtp = ["tcp:25"]', ("127.0.0.1", 25, True)),
        ('smtp = ["tcp6:25"]', ("::1", 25, True)),
        ('smtp = ["tcp:25:interface=0.0.0.0"]', ("127.0.0.1", 25, True)),
        ('smtp = ["tcp:25:interface=203.0.114.7"]', ("203.0.114.7", 25, True)),
        ('smtp = ["tcp:25:interface=127.0.0.2"]', ("127.0.0.2", 25, False)),
        ('smtp = ["tcp:0"]', (None, 0, False)),
        ('smtp = ["haproxy:tcp:25"]', (None, 0, True)),
        ('smtp = ["systemd:domain=INET6:index=0"]', (None, 0, True)),
    ],
)
def test_where_a_listener_is_reached_from_here(listen, expected):
    rest = "".join(f"{service} = []\n" for service in ("submission", "submissions", "pop3", "pop3s"))
    (found,) = places(plain(f"[listen]\n{listen}\n{rest}"))
    assert (found.address, found.port, found.is_for_all) == (expected[0] and ip(expected[0]), *expected[1:])


@pytest.mark.parametrize(
    ("smtp", "submissions", "verdicts", "words"),
    [
        ((b"220 mail ESMTP\r\n", C(b"QUIT\r\n")), (TLS_OK, b"220 m\r\n", C(b"QUIT\r\n")), [PASS, PASS, SKIP], ""),
        ((b"220-mail\r\n", C(b"QUIT\r\n")), (TLS_BROKEN,), [PASS, FAIL, SKIP], "TLS failed: no shared cipher"),
        ((b"554 go away\r\n",), (TLS_OK, b"22", b"0 m\r\n"), [FAIL, PASS, SKIP], "554 go away"),
        ((EOF,), (TLS_OK, BREAK), [FAIL, FAIL, SKIP], "it says nothing"),
        ("the connection was refused", (TLS_OK, b"220 m\r\n"), [FAIL, PASS, SKIP], "the connection was refused"),
    ],
)
def test_each_listener_is_greeted(smtp, submissions, verdicts, words):
    dialer = MemoryDialer({"127.0.0.1": [smtp, submissions]})
    found = run(check_listeners(places(plain(LISTEN)), HOST, dialer, FakeClock(), is_running=True))
    assert [one.verdict for one in found] == verdicts
    assert dialer.dialed == [("127.0.0.1", 2525), ("127.0.0.1", 2465)]
    assert any(words in one.finding for one in found)
    assert all(stream.ending for stream in dialer.streams)


def test_a_silent_listener_is_not_waited_for_long():
    clock = FakeClock()
    dialer = MemoryDialer({"127.0.0.1": [(SILENCE,), (TLS_OK, b"220 m\r\n")]})
    looking = start(check_listeners(places(plain(LISTEN)), HOST, dialer, clock, is_running=True))
    clock.advance(GREETING_S)
    assert looking.result[0].verdict is FAIL
    assert "it says nothing" in looking.result[0].finding


def test_listeners_of_a_server_that_does_not_run_are_not_known():
    (found,) = run(check_listeners(places(plain(LISTEN)), HOST, MemoryDialer(), FakeClock(), is_running=False))
    assert found.verdict is UNKNOWN


NAT = PublicAddress(ip(V4), False)
HERE = PublicAddress(ip(V4), True)


@pytest.mark.parametrize(
    ("addresses", "connection", "is_running", "verdict", "words"),
    [
        pytest.param((HERE,), (b"220 mail\r\n",), True, PASS, "port 25 answers; a firewall outside", id="answers"),
        pytest.param((HERE,), "the connection was refused", True, FAIL, "does not answer from here", id="refused"),
        pytest.param((NAT,), (b"220 mail\r\n",), True, PASS, "through the router", id="through NAT"),
        pytest.param((NAT,), "no connection within 10 s", True, UNKNOWN, "many routers", id="NAT without hairpin"),
        pytest.param((), "", True, UNKNOWN, "not known", id="no address"),
        pytest.param((HERE,), "", False, UNKNOWN, "does not run", id="down"),
    ],
)
def test_the_public_address_answers(addresses, connection, is_running, verdict, words):
    dialer = MemoryDialer({V4: [connection]})
    survey = replace(BASE, addresses=addresses)
    where = places(plain())
    (found,) = run(check_reachable(survey, where, HOST, dialer, FakeClock(), is_running=is_running))
    assert (found.verdict, words in found.finding) == (verdict, True), found


def test_nobody_is_to_reach_what_listens_on_loopback():
    where = places(plain(LISTEN))
    (found,) = run(check_reachable(BASE, where, HOST, MemoryDialer(), FakeClock(), is_running=True))
    assert found.verdict is SKIP


@pytest.mark.parametrize(
    ("text", "is_there"),
    [
        ("", True),
        (LISTEN, False),
        (LISTEN + '[practice]\naccounts = ["alice@example.org"]\n', False),
        (LISTEN + '[doctor]\naddresses = ["127.0.0.1"]\n', True),
    ],
)
def test_who_is_on_the_internet(text, is_there):
    text = text.replace('"tcp:2465"', '"tcp:2465:interface=127.0.0.1"')
    assert (why_not_on_internet(plain(text)) == "") is is_there
