"""`sendmail` as programs of a machine call it, against the real server: up, down, as another user."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from email import message_from_bytes
from pathlib import Path

import pytest

from mailserver.store.drop_format import DropHead, DropRecipient, encode_drop, new_name
from tests.integration.server import ALICE, BOB, LIMIT_S, MAILSERVER, Server, wait_until

LETTER = b"Subject: hello\n\nIt works.\n"
# Somebody who is neither root nor the user of the server, wherever there may be such.
OTHER_UID = 65534

# The interpreter may live where that user cannot enter: everything is imported before.
AS_ANOTHER = """
import os, sys
import email.header, encodings.idna, mailserver.cli.sendmail_queue, mailserver.cli.sendmail_smtp
import mailserver.config, mailserver.net.listener_text, encodings.utf_8_sig
from mailserver.cli.entry import run
uid, sys.argv = int(sys.argv[1]), sys.argv[2:]
if os.getuid() == 0:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
os.umask(0o077)
sys.exit(run())
"""


class Machine(Server):
    """A server, and `sendmail` beside it: a link to the program, told where the drop folder is."""

    def __init__(self, folder, settings=None, **arguments):
        super().__init__(folder, settings, **arguments)
        self.drop = folder / "drop"
        self.link = folder / "sendmail"
        if not self.link.exists():
            self.link.symlink_to(MAILSERVER)

    def sendmail(self, *words, octets=LETTER, status=0, uid=None, name=None):
        """Call it and check the exit status; what it says on standard output and error."""
        program = [str(name or self.link)]
        if uid is not None:
            program = [sys.executable, "-c", AS_ANOTHER, str(uid), *program]
        done = subprocess.run(
            [*program, "--drop", str(self.drop), *words], input=octets, capture_output=True, timeout=LIMIT_S, cwd="/"
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout.decode() + done.stderr.decode()

    @property
    def dropped(self):
        return sorted(name for name in os.listdir(self.drop) if name != "set-aside")


@pytest.fixture(scope="module")
def one_machine(tmp_path_factory):
    with Machine(tmp_path_factory.mktemp("machine")) as server:
        yield server


@pytest.fixture
def machine(one_machine):
    """Empty and running; one server for many tests, because starting one takes longer than they do."""
    for address in (ALICE, BOB):
        for path in one_machine.mailbox(address).glob("[nc][eu][wr]/*"):
            path.unlink()
    if one_machine.process is None:
        one_machine.start()
    one_machine.cli("queue", "remove", "--all", status=None)
    return one_machine


@contextlib.contextmanager
def open_folder():
    """A folder that every user can enter; the temporary folders of pytest are their owner's."""
    folder = Path(tempfile.mkdtemp(prefix="mailserver-sendmail-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def header(octets, name):
    return message_from_bytes(octets)[name]


# --- ways of calling --------------------------------------------------------------------------------------------------


def test_cron(machine):
    """Debian's cron: a header with bare names, mail to root that has no mailbox."""
    machine.sendmail(
        *["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"],
        octets=b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> date\nMIME-Version: 1.0\n"
        b"X-Cron-Env: <SHELL=/bin/sh>\n\n.\n1%\r2%\n",
    )
    [letter] = machine.wait_for_messages(ALICE, 1)
    assert letter.startswith(b"Return-Path: <root@example.test>\nDelivered-To: alice@example.test\n")
    assert b"\nFrom: root@example.test (Cron Daemon)\nTo: root@example.test\n" in letter
    assert letter.endswith(b"\n\n.\n1%\n2%\n")
    wait_until(lambda: machine.dropped == [], "the removal")


def test_php(machine):
    """`mail()` with sendmail_path = "sendmail -t -i": CRLF header on some versions, Bcc in the header."""
    machine.sendmail(
        "-t",
        "-i",
        "-fweb@example.test",
        octets=b"To: alice@example.test\r\nSubject: form\r\nBcc: Bob <bob@example.test>\r\nX-PHP: 1\r\n\r\nhi\n",
    )
    [for_alice], [for_bob] = machine.wait_for_messages(ALICE, 1), machine.wait_for_messages(BOB, 1)
    assert b"bob@" not in for_alice
    assert b"Bcc" not in for_bob
    assert header(for_alice, "return-path") == "<web@example.test>"


def test_git_send_email(machine):
    machine.sendmail(
        "-f", "me@far.example", "-i", ALICE, BOB, octets=b"From: Me <me@far.example>\nTo: x@y.example\n\nhi\n"
    )
    assert header(machine.wait_for_messages(ALICE, 1)[0], "from") == "Me <me@far.example>"
    assert header(machine.wait_for_messages(BOB, 1)[0], "to") == "x@y.example"


def test_mutt(machine):
    machine.sendmail(
        *["-oem", "-oi", "-f", "me@far.example", "--"], ALICE, BOB, octets=b"From: me\nBcc: bob@example.test\n\nhi\n"
    )
    assert b"Bcc" not in machine.wait_for_messages(ALICE, 1)[0]
    assert len(machine.wait_for_messages(BOB, 1)) == 1


def test_mailx(machine):
    machine.sendmail(
        "-i", "--", "alice", octets=b"Date: Mon, 05 Jan 2026 10:00:00 +0100\nTo: alice\nSubject: x\n\nhi\n"
    )
    [letter] = machine.wait_for_messages(ALICE, 1)
    assert header(letter, "date") == "Mon, 05 Jan 2026 10:00:00 +0100"
    assert re.fullmatch(r"<[^<>]+@mail\.example\.test>", header(letter, "message-id"))


def test_two_lines_typed_by_hand(machine):
    machine.sendmail("alice", octets=b"hello\n.\nnot this\n")
    [letter] = machine.wait_for_messages(ALICE, 1)
    assert letter.endswith(b"\n\nhello\n")
    for name in ("from", "date", "message-id", "received"):
        assert header(letter, name)


def test_smtp_on_standard_input(machine):
    said = machine.sendmail(
        "-bs",
        octets=b"EHLO x\r\nMAIL FROM:<a@far.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n",
    )
    assert [line[:3] for line in said.splitlines() if line[3:4] == " "] == [
        "220",
        "250",
        "250",
        "250",
        "354",
        "250",
        "221",
    ]
    assert machine.wait_for_messages(ALICE, 1)[0].endswith(b"\n\nhi\n")


def test_the_subcommand_with_a_configuration(machine):
    machine.cli("sendmail", "-i", "alice", stdin="Subject: x\n\nhi\n")
    machine.wait_for_messages(ALICE, 1)


# --- up and down ------------------------------------------------------------------------------------------------------


def test_mail_is_picked_up_within_a_second(machine):
    began = time.monotonic()
    machine.sendmail("alice")
    machine.wait_for_messages(ALICE, 1)
    assert time.monotonic() - began < 3, "a second, and something for a slow machine to start a program"


def test_mail_left_while_the_server_is_down_is_there_when_it_is_back(machine):
    machine.stop()
    for number in range(60):  # more than one look hands out of one user's
        (machine.drop / new_name()).write_bytes(
            encode_drop(DropHead("joe", (DropRecipient("alice"),)), b"Subject: %d\r\n\r\nhi\r\n" % number)
        )
    machine.sendmail("bob")
    assert len(machine.dropped) == 61
    machine.start()
    machine.wait_for_messages(BOB, 1)
    machine.wait_for_messages(ALICE, 60)
    wait_until(lambda: machine.dropped == [], "the removals")
    assert len(machine.messages(ALICE)) == 60


def test_a_large_message_passes_whole(machine):
    content = b"Subject: large\n\n" + b"".join(b"line %d \xff\n" % number for number in range(300_000))
    machine.sendmail("-i", "alice", octets=content)
    [letter] = machine.wait_for_messages(ALICE, 1)
    assert letter.endswith(content)


def test_remote_recipients_wait_in_the_queue_with_who_sent_it(machine):
    machine.sendmail("-N", "never", "-V", "e1", "x@far.example")
    wait_until(lambda: "far.example" in machine.cli("queue", "list"), "the queue")
    [queue_id] = re.findall(r"^(\S+)\t", machine.cli("queue", "list"), re.MULTILINE)
    page = machine.cli("queue", "show", queue_id)
    assert f"({os.getuid()}) local" in page
    assert "ENVID:      e1" in page


def test_stop_and_start_under_load_deliver_each_once(machine):
    for _ in range(3):
        for _ in range(10):
            (machine.drop / new_name()).write_bytes(encode_drop(DropHead("", (DropRecipient("alice"),)), b"hi\r\n"))
        machine.restart()
    machine.wait_for_messages(ALICE, 30)
    wait_until(lambda: machine.dropped == [], "the removals")
    assert len(machine.messages(ALICE)) == 30


def test_kill_9_loses_nothing_and_repeats_at_most_the_message_under_way(machine):
    kills = 3
    for number in range(90):
        content = b"Subject: number %03d\r\n\r\nhi\r\n" % number
        (machine.drop / new_name()).write_bytes(encode_drop(DropHead("", (DropRecipient("alice"),)), content))
    for kill in range(kills):
        wait_until(lambda more=kill: len(machine.messages(ALICE)) > 5 + 10 * more, "some messages")
        machine.kill()
        machine.start()
    wait_until(lambda: machine.dropped == [], "the removals")
    numbers = [header(letter, "subject") for letter in machine.messages(ALICE)]
    assert len(set(numbers)) == 90
    assert len(numbers) <= 90 + kills


# --- what cannot be delivered -----------------------------------------------------------------------------------------


def test_an_unknown_recipient_comes_back_and_the_others_get_theirs(machine):
    machine.sendmail("-f", BOB, "nobody", "alice")
    machine.wait_for_messages(ALICE, 1)
    [bounce] = machine.wait_for_messages(BOB, 1)
    assert b"nobody@example.test" in bounce
    assert header(bounce, "return-path") == "<>"


def test_a_message_that_cannot_be_taken_comes_back_as_a_report(tmp_path):
    with Machine(tmp_path, {"smtp": {"max_message_size": "10KB"}}) as machine:
        machine.sendmail("-f", BOB, "alice", octets=b"Subject: big\n\n" + b"x" * 20_000 + b"\n")
        [bounce] = machine.wait_for_messages(BOB, 1)
        assert b"Message too big" in bounce
        assert b"Subject: big" in bounce
        wait_until(lambda: machine.dropped == [], "the removal")


def test_a_loop_comes_back(machine):
    machine.sendmail("-f", BOB, "alice", octets=b"Received: x\n" * 120 + b"Subject: loop\n\nhi\n")
    [bounce] = machine.wait_for_messages(BOB, 1)
    assert b"Too many hops" in bounce


def test_what_can_neither_be_delivered_nor_go_back_is_set_aside(machine):
    machine.sendmail("-f", "<>", "alice", octets=b"Received: x\n" * 120 + b"Subject: loop\n\nhi\n")
    wait_until(lambda: machine.dropped == [], "the folder to be empty")
    machine.wait_for_log("set-aside path=")
    assert len(list((machine.drop / "set-aside").iterdir())) == 1


def test_odd_files_keep_nobody_waiting(tmp_path):
    with Machine(tmp_path) as machine:
        _odd_files_keep_nobody_waiting(machine, tmp_path)


def _odd_files_keep_nobody_waiting(machine, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(encode_drop(DropHead("", (DropRecipient("alice"),)), b"secret\r\n"))
    (machine.drop / new_name()).symlink_to(secret)
    os.link(secret, machine.drop / new_name())
    os.mkfifo(machine.drop / new_name())
    (machine.drop / new_name()).mkdir()
    (machine.drop / new_name()).write_bytes(b"hello")
    (machine.drop / new_name()).write_bytes(b"mailserver-drop 9\n{}\n{}\n\n")
    (machine.drop / new_name()).write_bytes(encode_drop(DropHead("", (DropRecipient("a b c"),)), b"hi\r\n"))
    (machine.drop / f"tmp.{new_name()}").write_bytes(b"mailserver-drop 1\n")
    machine.sendmail("alice")
    [letter] = machine.wait_for_messages(ALICE, 1)
    assert letter.endswith(b"It works.\n")
    wait_until(lambda: machine.log.count("set-aside path=") == 7, f"seven remarks in the log:\n{machine.log}")
    assert secret.exists()
    assert b"secret" not in b"".join(machine.messages(ALICE))
    wait_until(lambda: len(machine.dropped) == 3, f"a folder, a newer format, an unfinished file: {machine.dropped}")


def test_bare_line_ends_and_nul_that_somebody_puts_there_by_hand_do_no_harm(machine):
    head = DropHead(BOB, (DropRecipient("alice"),))
    smuggled = b"Subject: x\r\n\r\na\n.\nMAIL FROM:<x@y.example>\r\n\r.\r\n"
    (machine.drop / new_name()).write_bytes(encode_drop(head, smuggled))
    (machine.drop / new_name()).write_bytes(encode_drop(head, b"Subject: y\r\n\r\na\0b\r\n"))
    [letter] = machine.wait_for_messages(ALICE, 1)
    assert letter.endswith(b"\n\na\n.\nMAIL FROM:<x@y.example>\n\n.\n")
    assert b"NUL" in machine.wait_for_messages(BOB, 1)[0]


# --- other users ------------------------------------------------------------------------------------------------------


def test_another_user_sends_while_the_server_is_down_and_cannot_read_the_configuration():
    with open_folder() as folder, Machine(folder) as machine:
        machine.stop()
        machine.config_path.chmod(0o600)
        machine.sendmail("-t", octets=b"To: alice\nSubject: x\n\nhi\n", uid=OTHER_UID)
        [name] = machine.dropped
        assert (machine.drop / name).stat().st_uid == (OTHER_UID if os.getuid() == 0 else os.getuid())
        machine.start()
        [letter] = machine.wait_for_messages(ALICE, 1)
        assert f"(uid {OTHER_UID if os.getuid() == 0 else os.getuid()})" in header(letter, "received")
        assert "protocol=local" in machine.log


def test_who_owns_the_file_sends_it_whatever_the_file_says(machine):
    """Row for row the truth about the owner is in Received and in the log; the wish is in From."""
    path = machine.drop / new_name()
    temporary = machine.drop / f"tmp.{path.name}"
    temporary.write_bytes(
        encode_drop(DropHead("ceo@example.test", (DropRecipient("alice"),)), b"Subject: x\r\n\r\nhi\r\n")
    )
    if os.getuid() == 0:
        os.chown(temporary, OTHER_UID, OTHER_UID)
        temporary.chmod(0o644)
    uid = temporary.stat().st_uid
    temporary.rename(path)
    [letter] = machine.wait_for_messages(ALICE, 1)
    assert header(letter, "return-path") == "<ceo@example.test>"
    assert f"(uid {uid})" in header(letter, "received")
    machine.wait_for_log(f"({uid})")


def test_others_cannot_list_the_folder_or_take_each_others_mail_away():
    with open_folder() as folder, Machine(folder) as machine:
        machine.stop()
        machine.sendmail("alice")
        [name] = machine.dropped
        code = (
            "import os, sys\n"
            "if os.getuid() == 0: os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))\n"
            "for call in (lambda: os.listdir(sys.argv[2]), lambda: os.unlink(sys.argv[2] + '/' + sys.argv[3])):\n"
            "    try: call()\n"
            "    except PermissionError: print('denied')\n"
        )
        words = [sys.executable, "-c", code, str(OTHER_UID), str(machine.drop), name]
        if os.getuid() == 0:
            assert subprocess.run(words, capture_output=True, timeout=LIMIT_S).stdout == b"denied\ndenied\n"
        assert machine.drop.stat().st_mode & 0o1777 == 0o1733


def test_a_server_that_runs_as_another_user_gets_the_folder_and_reads_what_root_left():
    """Started as root with --uid; without root it is the same user all along."""
    with open_folder() as folder:
        options = []
        if os.getuid() == 0:
            options = ["--uid", str(OTHER_UID), "--gid", str(OTHER_UID)]
            os.chown(folder, OTHER_UID, OTHER_UID)
        machine = Machine(folder, twistd_options=options)
        machine.config_path.parent.chmod(0o755)
        for path in (machine.config_path.parent, machine.config_path):
            if options:
                os.chown(path, OTHER_UID, OTHER_UID)
        with machine:
            machine.sendmail("alice")
            machine.wait_for_messages(ALICE, 1)
            wait_until(lambda: machine.dropped == [], "the removal")
            if options:
                assert machine.drop.stat().st_uid == OTHER_UID


# --- the folder, and mailq --------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_a_warning_and_the_rest_works(tmp_path):
    with Machine(tmp_path, {"sendmail": {"drop": "../none/drop"}}) as machine:
        machine.wait_for_log("the drop folder cannot be used")
        assert "install -d -m 3733" in machine.log
        said = machine.sendmail("--drop", str(tmp_path / "none" / "drop"), "alice", status=73)
        assert "no such file or directory" in said


def test_mailq(machine):
    words = ("-C", str(machine.config_path), "-bp")
    assert machine.sendmail(*words) == "Mail queue is empty\n"
    machine.sendmail("-f", BOB, "x@far.example")
    wait_until(lambda: "far.example" in machine.cli("queue", "list"), "the queue")
    mailq = machine.folder / "mailq"
    mailq.symlink_to(MAILSERVER)
    machine.stop()
    machine.sendmail("bob")
    lines = machine.sendmail("-C", str(machine.config_path), name=mailq).splitlines()
    assert lines[0].startswith("-Queue ID-")
    assert lines[1].endswith(f"  {BOB}")
    assert "x@far.example" in "".join(lines)
    assert lines[-2] == "-- 1 Kbytes in 1 Request."
    assert lines[-1] == f"1 more in {machine.drop}, for the server to pick up."


def test_mailq_is_for_root_and_the_server():
    with open_folder() as folder, Machine(folder) as machine:
        machine.config_path.chmod(0o644)
        if os.getuid() == 0:
            said = machine.sendmail("-C", str(machine.config_path), "-bp", uid=OTHER_UID, status=77)
            assert said == "mailq: only root and the user of the server may see the queue\n"
        assert machine.sendmail("-C", str(machine.config_path), "-bp") == "Mail queue is empty\n"
