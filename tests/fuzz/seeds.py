"""What fuzzing starts from: the transcripts and corpora of the tests, and a good input of each kind.

The first octets of an input steer its target. Cuts are made far apart where the input is long: each piece costs time.
"""

import base64
import tomllib
from collections.abc import Iterator
from pathlib import Path

from mailserver.store.spool_state import encode_state
from tests.fakes.dialogue import Send, dialogues
from tests.fuzz.files import _HEAD, _QUEUE_ID

_ROOT = Path(__file__).parents[2]
_CORPUS = _ROOT / "tests" / "policy" / "causes" / "corpus"
_TRANSACTION = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
_ADDRESSES = (
    b"alice@example.org",
    b'"a b\\"c"@example.org',
    b"postmaster",
    b"x@[192.0.2.1]",
    b"x@[IPv6:2001:db8::1]",
    "\u00fc@b\u00fccher.example".encode(),
    b"a..b@example.org",
    b"@a,@b:c@d.example",
    b"joe",
)


def _sent(pattern: str) -> Iterator[bytes]:
    for dialogue in dialogues(pattern):
        yield b"".join(step.octets for step in dialogue.steps if isinstance(step, Send))


def smtp_server() -> Iterator[bytes]:
    for sent in (
        *_sent("smtp-*.txt"),
        b"EHLO x\r\n" + _TRANSACTION + b"DATA\r\n..a\r\n.\r\n" + _TRANSACTION + b"BDAT 3\r\nabcBDAT 2 LAST\r\n\r\n",
        b"EHLO x\r\nAUTH PLAIN AGEAYg==\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\n" + _TRANSACTION + b"RSET\r\nQUIT\r\n",
    ):
        for steering in (b"\x11\x1d\0\0", b"\1\0\0\4", b"\7\x17\4\x0d"):
            yield steering + sent
    yield b"\0\0\0\4EHLO x\r\nSTARTTLS\r\n"
    yield b"\x0a\x08\0\4EHLO x\r\nSTARTTLS\r\nEHLO x\r\nMAIL FROM:<>\r\n"


def pop3_server() -> Iterator[bytes]:
    for sent in (
        *_sent("pop3-*.txt"),
        b"USER a\r\nPASS b\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nTOP 1 0\r\nDELE 1\r\nRSET\r\nNOOP\r\nQUIT\r\n",
        b"CAPA\r\nLANG en\r\nUTF8\r\nAUTH PLAIN AGEAYg==\r\nSTAT\r\nQUIT\r\n",
    ):
        for steering in (b"\x11\x1d\0", b"\1\0\0", b"\7\x17\4"):
            yield steering + sent
    yield b"\0\0\0STLS\r\n"
    yield b"\6\0\0STLS\r\nCAPA\r\n"


_SAID = (
    b"250 ok\r\n250 2.1.5 ok\r\n354 go\r\n250 2.0.0 taken\r\n",
    b"250 ok\r\n250-2.1.5 one\r\n250 2.1.5 two\r\n550 5.1.1 <b>\r\n452 4.5.3 too many\r\n354 go\r\n554 5.7.1 no\r\n",
    b"250 ok\r\n550 no\r\n550 no\r\n354 go\r\n250 ok\r\n",
    b"421 4.3.2 closing\r\n",
    b"451 4.7.1 greylisted\r\n503 5.5.1 MAIL first\r\n503 5.5.1 RCPT first\r\n",
    b"250\r\n250\tok\n354\r\n250-a\r\ntext\r\n250 b\r\n",
    b"220 hello\r\n999 what\r\n",
)


def smtp_client() -> Iterator[bytes]:
    for said in _SAID:
        for flags in (0, 1, 4, 5, 15):
            yield b"\3\5" + bytes([flags]) + said


def smtp_replies() -> Iterator[bytes]:
    for said in _SAID:
        yield b"\3\5" + said


def smtp_extensions() -> Iterator[bytes]:
    yield b"250-x\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 STARTTLS\r\n"
    yield b"250-x\r\n250-AUTH=LOGIN PLAIN\r\n250-AUTH PLAIN\r\n250 LIMITS MAILMAX=5 RCPTMAX=20 RCPTDOMAINMAX=1\r\n"


def proxy_header() -> Iterator[bytes]:
    yield b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\r\nEHLO"
    yield b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n"
    yield b"PROXY UNKNOWN\r\n"
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    yield signature + b"\x21\x11\0\x0c" + bytes([192, 0, 2, 1, 192, 0, 2, 2, 18, 103, 0, 25])
    yield signature + b"\x21\x21\0\x24" + bytes(36)
    yield signature + b"\x20\0\0\0"


def address() -> Iterator[bytes]:
    yield from _ADDRESSES


