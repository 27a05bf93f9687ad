"""The real process, started with the most careless umask: what others can read of it, and what it writes down."""

import base64
import os
import poplib
import smtplib
import ssl
import stat
from contextlib import suppress

import pytest

from mailserver.store.control_socket import ControlFailed, Request, ask
from tests.integration.server import ALICE, BOB, HOST, Server, wait_until

WRONG = "Wr0ng-secret-4711"
LETTER = b"Subject: for bob alone 8f3a\r\n\r\ncontent 9e1c\r\n"


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A server that has seen logins of all kinds, mail in and out, a fetch and an order; and the passwords."""
    folder = tmp_path_factory.mktemp("used")
    settings = {"relay": {"transcripts": True}, "submission": {"auth_without_tls": "loopback"}}
    with Server(folder, settings, twistd_options=["--umask=0"], preexec=lambda: os.umask(0)) as server:
        secrets = {WRONG, *(server.password(one) for one in (ALICE, BOB))}
        _use(server, server.password(ALICE), server.password(BOB))
        yield server, secrets


def _use(server, alice, bob):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP(HOST, server.ports["submission"]) as client:
        with suppress(smtplib.SMTPAuthenticationError):
            client.login(ALICE, WRONG)
        client.starttls(context=context)
        client.login(ALICE, alice)
        client.sendmail(ALICE, [BOB, "x@far.example"], LETTER)
        client.sendmail(ALICE, [BOB, "x@far.example"], LETTER + b"large\r\n" * 100_000)
    # The password where a name is expected, a command is expected, and in an AUTH that is broken off.
    with smtplib.SMTP(HOST, server.ports["submission"]) as client:
        client.ehlo()
        client.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{BOB}\0{WRONG}".encode()).decode()[:-4])
        client.docmd("AUTH LOGIN " + base64.b64encode(BOB.encode()).decode())
        client.docmd("*")
    pop3 = poplib.POP3(HOST, server.ports["pop3"])
    with suppress(poplib.error_proto):
        pop3.user(BOB)
        pop3.pass_(WRONG)
    pop3.stls(context=context)
    pop3.user(BOB)
    pop3.pass_(bob)
    pop3.retr(1)
    pop3.quit()
    server.cli("suppression", "add", "nobody@far.example")
    wait_until(lambda: (server.state / "journal.sqlite3").exists(), "the journal")


def test_nobody_else_can_read_or_write_anything_of_the_servers(used):
    """Only the drop folder is open, to write and not to list; where its files may be read, names are secret."""
    server, _ = used
    seen = []
    for base in (server.state, server.maildirs, server.folder / "etc", server.folder / "drop"):
        for folder, folders, files in os.walk(base):
            for path in (os.path.join(folder, name) for name in folders + files):
                if not path.endswith("mailserver.toml"):
                    seen.append(path)
                    assert not stat.S_IMODE(os.lstat(path).st_mode) & 0o077, path
    assert stat.S_IMODE((server.folder / "drop").stat().st_mode) & 0o1777 == 0o1733
    for part in ("control.sock", "journal.sqlite3", "/messages/", "private-key.pem", "/new/", "/cur/", "accounts.toml"):
        assert any(part in path for path in seen), part


def test_passwords_and_content_are_written_down_nowhere(used):
    server, secrets = used
    forms = set()
    for secret in secrets:
        forms |= {secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")}
        for login in (ALICE, BOB):
            forms.add(base64.b64encode(f"\0{login}\0{secret}".encode()).rstrip(b"=")[:-4])
    told = server.log.encode().split(b"[twisted.", 1)[1]  # before it: the practice passwords, for the owner's eyes
    written = [told, *(path.read_bytes() for path in server.state.glob("journal*"))]
    written += [path.read_bytes() for path in server.state.rglob("queue/**/*") if path.is_file()]
    assert b"accepted" in told
    for octets in written:
        for form in forms:
            assert form not in octets
    for octets in written[: 1 + len(list(server.state.glob("journal*")))]:
        assert b"content 9e1c" not in octets


@pytest.mark.parametrize("name", ["../lock", "..", "/etc/passwd", "", "a/../../lock", "\0", "\udc9b", "x" * 100_000])
def test_an_order_names_no_file_but_a_message(used, name):
    """The control path takes queue ids; whatever else stands there is the id of no message."""
    server, _ = used
    for command in ("queue-remove", "queue-retry", "queue-hold", "queue-bounce"):
        with suppress(ControlFailed):
            assert ask(server.state, Request(command, ids=(name,))).count == 0
    assert (server.state / "lock").exists()
    assert len(list((server.state / "queue" / "messages").iterdir())) == 2
