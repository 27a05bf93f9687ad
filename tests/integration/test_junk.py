"""Junk in the real process: block lists from a name server on loopback, rspamd played by a few lines of HTTP."""

import json
import smtplib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.integration.names import name_server
from tests.integration.server import ALICE, BOB, HOST, LIMIT_S, Server, wait_until

LISTED = {"A": ["127.0.0.4"], "TXT": ["listed: https://zen.example/?q=127.0.0.1"]}
ZONE = {
    "1.0.0.127.zen.example": {"rcode": "NXDOMAIN"},
    "5.0.0.127.zen.example": LISTED,
    "6.0.0.127.zen.example": LISTED,
    "6.0.0.127.two.example": {"A": ["127.0.0.2"]},
    "7.0.0.127.zen.example": {"silent": True},
    "_dmarc.shop.example": {"TXT": ["v=DMARC1; p=quarantine"]},
}


@pytest.fixture
def names(tmp_path):
    with name_server(tmp_path, ZONE) as port:
        yield port


class Rspamd(ThreadingHTTPServer):
    """Finds `BAD` to be junk and refuses `WORSE`."""

    def __init__(self):
        super().__init__((HOST, 0), _Handler)
        self.bodies = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        action = "reject" if b"WORSE" in body else "add header" if b"BAD" in body else "no action"
        told = {"action": action, "score": 8.1, "required_score": 15, "symbols": {"WORD": {"score": 8.1}}}
        octets = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, *_):
        pass


def send(server, text="hello", *, client="127.0.0.5", to=(ALICE,), author="tony@outside.example"):
    """From an address of this machine that lists may know."""
    with smtplib.SMTP(HOST, server.ports["smtp"], "client.example", LIMIT_S, (client, 0)) as connection:
        connection.sendmail("tony@outside.example", list(to), f"From: {author}\r\nSubject: junk\r\n\r\n{text}\r\n")


def folder(server, who=ALICE, name=".Junk/new"):
    local_part, _, domain = who.partition("@")
    path = server.maildirs / domain / local_part / name
    return [one.read_bytes() for one in sorted(path.iterdir())] if path.is_dir() else []


def test_lists_mark_and_refuse_and_say_so(tmp_path, names):
    settings = {
        "dns": {"servers": [f"{HOST}:{names}"]},
        "authentication": {"check_loopback": True, "dmarc": "enforce"},
        "junk": {"deliver": "folder", "dnsbl_timeout": "1s"},
        "dnsbl": [{"zone": "zen.example", "name": "ZEN"}, {"zone": "two.example"}],
    }
    with Server(tmp_path, settings) as server:
        send(server)
        (message,) = folder(server)
        assert b"X-Spam-Flag: YES\nX-Spam-Status: Yes dnsbl=ZEN\n" in message.partition(b"\n\n")[0]
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            send(server, client="127.0.0.6")
        assert refused.value.recipients[ALICE] == (
            550,
            b"5.7.1 127.0.0.6 is listed by ZEN: listed: https://zen.example/?q=127.0.0.1\n"
            b"5.7.1 127.0.0.6 is listed by two.example\n"
            b"5.7.1 If this is an error, have it taken off there, or write to the postmaster here",
        )
        send(server, client="127.0.0.7")  # a list that is silent
        send(server, client="127.0.0.8", author="x@shop.example")
        assert len(folder(server, name="new")) == 1 and len(folder(server)) == 2
        told = server.cli("why", "tony@outside.example")
        assert "found to be junk: on block lists: ZEN 127.0.0.5 +1" in told
        assert "found to be junk: shop.example asks for quarantine (DMARC)" in told
        assert f"filed in the mailbox of {ALICE}, folder Junk" in told
        assert f"now: {ALICE}: in the mailbox, folder Junk, unread" in told
        assert "127.0.0.6 is listed by ZEN" in told
        # POP3 shows the inbox.
        assert len(server.messages(ALICE)) == 1


def test_rspamd_is_asked_and_junk_goes_where_each_wants_it(tmp_path, names):
    large = ("y" * 70 + "\r\n") * 5000
    with Rspamd() as rspamd:
        settings = {
            "dns": {"servers": [f"{HOST}:{names}"]},
            "authentication": {"check_loopback": True, "spf": "off", "dkim": "off"},
            "rspamd": {"url": f"http://{HOST}:{rspamd.server_port}", "when_down": "defer", "timeout": "3s"},
        }
        with Server(tmp_path, settings) as server:
            accounts = server.config_path.parent / "accounts.toml"
            text = accounts.read_text()
            accounts.write_text(text.replace(f'[accounts."{BOB}"]', f'[accounts."{BOB}"]\njunk = "folder"'))
            wait_until(lambda: server.log.count("reloaded"), "the accounts are read")
            send(server, "fine")
            send(server, f"BAD {large}", to=(ALICE, BOB))
            with pytest.raises(smtplib.SMTPDataError) as refused:
                send(server, f"WORSE {large}")
            assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (550, b"5.7.1")
            fine, bad = sorted(folder(server, name="new"), key=len)
            assert b"X-Spam-Status: No, score=8.10 tests=WORD" in fine
            assert bad.count(b"\0") == 0 and bad.endswith(large.replace("\r", "").encode() + b"\n")
            assert folder(server, BOB)[0].replace(BOB.encode(), ALICE.encode()) == bad
            assert b"X-Spam-Flag: YES\nX-Spam-Status: Yes, score=8.10 tests=WORD" in bad
            assert [len(body) > 300_000 for body in rspamd.bodies] == [False, True, True]
            told = server.cli("why", "tony@outside.example")
            assert "rspamd: add header 8.10/15.00 WORD(8.10)" in told
            assert "(rspamd: reject 8.10/15.00 WORD(8.10))" in told
            rspamd.shutdown()
            rspamd.server_close()
            with pytest.raises(smtplib.SMTPDataError) as refused:
                send(server, "fine")
            assert refused.value.smtp_code == 451
            assert server.log.count("neighbor-down what=rspamd") == 1