def address_lists() -> Iterator[bytes]:
    yield b'Alice <alice@example.org>, "B, C" <b@example.org> (a (nested) comment), root'
    yield b"undisclosed-recipients:;"
    yield b"From: root\r\nTo: a, b@x.example,\r\n c\r\nCc: friends: d, e@[1.2.3.4];\r\nSubject: x\r\n"
    yield b", ".join(_ADDRESSES)


def smtp_arguments() -> Iterator[bytes]:
    for one in _ADDRESSES:
        yield b"\4FROM:<" + one + b"> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<>"
        yield b"\5TO:<" + one + b"> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c.example"
    yield b"\5TO:<a@b.example> ORCPT=utf-8;\\x{FC}@c.example NOTIFY=NEVER"
    yield b"\2mail.example.org"
    yield b"\3100 LAST"


def sasl() -> Iterator[bytes]:
    yield b"PLAIN\nAGFsaWNlAHNlY3JldA==\n"
    yield b"LOGIN\nYWxpY2U=\nc2VjcmV0\n"
    yield b"plain\n=\nYQBhbGljZQBzZWNyZXQ=\n"
    yield b"SCRAM-SHA-256\nbiwsbj1hbGljZSxyPWFiYw==\n"


def scram() -> Iterator[bytes]:
    proof = b"p=" + base64.b64encode(b"x" * 32)
    yield b"n,,n=alice,r=abc\nc=biws,r=abcours," + proof
    yield b"y,a=alice,n=a=2Cb=3Dc,r=abc,x=y\nc=eSxhPWFsaWNlLA==,r=abcours,z=1," + proof
    yield b"p=tls-exporter,,n=alice,r=abc\nc=cD10bHMtZXhwb3J0ZXIsLGNoYW5uZWw=,r=abcours," + proof


_MESSAGE = (
    b"Received: from a (b [192.0.2.1])\r\n\tby c with ESMTP; Sun, 15 Jun 2025 15:06:40 +0000\r\n"
    b"From: Alice <alice@example.org>\r\nTo: b@x.example\r\nSubject: =?utf-8?q?caf=C3=A9?= =?iso-8859-1?b?6Q==?=\r\n"
    b"Bcc: c@x.example\r\nMessage-ID: <1@example.org>\r\n\r\nHello\r\n.\r\n..dots\r\n"
)


def headers() -> Iterator[bytes]:
    yield _MESSAGE
    yield b"Subject: no end"
    yield b"From : a@b.example\r\nnot a field\r\n\r\n"


def content_out() -> Iterator[bytes]:
    for steering in (b"\3\5\0", b"\1\1\2", b"\4\0\1"):
        yield steering + _MESSAGE
        yield steering + _MESSAGE.replace(b"\r\n", b"\n")
        yield steering + b"\r\r\n.\n\r\n."


def content_check() -> Iterator[bytes]:
    for steering in (b"\3\5\0", b"\1\1\1", b"\4\0\3"):
        yield steering + _MESSAGE
        yield steering + b"a\rb\nc\r\n\0"


def _bounce_message() -> bytes:
    return (
        b"From: MAILER-DAEMON@x.example\r\nTo: alice@example.org\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n--b\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"<bob@example.net>: host mx said: 550 5.1.1 User unknown=20\r\n--b\r\nContent-Type: text/html\r\n\r\n"
        b"<html><style>x</style><p>The mailbox is <b>full</b> &amp; more</html>\r\n--b\r\n"
        b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x.example\r\n\r\n"
        b"Final-Recipient: rfc822; bob@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        b"Diagnostic-Code: smtp; 550 5.1.1 User\r\n unknown\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        + _MESSAGE
        + b"--b--\r\n"
    )


def bounces() -> Iterator[bytes]:
    for path in sorted(_CORPUS.glob("*.toml")):
        for row in tomllib.loads(path.read_text("utf-8"))["reply"]:
            yield row["text"].encode()
    yield _bounce_message()


def reports() -> Iterator[bytes]:
    for flags in (0, 1, 2, 8, 12, 0x34, 0x90):
        yield bytes([flags]) + b"550-5.1.1 no such user\r\n550 5.1.1 at all\r\n\0" + _MESSAGE


def queue_file() -> Iterator[bytes]:
    yield _HEAD + b"content"
    yield (
        _HEAD.replace(b'"7BIT"', b'"8BITMIME"')
        .replace(b'"ret": null', b'"ret": "FULL"')
        .replace(b'"notify": [], "orcpt": null', b'"notify": ["NEVER"], "orcpt": ["rfc822", "x@y.example"]')
    )
    yield _HEAD.replace(b'"a@b.example"', b"null").replace(b'"size": null', b'"size": 12')


