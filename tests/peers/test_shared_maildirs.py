"""Dovecot and mutt on the same Maildirs, beside our server.

The server starts as root and runs as another user (`--uid`), because Dovecot refuses root; so this also shows that what
we create belongs to that user.
"""

import imaplib
import poplib
import shlex
import smtplib
import threading
import time

import pytest

from tests.peers.ours import JOE, JOES_PASSWORD
from tests.peers.programs import need
from tests.peers.running import HOST, MAILBOX_OWNER
from tests.peers.test_clients_send import run


@pytest.fixture
def server(start_server):
    return start_server({"pop3": {"auth_without_tls": "loopback"}}, user=MAILBOX_OWNER)


@pytest.fixture
def dovecot(server, start_dovecot):
    return start_dovecot(server.maildirs, password=JOES_PASSWORD)


@pytest.fixture
def imap(dovecot):
    client = imaplib.IMAP4(HOST, dovecot.imap_port, timeout=30)
    client.login(JOE, JOES_PASSWORD)
    client.select()
    yield client
    client.logout()


def pop3(server):
    """A POP3 session at our server."""
    client = poplib.POP3(HOST, server.ports["pop3"], timeout=30)
    client.user(JOE)
    client.pass_(JOES_PASSWORD)
    return client


def message(number):
    return b"From: ann@elsewhere.test\r\nSubject: message %d\r\n\r\n.body %d\r\n" % (number, number)


def deliver(server, count, first=0):
    for number in range(first, first + count):
        server.deliver("ann@elsewhere.test", [JOE], message(number))


def subjects(contents):
    return [content.partition(b"\nSubject: message ")[2].split()[0].decode() for content in contents]


def retrieve_all(client):
    """Every message of a POP3 session, checked against LIST."""
    contents = []
    for line in client.list()[1]:
        number, size = map(int, line.split())
        content = b"".join(line + b"\r\n" for line in client.retr(number)[1])
        assert len(content) == size
        contents.append(content)
    return contents


class Load:
    """Delivers messages over several connections while something else happens."""

    def __init__(self, server, count, connections=4):
        self._threads = [
            threading.Thread(target=self._send, args=(server, range(first, count, connections)))
            for first in range(connections)
        ]
        self.acknowledged: list[str] = []

    def _send(self, server, numbers):
        with smtplib.SMTP(HOST, server.ports["smtp"], timeout=30) as client:
            for number in numbers:
                client.sendmail("ann@elsewhere.test", [JOE], message(number))
                self.acknowledged.append(str(number))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *details):
        for thread in self._threads:
            thread.join(60)

    @property
    def is_running(self):
        return any(thread.is_alive() for thread in self._threads)


# --- at the same time -------------------------------------------------------------------------------------------------


def test_dovecot_reads_by_imap_while_we_deliver(server, dovecot, imap):
    seen = {}
    with Load(server, 300) as load:
        while True:
            was_running = load.is_running
            imap.noop()
            for content, octets in _fetch_new(imap, len(seen)):
                assert len(content) == octets
                seen[len(seen)] = content
            if not was_running:
                break
    assert sorted(subjects(seen.values())) == sorted(load.acknowledged)
    assert len(load.acknowledged) == 300
    assert "Error" not in dovecot.read_log()
    assert "Corrupted" not in dovecot.read_log()


def _fetch_new(imap, known):
    """Content and RFC822.SIZE of every message behind the first `known`."""
    _, (count,) = imap.select(readonly=True)
    if int(count) <= known:
        return
    _, answers = imap.fetch(f"{known + 1}:*", "(RFC822.SIZE BODY.PEEK[])")
    for answer in answers:
        if isinstance(answer, tuple):
            words = answer[0].split()
            yield answer[1], int(words[words.index(b"(RFC822.SIZE") + 1])


def test_dovecot_empties_the_mailbox_by_pop3_while_we_deliver(server, dovecot):
    taken = []
    with Load(server, 300) as load:
        while True:
            was_running = load.is_running
            client = poplib.POP3(HOST, dovecot.pop3_port, timeout=30)
            client.user(JOE)
            client.pass_(JOES_PASSWORD)
            contents = retrieve_all(client)
            for number in range(1, len(contents) + 1):
                client.dele(number)
            client.quit()
            taken += contents
            if not was_running:
                break
    assert sorted(subjects(taken)) == sorted(load.acknowledged)
    assert server.messages(JOE) == []
    assert "Error" not in dovecot.read_log()


def test_we_empty_the_mailbox_by_pop3_while_dovecot_has_it_open(server, dovecot, imap):
    taken = []
    with Load(server, 200) as load:
        while True:
            was_running = load.is_running
            if int(imap.select()[1][0]):
                imap.store("1", "+FLAGS", r"(\Seen)")
            client = pop3(server)
            contents = retrieve_all(client)
            for number in range(1, len(contents) + 1):
                client.dele(number)
            client.quit()
            taken += contents
            if not was_running:
                break
    assert sorted(subjects(taken)) == sorted(load.acknowledged)
    assert server.messages(JOE) == []
    imap.noop()
    assert imap.select() == ("OK", [b"0"])


