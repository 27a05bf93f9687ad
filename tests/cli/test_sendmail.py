"""`sendmail` as programs call it: options, what becomes of the message, exit status. The real program is in
tests/integration/test_sendmail.py."""

import errno
import os
import pwd
import sys
import time
from pathlib import Path

import pytest

from mailserver.cli import sendmail as program
from mailserver.cli import sendmail_settings
from mailserver.cli.sendmail import main
from mailserver.cli.sendmail_message import (
    MessageFault,
    TooLarge,
    completed,
    header_recipients,
    read_message,
)
from mailserver.cli.sendmail_options import Mode, UsageFault, parse_options
from mailserver.cli.sendmail_settings import ConfigFault, read_settings
from mailserver.mail.envelope import Body, Notify, Ret
from mailserver.store.drop_format import decode_drop_head

# --- options ----------------------------------------------------------------------------------------------------------

CALLS = [
    # Who calls so, the words, and what is understood.
    (
        "cron",
        "-FCronDaemon -i -odi -oem -oi -t -f root",
        {"full_name": "CronDaemon", "sender": "root", "has_recipients_in_header": True, "ignores_dots": True},
    ),
    ("PHP", "-t -i", {"has_recipients_in_header": True, "ignores_dots": True}),
    (
        "PHP with a sender",
        "-t -i -fweb@x.example",
        {"has_recipients_in_header": True, "sender": "web@x.example", "ignores_dots": True},
    ),
    (
        "git send-email",
        "-i a@x.example b@y.example",
        {"recipients": ("a@x.example", "b@y.example"), "ignores_dots": True},
    ),
    (
        "git send-email with a sender",
        "-f me@x.example -i a@x.example",
        {"sender": "me@x.example", "recipients": ("a@x.example",)},
    ),
    (
        "mutt",
        "-oem -oi -f me@x.example -- a@x.example b@y.example",
        {"sender": "me@x.example", "ignores_dots": True, "recipients": ("a@x.example", "b@y.example")},
    ),
    (
        "mutt, DSN",
        "-oem -oi -N failure,delay -R hdrs -- a@x.example",
        {"notify": frozenset({Notify.FAILURE, Notify.DELAY}), "ret": Ret.HDRS},
    ),
    ("s-nail", "-i -r joe@x.example -- a@x.example", {"sender": "joe@x.example", "ignores_dots": True}),
    ("mailx", "-i -m a@x.example", {"recipients": ("a@x.example",)}),
    ("at", "-i -odi root", {"recipients": ("root",)}),
    ("a bounce", "-f <> -oi a@x.example", {"sender": ""}),
    ("an empty sender", ["-f", "", "a@x.example"], {"sender": ""}),
    ("a sender with a name", ["-f", "Joe <joe@x.example>", "a@x.example"], {"sender": "joe@x.example"}),
    (
        "options in one word",
        "-tifme@x.example",
        {"has_recipients_in_header": True, "ignores_dots": True, "sender": "me@x.example"},
    ),
    (
        "everything old",
        "-Am -G -U -n -m -s -v -em -d0.1 -h 5 -Lsendmail -p ESMTP:host -X /x -oQ/s -o7 -O DeliveryMode=q a@x.example",
        {"recipients": ("a@x.example",)},
    ),
    ("-o with its letter apart", "-o i -o em a@x.example", {"ignores_dots": True, "recipients": ("a@x.example",)}),
    ("IgnoreDots", "-O IgnoreDots a@x.example", {"ignores_dots": True}),
    ("dots count", "a@x.example", {"ignores_dots": False}),
    ("envelope id", "-V id-1 a@x.example", {"envid": "id-1"}),
    ("never", "-N never a@x.example", {"notify": frozenset({Notify.NEVER})}),
    ("NEVER", "-NNEVER a@x.example", {"notify": frozenset({Notify.NEVER})}),
    ("body", "-B8BITMIME a@x.example", {"body": Body.EIGHTBITMIME}),
    ("body", "-B 7bit a@x.example", {"body": Body.SEVENBIT}),
    (
        "lists",
        ["Ann <a@x.example>, b@x.example", "<c@x.example>"],
        {"recipients": ("a@x.example", "b@x.example", "c@x.example")},
    ),
    ("twice", "a@x.example a@x.example", {"recipients": ("a@x.example",)}),
    ("a recipient like an option", "-- -fme@x.example", {"recipients": ("-fme@x.example",), "sender": None}),
    (
        "options end at the first recipient",
        "a@x.example -t",
        {"recipients": ("a@x.example", "-t"), "has_recipients_in_header": False},
    ),
    ("-bm", "-bm a@x.example", {"mode": Mode.DELIVER}),
    ("-bs", "-bs", {"mode": Mode.SMTP}),
    ("-bs with more", "-bs -oem -odi", {"mode": Mode.SMTP}),
    ("-bp", "-bp", {"mode": Mode.QUEUE}),
    ("-bi", "-bi", {"mode": Mode.ALIASES}),
    ("a queue run", "-q", {"mode": Mode.NOTHING}),
    ("a queue run now and then", "-q15m", {"mode": Mode.NOTHING}),
    ("a queue run with a message", "-q -t", {"mode": Mode.DELIVER}),
    ("configuration", "-C /x.toml --drop=/d a@x.example", {"config": Path("/x.toml"), "drop": Path("/d")}),
    ("configuration", "--config /x.toml --drop /d a@x.example", {"config": Path("/x.toml"), "drop": Path("/d")}),
    ("help", "--help", {"mode": Mode.HELP}),
]


