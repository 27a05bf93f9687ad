"""Lists that strangers are looked up in, and rspamd."""

import socket

import pytest

from mailserver.config.junk import Dnsbl, ListLooksAt
from mailserver.doctor.check import Verdict
from mailserver.doctor.neighbors import (
    always_listed,
    check_dnsbl,
    check_rspamd,
    never_listed,
    ping_url,
    socket_trouble,
)
from mailserver.mail.dns import CannotTell, NoRecords, NoSuchName
from tests.doctor.configs import plain
from tests.fakes.world import ip

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
YES, REFUSED, PARKED = (ip("127.0.0.2"),), (ip("127.255.255.254"),), (ip("198.51.100.1"),)


@pytest.mark.parametrize(
    ("always", "never", "verdict", "words"),
    [
        (YES, NoSuchName(), PASS, "answers"),
        (YES, CannotTell("SERVFAIL"), PASS, "answers"),
        (YES, YES, FAIL, "lists everything"),
        (NoSuchName(), NoSuchName(), WARN, "does not know"),
        (NoRecords(), NoSuchName(), WARN, "does not know"),
        (PARKED, PARKED, WARN, "does not know"),
        (REFUSED, REFUSED, WARN, "refuses to answer us"),
        (CannotTell("SERVFAIL"), CannotTell("SERVFAIL"), UNKNOWN, "SERVFAIL"),
    ],
)
def test_a_list_answers_and_not_for_everything(always, never, verdict, words):
    found = check_dnsbl(Dnsbl("secretkey.bl.example", "bl.example"), always, never)
    assert (found.verdict, words in found.finding, found.about) == (verdict, True, "bl.example"), found
    assert "secretkey" not in found.finding + found.remedy
    assert bool(found.remedy) is (verdict in (WARN, FAIL))


def test_what_is_asked_for_a_test():
    clients, domains = Dnsbl("bl.example"), Dnsbl("dbl.example", looks_at=ListLooksAt.DOMAIN)
    assert (always_listed(clients), never_listed(clients)) == ("2.0.0.127.bl.example", "1.0.0.127.bl.example")
    assert (always_listed(domains), never_listed(domains)) == ("test.dbl.example", "invalid.dbl.example")


AT = '[rspamd]\nurl = "http://127.0.0.1:11333"\n'


@pytest.mark.parametrize(
    ("text", "trouble", "verdict"),
    [
        ("", "", SKIP),
        (AT, "", PASS),
        (AT, "the connection was refused", WARN),
        (AT + 'when_down = "defer"\n', "the connection was refused", FAIL),
    ],
)
def test_rspamd(text, trouble, verdict):
    found = check_rspamd(plain(text), trouble)
    assert found.verdict is verdict
    assert trouble in found.finding


def test_where_rspamd_is_asked():
    assert ping_url(plain(AT).rspamd.url) == "http://127.0.0.1:11333/ping"
    assert ping_url(plain('[rspamd]\nurl = "unix:/run/rspamd.sock"\n').rspamd.url) == ""


def test_a_unix_socket_is_connected_to(tmp_path):
    path = tmp_path / "s"
    assert socket_trouble(str(path)) == "no such file or directory"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert socket_trouble(str(path)) == "connection refused"
        listening.listen()
        assert socket_trouble(str(path)) == ""