# --- one after the other ----------------------------------------------------------------------------------------------


def test_what_dovecot_flagged_moved_and_deleted_is_served_with_the_same_uidls(server, imap):
    deliver(server, 5)
    client = pop3(server)
    uidls = [line.split()[1] for line in client.uidl()[1]]
    client.quit()
    imap.select()
    imap.store("1", "+FLAGS", r"(\Seen \Flagged)")
    imap.store("2", "+FLAGS", "(work private)")
    imap.store("3", "+FLAGS", r"(\Deleted)")
    imap.expunge()
    imap.fetch("4", "(BODY[])")
    client = pop3(server)
    assert [line.split()[1] for line in client.uidl()[1]] == [*uidls[:2], *uidls[3:]]
    assert subjects(retrieve_all(client)) == ["0", "1", "3", "4"]
    client.quit()


def test_what_dovecot_appended_and_copied_is_served_exactly(server, imap):
    """Dovecot writes its own names, and a copy may be a second link to the same file."""
    deliver(server, 1)
    imap.select()
    imap.append("INBOX", r"(\Seen)", imaplib.Time2Internaldate(time.time()), message(1))
    imap.select()
    imap.copy("1", "INBOX")
    client = pop3(server)
    assert sorted(subjects(retrieve_all(client))) == ["0", "0", "1"]
    assert len({line.split()[1] for line in client.uidl()[1]}) == 3
    client.quit()


def test_changes_by_dovecot_during_our_session_move_no_numbers(server, imap):
    deliver(server, 4)
    client = pop3(server)
    listed = client.list()[1]
    imap.select()
    imap.store("1", "+FLAGS", r"(\Seen \Answered)")
    imap.store("2", "+FLAGS", r"(\Deleted)")
    imap.expunge()
    deliver(server, 1, first=4)
    assert client.list()[1] == listed
    assert subjects([b"\n".join(client.retr(1)[1])]) == ["0"]
    with pytest.raises(poplib.error_proto):
        client.retr(2)
    assert subjects([b"\n".join(client.retr(3)[1])]) == ["2"]
    client.dele(1)
    client.quit()
    client = pop3(server)
    assert subjects(retrieve_all(client)) == ["2", "3", "4"]
    client.quit()


def test_what_we_deleted_is_gone_for_dovecot(server, imap):
    deliver(server, 3)
    imap.select()
    client = pop3(server)
    client.dele(2)
    client.quit()
    imap.noop()
    _, (numbers,) = imap.search(None, "ALL")
    assert len(numbers.split()) == 2


def test_what_mutt_flagged_and_deleted_is_served_with_the_same_uidls(server, tmp_path):
    deliver(server, 3)
    client = pop3(server)
    uidls = [line.split()[1] for line in client.uidl()[1]]
    client.quit()
    (tmp_path / "muttrc").write_text(
        f'set folder="{tmp_path}" quit=yes delete=yes move=no resolve=no header_cache="" sort=subject timeout=1\n'
    )
    keys = "<first-entry><flag-message><next-entry><delete-message><last-entry><display-message><exit>"
    keys += "<sync-mailbox><quit>"
    mutt = [need("mutt"), "-n", "-F", str(tmp_path / "muttrc"), "-f", str(server.mailbox(JOE)), "-e", f'push "{keys}"']
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "vt100", "LC_ALL": "C.UTF-8"}
    run([need("script"), "-qec", shlex.join(mutt), "/dev/null"], env=environment)
    flags = sorted(path.name.partition(":2,")[2] for path in (server.mailbox(JOE) / "cur").iterdir())
    assert flags == ["F", "S"]
    client = pop3(server)
    assert [line.split()[1] for line in client.uidl()[1]] == [uidls[0], uidls[2]]
    assert subjects(retrieve_all(client)) == ["0", "2"]
    client.quit()


def test_junk_of_ours_is_a_folder_that_dovecot_shows(start_server, start_dns, start_dovecot):
    names = start_dns("2.0.0.127.zen.test. A 127.0.0.4")
    settings = {
        "dns": {"servers": [f"{HOST}:{names.port}"]},
        "authentication": {"check_loopback": True, "spf": "off", "dkim": "off"},
        "junk": {"deliver": "folder"},
        "dnsbl": [{"zone": "zen.test"}],
    }
    server = start_server(settings, user=MAILBOX_OWNER)
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=30, source_address=("127.0.0.2", 0)) as client:
        client.sendmail("ann@elsewhere.test", [JOE], message(1))
    dovecot = start_dovecot(server.maildirs, password=JOES_PASSWORD)
    client = imaplib.IMAP4(HOST, dovecot.imap_port, timeout=30)
    client.login(JOE, JOES_PASSWORD)
    assert [line.rpartition(b" ")[2] for line in client.lsub()[1]] == [b"Junk"]
    assert client.select()[1] == [b"0"] and client.select("Junk")[1] == [b"1"]
    content = client.fetch("1", "(RFC822)")[1][0][1]
    assert content.startswith(b"Return-Path:") and b"X-Spam-Flag: YES\r\n" in content
    client.logout()
