"""A disk that takes seconds for each sync: nobody waits for it but those whose mail is being put on it.

strace holds up each fsync(2) of the process; everything else is as fast as ever.
"""

import poplib
import shutil
import smtplib
import subprocess
import threading
import time
from contextlib import contextmanager

from tests.integration.server import ALICE, BOB, HOST, LIMIT_S, Server, wait_until

SYNC_S = 2.0
SOON_S = 1.0


@contextmanager
def slow_syncs(server, sync_s=SYNC_S):
    """Each sync of a file or folder takes `sync_s` more while this lasts."""
    strace = shutil.which("strace")
    assert strace, "this test needs strace: apt install strace"
    calls = "fsync,fdatasync"
    delay = f"inject={calls}:delay_enter={sync_s * 1e6:.0f}"
    command = [strace, "-f", "-p", str(server.pid), "-e", f"trace={calls}", "-e", delay, "-o", "/dev/null"]
    said = server.folder / "strace.log"
    with said.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_until(lambda: "attached" in said.read_text() or process.poll() is not None, "strace")
        assert process.poll() is None, f"strace may not look at the server: {said.read_text()}"
        yield
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def send(server, recipients):
    """Seconds until the message was acknowledged."""
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
        client.ehlo()
        began = time.monotonic()
        client.sendmail("stranger@outside.example", recipients, b"Subject: x\r\n\r\nhi\r\n")
        return time.monotonic() - began


def test_a_disk_that_syncs_slowly_delays_its_own_mail_and_nobody_else(tmp_path):
    settings = {"pop3": {"auth_without_tls": "always"}}
    with Server(tmp_path, settings) as server:
        send(server, [ALICE])
        took = []
        with slow_syncs(server):
            sending = threading.Thread(target=lambda: took.append(send(server, [BOB])))
            sending.start()
            other = smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S)
            began, commands = time.monotonic(), 0
            while sending.is_alive() and time.monotonic() < began + SYNC_S / 2:
                asked = time.monotonic()
                assert other.noop()[0] == 250
                assert other.docmd("MAIL", "FROM:<x@outside.example>")[0] == 250
                assert other.docmd("RCPT", f"TO:<{ALICE}>")[0] == 250
                assert other.rset()[0] == 250
                assert time.monotonic() - asked < SOON_S, "another client waits for the disk"
                commands += 1
                # A client that says nothing but commands is sent away after some hundred.
                sending.join(0.05)
            assert commands > 3
            asked = time.monotonic()
            box = poplib.POP3(HOST, server.ports["pop3"], timeout=LIMIT_S)
            box.user(ALICE)
            box.pass_(server.password(ALICE))
            assert len(box.retr(1)[1]) > 1
            box.close()
            assert time.monotonic() - asked < SOON_S + 1, "reading waits for the disk that is being written"
            other.close()
            sending.join(LIMIT_S)
            assert took and took[0] > SYNC_S, "it was acknowledged before it was on disk"
        assert send(server, [BOB]) < SOON_S, "the disk is quick again, and so is the server"
        server.wait_for_messages(BOB, 2)
        assert "Traceback" not in server.log


def test_many_who_wait_for_a_slow_disk_share_its_syncs(tmp_path):
    with Server(tmp_path) as server:
        send(server, [ALICE])
        took = []
        with slow_syncs(server, sync_s=0.4):
            clients = [threading.Thread(target=lambda: took.append(send(server, [ALICE]))) for _ in range(8)]
            for client in clients:
                client.start()
            for client in clients:
                client.join(LIMIT_S)
        assert len(took) == 8
        server.wait_for_messages(ALICE, 9)
        # The first goes alone: file and folder. The others follow together: each file, and the folder once.
        assert max(took) < (2 + 8 + 1 + 2) * 0.4, "each message had syncs of its own"
