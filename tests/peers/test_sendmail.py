"""Programs that send through `/usr/sbin/sendmail` as their distributions have them set up, with ours in its place."""

import shlex

import pytest

from tests.integration.server import MAILSERVER, wait_until
from tests.peers.ours import JOE
from tests.peers.programs import need
from tests.peers.test_clients_send import run


@pytest.fixture
def sendmail(server, folder):
    """A program called sendmail that knows where this server's drop folder is."""
    link = folder / "bin" / "sendmail"
    link.parent.mkdir()
    link.symlink_to(MAILSERVER)
    script = folder / "sendmail"
    script.write_text(
        f'#!/bin/sh\nexec {shlex.quote(str(link))} --drop {shlex.quote(str(server.folder / "drop"))} "$@"\n'
    )
    script.chmod(0o755)
    return script


def environment(folder):
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8", "TERM": "dumb"}


def test_s_nail_sends_through_sendmail(server, sendmail, folder):
    options = ["-S", "v15-compat=yes", "-S", f"mta={sendmail}", "-S", "sendwait"]
    run(
        [need("s-nail"), "-n", "-s", "grüße", "-r", JOE, "-b", "bob@far.example", *options, "joe"],
        message="Grüße\n.\nend\n".encode(),
        env=environment(folder),
    )
    [letter] = server.wait_for_messages(JOE, 1)
    assert "Grüße\n.\nend\n".encode() in letter or b"Gr=C3=BC=C3=9Fe\n" in letter or b"R3L" in letter
    assert letter.startswith(b"Return-Path: <joe@example.test>\n")
    assert b"bob@far.example" not in letter
    wait_until(lambda: "bob@far.example" in server.cli("queue", "list"), "the blind copy")


def test_neomutt_sends_through_sendmail(server, sendmail, folder):
    settings = f"set sendmail='{sendmail} -oem -oi' use_envelope_from=yes from={JOE} dsn_notify=failure record=''"
    run(
        [need("neomutt"), "-n", "-F", "/dev/null", "-e", settings, "-s", "hi", "-b", "bob@far.example", JOE],
        message=b"one\n.\ntwo\n",
        env=environment(folder),
    )
    [letter] = server.wait_for_messages(JOE, 1)
    assert letter.endswith(b"\n\none\n.\ntwo\n")
    assert b"\nBcc:" not in letter
    wait_until(lambda: "bob@far.example" in server.cli("queue", "list"), "the blind copy")