def queue_state() -> Iterator[bytes]:
    yield encode_state(_QUEUE_ID, ())
    about = b'{"version": 2, "id": "25X8TJJVS6600", "recipients": ['
    yield about + b'{"state": "waiting"}]}'
    yield about + (
        b'{"state": "waiting", "attempts": 3, "next_attempt": 1750000100.5, "last_attempt": 1750000000, '
        b'"first_deferred": 1, "is_delay_told": true, "reason": "x", "stage": "rcpt", "enhanced": "4.7.1", '
        b'"reply": [451, "4.7.1", ["later", "really"]], "host": "mx[192.0.2.1]", "report": "25X8TJJVS6601", '
        b'"is_reported": false, "held_by": "root", "held_reason": "why", "held_since": 3.0, "held_s": 4}]}'
    )
    yield about + b'{"state": "bounced", "is_reported": true}, {"state": "delivered"}]}'


def drop_file() -> Iterator[bytes]:
    yield (
        b'mailserver-drop 1\n{"sender": "joe", "ret": "FULL", "envid": "e", "body": "8BITMIME", "size": 4}\n'
        b'{"recipient": "root", "notify": ["SUCCESS"], "orcpt": ["rfc822", "root"]}\n\ntext'
    )


def lists() -> Iterator[bytes]:
    yield (
        b'{"version": 1,\n"listed": [\n{"address": "bob@example.net", "since": 1.0, "until": 0, "by": "refusals", '
        b'"reason": "r", "reply": [550, "5.1.1", ["no"]], "host": "mx"}\n],\n"counted": [\n'
        b'{"address": "e@x.example", "refusals": [["25X8TJJVS6600", 1750000000.0]]}\n]}\n'
    )
    yield b'{"version": 1,\n"uses": [\n["alice@example.org", "phone", 1750000000.0, "192.0.2.7", "pop3"]\n]}\n'
    yield b'{"version": 1,\n"hosts": [\n["mx.example.net", "TLSv1.3", 1750000000.0, 0.0, 0.0]\n]}\n'


def control() -> Iterator[bytes]:
    yield b'{"command": "queue-retry", "ids": ["25X8TJJVS6"], "all": false, "domain": "", "by": "u", "about": {}}\n'
    yield b'{"error": "", "count": 3, "ids": ["x"], "about": {"a": 1, "b": true}}\n'


def journal() -> Iterator[bytes]:
    fields = (
        b'{"peer": "192.0.2.1:25", "reverse_path": "<a@b.example>", "recipients": ["c@d.example"], "size_octets": 12, '
        b'"recipient": "c@d.example", "reply": "550 no", "reason": "x", "host": "mx", "delay_s": 1.5, "count": 2, '
        b'"next_attempt": 1750000000.0, "subject": "s", "message_id": "<m>", "mailbox": "c@d.example", "stage": "rcpt"}'
    )
    for word in range(31):
        yield bytes([word, 0]) + fields
    yield b"\0\2" + fields
    yield b"\0\1" + fields


def config() -> Iterator[bytes]:
    lines = (_ROOT / "etc" / "mailserver.toml").read_bytes().splitlines()
    yield b"\n".join(line for line in lines if not line.startswith(b"#"))
    yield b'hostname = "m.a.b"\ndomains = ["x.example"]\npostmaster = "a@x.example"\n[listen]\nsmtp = ["tcp:25"]\n'
    yield b'hostname = 3\n[smtp]\nmax_message_size = "x"\n[[hold]]\nsender = "a@b.c"\n[relay.routes]\n"x" = "1.2.3.4"\n'


def accounts() -> Iterator[bytes]:
    yield (
        b'version = 1\n[accounts."alice@example.org"]\npassword = "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA"\n'
        b'disabled = false\nmay_send_as = ["info@example.org", "@example.net"]\n[accounts."bob@example.org"]\n\n'
        b'[aliases]\n"sales@example.org" = ["alice@example.org", "x@far.example"]\n"@example.org" = ["a@example.org"]\n'
    )
    yield (
        b'version = 2\n[accounts."a@example.org"]\npassword = "$argon2id$x"\nrequire_app_passwords = true\n'
        b'scram = "SCRAM-SHA-256$4096:c2FsdA==$' + b"QUFB" * 10 + b"QUE=:" + b"QUFB" * 10 + b'QUE=$0123456789abcdef"\n'
        b'[accounts."a@example.org".devices.phone]\npassword = "$app$c2FsdA==$' + b"QUFB" * 10 + b'QUE="\n'
        b'created = 2026-11-25T13:08:00Z\nonly = "pop3"\n'
    )
    yield b'[aliases]\n"a@example.org" = ["b@example.org"]\n"b@example.org" = ["a@example.org"]\n'


def maildir_names() -> Iterator[bytes]:
    yield (
        b"1750000000.M000042P12Q3.mail,S=100,W=105\n1750000000.M000042P12Q4.mail,S=100,W=105:2,S\n"
        b"1750000001.V801I2M3.host:2,RS\n1750000000.1234_1.host\n.hidden\n1750000000.M000042P12Q3.mail,S=1:2,FS\n"
    )


def maildrop_index() -> Iterator[bytes]:
    yield b"mailserver-index 1\nw 105 1750000000.M000042P12Q3.mail\nu old-uid 1750000000.x.host\n"
