"""The real rspamd as a neighbor: its verdicts are followed, and mail goes on without it."""

import smtplib
import time

import pytest

from tests.integration.server import HOST, wait_until
from tests.peers.ours import JOE
from tests.peers.rspamd import ADD_HEADER, REJECT, REWRITE_SUBJECT, Rspamd
from tests.peers.running import maildir_files, wait_for_messages

LARGE = ("y" * 70 + "\r\n") * 5000


@pytest.fixture
def rspamd(folder, stack):
    made = Rspamd(folder / "rspamd")
    stack.callback(lambda: made.stop())
    return made.start()


@pytest.fixture
def start(start_server, start_dns, rspamd):
    """Our server beside it; strangers come from this machine."""

    def start(**settings):
        names = start_dns()
        return start_server(
            {
                "dns": {"servers": [f"{HOST}:{names.port}"]},
                "authentication": {"check_loopback": True},
                "junk": {"deliver": "folder"},
                "rspamd": {"url": f"http://{HOST}:{rspamd.port}", "timeout": "1s", **settings},
            }
        )

    return start


def letter(word="", filling=""):
    """The word in a text, and a large attachment: rspamd looks for its test words in short texts only."""
    return (
        f"From: tony@outside.example\r\nTo: {JOE}\r\nSubject: hello\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="cut"\r\n\r\n'
        f"--cut\r\nContent-Type: text/plain\r\n\r\nhello\r\n{word}\r\n"
        f"--cut\r\nContent-Type: application/octet-stream\r\n\r\n{filling}\r\n--cut--\r\n"
    ).encode()


def refused(server, content):
    with pytest.raises(smtplib.SMTPDataError) as error:
        server.deliver("tony@outside.example", [JOE], content)
    return error.value.smtp_code, error.value.smtp_error.decode()


def test_its_verdicts_are_followed(start, rspamd):
    server = start()
    maildir = server.maildirs / "example.test" / "joe"
    for filling in ("", LARGE):
        answer = refused(server, letter(REJECT, filling))
        assert answer == (550, "5.7.1 This message was found to be junk: Gtube pattern")
        for word in ("", ADD_HEADER, REWRITE_SUBJECT):
            server.deliver("tony@outside.example", [JOE], letter(word, filling))
    clean = wait_for_messages(maildir, 2, rspamd.read_log)
    junk = wait_for_messages(maildir / ".Junk", 4, rspamd.read_log)
    assert all(b"X-Spam-Flag: NO" in one and b"X-Spam-Status: No, score=0.00" in one for one in clean)
    assert all(b"X-Spam-Flag: YES\nX-Spam-Status: Yes, score=" in one and b"Subject: hello" in one for one in junk)
    told = server.cli("why", "tony@outside.example")
    assert "rspamd: add header 6.00/15.00" in told and "(rspamd: reject 15.00/15.00)" in told
    assert "factory" not in server.log


@pytest.mark.parametrize(("when_down", "is_taken"), [("accept", True), ("defer", False)])
def test_killed_in_the_middle_and_back_again(start, rspamd, when_down, is_taken):
    server = start(when_down=when_down)
    maildir = server.maildirs / "example.test" / "joe"
    assert refused(server, letter(REJECT))[0] == 550
    rspamd.kill()
    for _ in range(3):
        if is_taken:
            server.deliver("tony@outside.example", [JOE], letter(REJECT))
        else:
            assert refused(server, letter(REJECT)) == (
                451,
                "4.7.1 This message cannot be checked for junk at the moment, try again later",
            )
    assert len(maildir_files(maildir)) == (3 if is_taken else 0)
    assert server.log.count("neighbor-down what=rspamd") == 1
    rspamd.start()
    wait_until(lambda: verdict(server) == 550, "rspamd is used again")
    server.wait_for_log("neighbor-back what=rspamd")
    assert server.log.count("neighbor-back what=rspamd") == 1


def test_one_that_hangs_costs_the_timeout_once(start, rspamd):
    server = start()
    rspamd.pause()
    began = time.monotonic()
    for _ in range(3):
        server.deliver("tony@outside.example", [JOE], letter())
    assert time.monotonic() - began < 2 * 1.0 + 4.0
    assert 'reason="no answer within 1 s"' in server.log
    assert len(maildir_files(server.maildirs / "example.test" / "joe")) == 3
    rspamd.kill()


def verdict(server):
    try:
        server.deliver("tony@outside.example", [JOE], letter(REJECT))
    except smtplib.SMTPDataError as error:
        return error.smtp_code
    return 250