@pytest.mark.parametrize(("who", "words", "expected"), CALLS)
def test_ways_of_calling(who, words, expected):
    options = parse_options(words.split() if isinstance(words, str) else words)
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize(
    "words",
    [
        "-f",
        "-N",
        "-t -V",
        "-y",
        "-bd",
        "-bz -q",
        "-bx",
        "--nonsense",
        "--drop",
        "-N sometimes",
        "-N never,delay",
        "-R x",
        "-B 9bit",
        "-f a@x.example,b@x.example",
        "-V " + "x" * 101,
        "-j a@x.example",
    ],
)
def test_asked_the_wrong_way(words):
    with pytest.raises(UsageFault):
        parse_options(words.split())
    assert main(words.split()) == 64


# --- the message ------------------------------------------------------------------------------------------------------

ENDS = [
    (b"a\n.\nb\n", True, b"a\r\n.\r\nb\r\n"),
    (b"a\n.\nb\n", False, b"a\r\n"),
    (b"a\r\n.\r\nb\r\n", False, b"a\r\n"),
    (b".\nb\n", False, b""),
    (b".", False, b""),
    (b"a\n.", False, b"a\r\n"),
    (b"a\n.", True, b"a\r\n.\r\n"),
    (b"a\n..\n.b\n", False, b"a\r\n..\r\n.b\r\n"),
    (b"a", False, b"a\r\n"),
    (b"", False, b""),
    (b"progress 1%\rprogress 2%\n", False, b"progress 1%\r\nprogress 2%\r\n"),
    (b"a\r\nb\nc\rd", False, b"a\r\nb\r\nc\r\nd\r\n"),
    (b"From joe Mon Jan  5 10:00:00 2026\nSubject: x\n\nFrom me\n", False, b"Subject: x\r\n\r\nFrom me\r\n"),
    (b"\xff\xfe8 bits\n", False, b"\xff\xfe8 bits\r\n"),
]


@pytest.mark.parametrize(("octets", "ignores_dots", "expected"), ENDS)
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_where_a_message_ends_however_it_comes(octets, ignores_dots, expected, step):
    pieces = iter([octets[start : start + step] for start in range(0, len(octets), step)])
    found = read_message(lambda wanted: next(pieces, b""), ignores_dots=ignores_dots, max_octets=1000)
    assert found == expected


def test_nothing_is_read_behind_the_dot():
    pieces = iter([b"a\n.\n"])
    assert read_message(lambda wanted: next(pieces), ignores_dots=False, max_octets=100) == b"a\r\n"


def test_nul_and_too_much():
    pieces = [b"a\0b", b""]
    with pytest.raises(MessageFault):
        read_message(lambda wanted: pieces.pop(0), ignores_dots=True, max_octets=100)
    endless = 0

    def yes(wanted):
        nonlocal endless
        endless += 1
        assert endless < 100
        return b"y\n" * (wanted // 2)

    with pytest.raises(TooLarge):
        read_message(yes, ignores_dots=True, max_octets=1_000_000)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"To: a@x.example\r\nCc: b@x.example, c@x.example\r\nBcc: d@x.example\r\n", ["a", "b", "c", "d"]),
        (b"to: a@x.example\r\nTO : b@x.example\r\n", ["a", "b"]),
        (b"To: a@x.example\r\nResent-To: b@x.example\r\nResent-Bcc: c@x.example\r\n", ["b", "c"]),
        (b"To: A <a@x.example>,\r\n\tB <b@x.example>\r\n", ["a", "b"]),
        (b"To: undisclosed-recipients:;\r\nBcc: a@x.example\r\n", ["a"]),
        (b"To: a@x.example, a@x.example\r\n", ["a"]),
        (b"Subject: To: x@x.example\r\n", []),
    ],
)
def test_whom_the_header_names(header, expected):
    assert header_recipients(header + b"\r\nTo: body@x.example\r\n") == [f"{one}@x.example" for one in expected]


def done(content, **changes):
    values = {"sender": "joe", "full_name": "", "now": 1750000000.0, "drops_blind": True, **changes}
    return completed(content, **values)


def test_what_a_header_lacks_is_added(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    date = b"Date: Sun, 15 Jun 2025 15:06:40 +0000\r\n"
    assert done(b"Subject: x\r\n\r\nhi\r\n") == b"From: <joe>\r\n" + date + b"Subject: x\r\n\r\nhi\r\n"
    assert done(b"hi\r\n") == b"From: <joe>\r\n" + date + b"\r\nhi\r\n"
    assert done(b"\r\nhi\r\n") == b"From: <joe>\r\n" + date + b"\r\nhi\r\n"
    assert done(b"") == b"From: <joe>\r\n" + date + b"\r\n"
    whole = b"From: a\r\nDate: b\r\nX: \xff\r\n\r\nhi\r\n"
    assert done(whole) == whole


def test_bcc_goes_when_it_was_read_for_recipients():
    content = b"From: a\r\nDate: b\r\nBcc: c,\r\n\td\r\nResent-Bcc: e\r\nTo: f\r\n\r\nBcc: body\r\n"
    assert done(content) == b"From: a\r\nDate: b\r\nTo: f\r\n\r\nBcc: body\r\n"
    assert done(content, drops_blind=False) == content


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("CronDaemon", b"CronDaemon <joe>"),
        ("Cron Daemon", b"Cron Daemon <joe>"),
        ('J. "Joe" Doe, jr.', rb'"J. \"Joe\" Doe, jr." <joe>'),
        ("J\u00fcrgen", b"=?utf-8?q?J=C3=BCrgen?= <joe>"),
        ("a\r\nBcc: x@x.example", b'"aBcc: x@x.example" <joe>'),
        ("  ", b"<joe>"),
    ],
)
def test_names_in_from_cannot_break_the_header(name, shown):
    assert done(b"Date: x\r\n\r\n", full_name=name).split(b"\r\n")[0] == b"From: " + shown


# --- the whole command, in this process -------------------------------------------------------------------------------


@pytest.fixture
def send(tmp_path, monkeypatch):
    """Call it with this on standard input; the exit status, and what was left."""
    drop = tmp_path / "drop"
    drop.mkdir()

    def call(words, octets=b"Subject: x\n\nhi\n", **options):
        source = tmp_path / "input"
        source.write_bytes(octets)
        saved = os.dup(0)
        with source.open("rb") as file:
            os.dup2(file.fileno(), 0)
        try:
            status = main(["--drop", str(drop), *words.split()], **options)
        finally:
            os.dup2(saved, 0)
            os.close(saved)
        left = [path.read_bytes() for path in sorted(drop.iterdir())]
        for path in drop.iterdir():
            path.unlink()
        return status, left

    return call


def test_a_message_is_left_as_it_was_meant(send):
    status, [octets] = send("-f me@x.example -N never -R full -V e1 -- a@x.example b", b"Subject: \xc3\xbc\n\nhi\n")
    head = decode_drop_head(octets)
    assert status == 0
    assert (head.sender, head.ret, head.envid, head.body) == ("me@x.example", Ret.FULL, "e1", Body.EIGHTBITMIME)
    assert [(one.address, one.notify) for one in head.recipients] == [
        ("a@x.example", frozenset({Notify.NEVER})),
        ("b", frozenset({Notify.NEVER})),
    ]
    content = octets[head.length :]
    assert content.startswith(b"From: ")
    assert b"<me@x.example>\r\n" in content.split(b"Date:")[0]
    assert content.endswith(b"Subject: \xc3\xbc\r\n\r\nhi\r\n")


def test_nobody_says_who_sends_but_the_owner_of_the_file(send):
    _, [octets] = send("a@x.example")
    assert decode_drop_head(octets).sender is None
    login = pwd.getpwuid(os.getuid()).pw_name.encode()
    assert b"<" + login + b">\r\nDate:" in octets


def test_header_and_command_line_both_name_recipients(send):
    _, [octets] = send("-t b@x.example", b"To: a@x.example\nBcc: c@x.example\n\nhi\n")
    head = decode_drop_head(octets)
    assert [one.address for one in head.recipients] == ["b@x.example", "a@x.example", "c@x.example"]
    assert b"c@x.example" not in octets[head.length :]


@pytest.mark.parametrize(
    ("words", "octets", "status"),
    [
        ("", b"x", 64),
        ("-t", b"Subject: x\n\nx\n", 65),
        ("-t", b"no header\n", 65),
        ("-t", b"To: joe bob\n\nx\n", 65),
        ("a@", b"x", 65),
        ("-f a@ b@x.example", b"x", 65),
        ("a@x.example", b"a\0b", 65),
        ("a@x.example", b"x" * 1001, 69),
        ("-C /nowhere.toml a@x.example", b"x", 78),
        ("-q", b"", 0),
        ("-bi", b"", 0),
        ("--help", b"", 0),
    ],
)
def test_exit_status(send, monkeypatch, capsys, words, octets, status):
    monkeypatch.setattr(sendmail_settings, "DEFAULT_MAX_OCTETS", 1000)
    assert send(words, octets) == (status, [])
    err = capsys.readouterr().err
    assert err.count("\n") == (1 if status else 0)
    assert not status or err.startswith("sendmail: ")


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.ENOENT, 73),
        (errno.ENOTDIR, 73),
        (errno.EACCES, 77),
        (errno.EROFS, 77),
        (errno.ENOSPC, 75),
        (errno.EDQUOT, 75),
        (errno.EIO, 74),
        (errno.EINVAL, 71),
    ],
)
def test_trouble_with_the_folder(send, monkeypatch, capsys, number, status):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(program, "leave_message", fail)
    assert send("a@x.example")[0] == status
    assert os.strerror(number).lower() in capsys.readouterr().err


def test_input_that_cannot_be_read(send, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(program, "_read", fail)
    assert send("a@x.example") == (74, [])


def test_our_own_fault_is_70_and_one_line(send, monkeypatch, capsys):
    def fail(*arguments):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(program, "_deliver", fail)
    assert send("a@x.example") == (70, [])
    assert capsys.readouterr().err == "sendmail: internal error: ZeroDivisionError: oh\n"


def test_a_link_is_known_by_its_name():
    assert program.link_name("/usr/sbin/sendmail") == "sendmail"
    assert program.link_name("mailq") == "mailq"
    assert program.link_name("/opt/mailserver/bin/mailserver") == ""


def test_called_as_newaliases_nothing_has_to_be_done(send):
    assert send("", name="newaliases") == (0, [])


# --- settings ---------------------------------------------------------------------------------------------------------


def config(folder, text):
    path = folder / "mailserver.toml"
    path.write_text(text)
    return path


def test_three_keys_of_the_configuration_count(tmp_path):
    path = config(tmp_path, 'hostname = "m.example"\n[sendmail]\ndrop = "../drop"\n[smtp]\nmax_message_size = "2KiB"\n')
    settings = read_settings(path, None, is_link=True)
    assert (settings.drop, settings.hostname, settings.max_octets) == (tmp_path.parent / "drop", "m.example", 2048)
    assert read_settings(path, Path("/d"), is_link=True).drop == Path("/d")


def test_other_errors_in_the_configuration_do_not_stop_mail(tmp_path):
    path = config(tmp_path, 'domains = 5\nnonsense = true\n[sendmail]\ndrop = "d"\n[smtp]\nmax_message_size = "much"\n')
    settings = read_settings(path, None, is_link=True)
    assert (settings.drop, settings.max_octets) == (tmp_path / "d", sendmail_settings.DEFAULT_MAX_OCTETS)


@pytest.mark.parametrize("octets", [b"[broken", b"\xff", b"[" * 5000])
def test_a_configuration_that_cannot_be_read_leaves_the_defaults_unless_it_was_named(tmp_path, monkeypatch, octets):
    path = tmp_path / "mailserver.toml"
    path.write_bytes(octets)
    monkeypatch.setattr(sendmail_settings, "SYSTEM_CONFIG", path)
    settings = read_settings(None, None, is_link=True)
    assert settings.drop == sendmail_settings.DEFAULT_DROP
    assert "cannot be read" in settings.remark
    with pytest.raises(ConfigFault):
        read_settings(path, None, is_link=True)


def test_a_link_believes_nothing_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "etc").mkdir()
    config(tmp_path / "etc", '[sendmail]\ndrop = "/from/here"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sendmail_settings, "SYSTEM_CONFIG", tmp_path / "none.toml")
    assert read_settings(None, None, is_link=True).drop == sendmail_settings.DEFAULT_DROP
    assert read_settings(None, None, is_link=False).drop == Path("/from/here")


# --- -bs --------------------------------------------------------------------------------------------------------------


def smtp(send, capfdbinary, *lines):
    status, left = send("-bs", "".join(f"{line}\r\n" for line in lines).encode())
    assert status == 0
    return capfdbinary.readouterr().out.decode().splitlines(), left


def test_smtp_on_standard_input(send, capfdbinary):
    out, left = smtp(
        send,
        capfdbinary,
        "EHLO me",
        "MAIL FROM:<> BODY=8BITMIME RET=HDRS ENVID=e1",
        "RCPT TO:<a@x.example> NOTIFY=NEVER",
        "RCPT TO:<postmaster>",
        "DATA",
        "Subject: x",
        "",
        "..dot",
        ".",
        "MAIL FROM:<b@x.example>",
        "RCPT TO:<c@x.example>",
        "DATA",
        "hi",
        ".",
        "QUIT",
        "NOOP",
    )
    assert [line[:3] for line in out if line[3:4] == " "] == [
        "220",
        "250",
        "250",
        "250",
        "250",
        "354",
        "250",
        "250",
        "250",
        "354",
        "250",
        "221",
    ]
    first, second = (decode_drop_head(octets) for octets in left)
    assert (first.sender, first.ret, first.envid, first.body) == ("", Ret.HDRS, "e1", Body.EIGHTBITMIME)
    assert [(one.address, one.notify) for one in first.recipients] == [
        ("a@x.example", frozenset({Notify.NEVER})),
        ("postmaster", frozenset()),
    ]
    assert left[0].endswith(b"Subject: x\r\n\r\n.dot\r\n")
    assert second.sender == "b@x.example"


def test_smtp_that_breaks_off_leaves_nothing(send, capfdbinary):
    assert smtp(send, capfdbinary, "MAIL FROM:<a@x.example>", "RCPT TO:<c@x.example>", "DATA", "hi")[1] == []


def test_smtp_refuses_what_it_does_not_have(send, capfdbinary):
    out, left = smtp(
        send, capfdbinary, "AUTH PLAIN AGEAYg==", "MAIL FROM:<a@x.example>", "VRFY x", "RSET", "DATA", "HELP", "FOO"
    )
    codes = [line[:3] for line in out if line[3:4] == " "]
    assert codes == ["220", "502", "250", "252", "250", "503", "214", "500"]
    assert left == []


def test_smtp_ends_at_starttls_with_something_behind_it(send, capfdbinary):
    out, _ = smtp(send, capfdbinary, "STARTTLS", "NOOP")
    assert [line[:3] for line in out] == ["220", "502"]


def test_smtp_tells_trouble_with_the_folder_as_temporary(send, capfdbinary, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(program, "leave_message", fail)
    out, _ = smtp(send, capfdbinary, "MAIL FROM:<a@x.example>", "RCPT TO:<c@x.example>", "DATA", "hi", ".")
    assert out[-1].startswith("451 ")


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_sending_imports_neither_twisted_nor_click_nor_email():
    code = (
        "import sys; from mailserver.cli.entry import run; sys.argv = ['sendmail', '-q']; run(); "
        "print([name for name in ('twisted', 'click', 'rich', 'email', 'cattrs', 'attrs') if name in sys.modules])"
    )
    assert os.popen(f'{sys.executable} -c "{code}"').read() == "[]\n"
