"""Signals, reload and stop of the real process, as whoever administers it would see them."""

import os
import poplib
import pwd
import resource
import signal
import smtplib
import socket
import ssl
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import trustme

from tests.integration.server import ALICE, BOB, HOST, LIMIT_S, Server, takes_connections, wait_until

LETTER = b"Subject: hello\r\n\r\nIt works.\r\n"


def send(server, *recipients, letter=LETTER):
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
        client.sendmail("stranger@outside.example", recipients, letter)


def certificate_serial(server, service="pop3s"):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = socket.create_connection((HOST, server.ports[service]), timeout=LIMIT_S)
    with context.wrap_socket(connection, server_hostname="mail.example.test") as client:
        return client.getpeercert(binary_form=True)


# --- the main job -----------------------------------------------------------------------------------------------------


def test_a_letter_comes_in_is_submitted_and_is_fetched(tmp_path):
    with Server(tmp_path) as server:
        send(server, ALICE, BOB)
        with smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S) as client:
            client.starttls(context=server.tls)
            client.login(BOB, server.password(BOB))
            client.sendmail(BOB, [ALICE], b"From: bob@example.test\r\nSubject: two\r\n\r\nSecond.\r\n")
        with smtplib.SMTP_SSL(HOST, server.ports["submissions"], timeout=LIMIT_S, context=server.tls) as client:
            client.login(BOB, server.password(BOB))
            client.sendmail(BOB, [ALICE], b"From: bob@example.test\r\nSubject: three\r\n\r\nThird.\r\n")
        client = poplib.POP3_SSL(HOST, server.ports["pop3s"], context=server.tls, timeout=LIMIT_S)
        client.user(ALICE)
        client.pass_(server.password(ALICE))
        assert client.stat()[0] == 3
        assert client.retr(1)[1][-1] == b"It works."
        for number in (1, 2, 3):
            client.dele(number)
        client.quit()
        client = poplib.POP3(HOST, server.ports["pop3"], timeout=LIMIT_S)
        client.stls(context=server.tls)
        client.user(ALICE)
        client.pass_(server.password(ALICE))
        assert client.stat()[0] == 0
        client.quit()
        assert server.messages(BOB)[0].endswith(b"It works.\n")


def test_mail_and_accounts_survive_a_restart(tmp_path):
    with Server(tmp_path) as server:
        send(server, ALICE)
        password, letter = server.password(ALICE), server.messages(ALICE)
        server.restart()
        assert server.password(ALICE) == password
        assert server.messages(ALICE) == letter
        send(server, ALICE)
        assert len(server.messages(ALICE)) == 2


# --- reload -----------------------------------------------------------------------------------------------------------


def certificate(folder, *names):
    folder.mkdir(exist_ok=True)
    issued = trustme.CA().issue_cert(*names)
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return {"tls": {"certificate": str(folder / "chain.pem"), "private_key": str(folder / "key.pem")}}


@pytest.mark.parametrize("service", ["pop3s", "submissions"])
def test_hangup_takes_the_new_certificate_without_dropping_a_session(tmp_path, service):
    server = Server(tmp_path, certificate(tmp_path / "pem", "mail.example.test"))
    with server:
        before = certificate_serial(server, service)
        session = smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S)
        session.ehlo("client.example")
        session.mail("stranger@outside.example")
        certificate(tmp_path / "pem", "mail.example.test")
        server.reload()
        server.wait_for_log("reloaded what=certificate")
        assert certificate_serial(server, service) != before
        assert session.rcpt(ALICE)[0] == 250, "the session that was open goes on"
        assert session.data(LETTER)[0] == 250
        session.quit()


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_hangup_with_a_certificate_that_cannot_be_used_keeps_the_old_one_and_says_so(tmp_path, damage):
    server = Server(tmp_path, certificate(tmp_path / "pem", "mail.example.test"))
    with server:
        before = certificate_serial(server)
        if damage == "missing":
            (tmp_path / "pem" / "key.pem").unlink()
        else:
            (tmp_path / "pem" / "key.pem").write_text("hello")
        server.reload()
        server.wait_for_log("reload-refused what=certificate")
        assert "#warn] reload-refused what=certificate" in server.log
        assert certificate_serial(server) == before


def test_hangup_with_a_broken_accounts_file_keeps_the_old_one_and_says_so(tmp_path):
    with Server(tmp_path) as server:
        accounts = tmp_path / "etc" / "accounts.toml"
        accounts.write_text(accounts.read_text() + "\n[broken")
        server.wait_for_log("reload-refused what=accounts")
        send(server, ALICE)
        assert server.log.count("reload-refused what=accounts") == 1, "a broken file is told once and not each time"


def test_a_changed_accounts_file_counts_within_a_second_without_hangup(tmp_path):
    settings = {"smtp": {"max_errors": 10_000}}
    with Server(tmp_path, settings) as server, smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
        client.ehlo("client.example")
        client.mail("stranger@outside.example")
        assert client.rcpt("carol@example.test")[0] == 550
        server.cli("account", "add", "carol@example.test", "--password-stdin", stdin="correct horse battery\n")
        changed = time.monotonic()
        wait_until(lambda: client.rcpt("carol@example.test")[0] == 250, "the new account", limit_s=5)
        assert time.monotonic() - changed < 2, "a second, and something for a slow machine"


def test_many_hangups_do_no_harm(tmp_path):
    with Server(tmp_path) as server:
        for _ in range(20):
            server.reload()
        server.wait_for_log("reloaded what=certificate")
        send(server, ALICE)


# --- stop -------------------------------------------------------------------------------------------------------------


def test_sigterm_ends_idle_sessions_with_421_and_the_process_soon(tmp_path):
    with Server(tmp_path) as server:
        idle = socket.create_connection((HOST, server.ports["smtp"]), timeout=LIMIT_S)
        assert idle.recv(512).startswith(b"220 ")
        began = time.monotonic()
        assert server.stop() == -signal.SIGTERM
        assert time.monotonic() - began < 5
        assert idle.recv(512).startswith(b"421 4.3.2 ")
        assert idle.recv(512) == b""
        assert "[mail#info] stopping sessions=" in server.log
        assert not any(takes_connections(port) for port in server.ports.values())
        assert not (server.state / "control.sock").exists()
        assert "Traceback" not in server.log


def test_a_client_that_takes_nothing_does_not_hold_up_the_stop(tmp_path):
    with Server(tmp_path) as server:
        send(server, ALICE, letter=LETTER + b"a long line of text\r\n" * 1_000_000)
        stuck = socket.create_connection((HOST, server.ports["pop3"]), timeout=LIMIT_S)
        lines = stuck.makefile("rb")
        lines.readline()
        for command in (f"USER {ALICE}", f"PASS {server.password(ALICE)}", "RETR 1"):
            stuck.sendall(command.encode() + b"\r\n")
            assert lines.readline().startswith(b"+OK")
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 10.5


def test_a_message_in_the_middle_is_not_taken_and_the_client_is_told(tmp_path):
    with Server(tmp_path) as server:
        with socket.create_connection((HOST, server.ports["smtp"]), timeout=LIMIT_S) as client:
            lines = client.makefile("rb")
            lines.readline()
            client.sendall(f"HELO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\n".encode())
            assert [lines.readline()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
            client.sendall(b"half of it")
            server.stop()
            assert lines.readline().startswith(b"421 ")
        assert server.messages(ALICE) == []


def at_a_terminal():
    """A shell has the programs that it starts in the background ignore Ctrl-C, and that is inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_sigint_stops_as_sigterm_does(tmp_path):
    with Server(tmp_path, preexec=at_a_terminal) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(LIMIT_S) == -signal.SIGINT
        assert "[mail#info] stopping sessions=" in server.log


# --- in the background ------------------------------------------------------------------------------------------------


def test_without_n_twistd_leaves_the_terminal_and_the_files_are_where_it_was_told(tmp_path):
    server = Server(tmp_path)
    command = [one for one in server.command if one not in ("-n", "--pidfile=")]
    command[1:1] = [f"--pidfile={tmp_path}/twistd.pid", f"--logfile={tmp_path}/twistd.log"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S)
    pid = int((tmp_path / "twistd.pid").read_text())
    try:
        assert done.returncode == 0, done.stderr
        assert server.password(ALICE) in done.stdout, "practice settings are shown before it leaves the terminal"
        wait_until(server._answers, "the greetings")
        assert f"process {pid} (server)" in (server.state / "lock").read_text()
        send(server, ALICE)
        [name] = [path.name for path in (server.mailbox(ALICE) / "new").iterdir()]
        assert f"P{pid}Q" in name, "file names hold the id of the process that writes, not of the one that left"
        assert "[mail#info] started hostname=mail.example.test" in (tmp_path / "twistd.log").read_text()
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not (tmp_path / "twistd.pid").exists(), "the end of the process")


# --- files and users --------------------------------------------------------------------------------------------------


def test_everything_is_for_the_owner_alone_whatever_the_umask(tmp_path):
    with Server(tmp_path, preexec=lambda: os.umask(0)) as server:
        send(server, ALICE)
        for path in (server.state, server.maildirs, *server.state.rglob("*"), *server.maildirs.rglob("*")):
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), f"{path} has mode {mode:o}"


@pytest.fixture
def open_folder():
    """A folder that another user may own and pass, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="mailserver-life-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def owners(folder):
    return {path: (path.lstat().st_uid, path.lstat().st_gid) for path in folder.rglob("*")}


@pytest.mark.parametrize("has_log_file", [False, True], ids=["terminal", "log-file"])
def test_with_uid_everything_that_is_made_belongs_to_that_user(open_folder, has_log_file):
    """What is made before the change of user, by mail, by a reload, and by the command line run as root.

    Whoever may not change users runs as himself; then the same must hold.
    """
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    settings = {"relay": {"routes": {"far.example": "127.0.0.1:1"}}}
    server = Server(open_folder, settings, twistd_options=["--uid", user.pw_name])
    if has_log_file:
        server.twistd_options += [f"--logfile={open_folder}/twistd.log"]
    for path in (open_folder, open_folder / "etc", server.config_path):
        os.chown(path, user.pw_uid, user.pw_gid)
    with server:
        send(server, ALICE, BOB)
        server.cli("account", "passwd", ALICE, "--password-stdin", stdin="correct horse battery\n")
        server.cli("account", "add", "carol@example.test", "--password-stdin", stdin="correct horse battery\n")
        wait_until(lambda: "reloaded what=accounts" in whole_log(server), "the new accounts")
        server.reload()
        wait_until(lambda: "reloaded what=certificate" in whole_log(server), "the reload")
        with smtplib.SMTP_SSL(HOST, server.ports["submissions"], timeout=LIMIT_S, context=server.tls) as client:
            client.login(ALICE, "correct horse battery")
            client.sendmail(ALICE, ["carol@example.test", "x@far.example"], b"From: alice@example.test\r\n\r\nx\r\n")
        server.stop()
        found = owners(open_folder)
        found.pop(server.output)  # the test's own
        assert server.mailbox("carol@example.test") in found
        wrong = {path: owner for path, owner in found.items() if owner != (user.pw_uid, user.pw_gid)}
        assert wrong == {}


def whole_log(server):
    log = server.folder / "twistd.log"
    return server.log + (log.read_text() if log.exists() else "")


def test_with_few_descriptors_fewer_are_let_in_and_mail_is_still_stored(tmp_path):
    """What is kept free is for files: a client that was let in must not hear that nothing can be stored."""

    def few_descriptors():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    settings = {"smtp": {"max_connections": 1000, "max_connections_per_client": 1000}}
    with Server(tmp_path, settings, preexec=few_descriptors) as server:
        crowd = [socket.create_connection((HOST, server.ports["smtp"]), timeout=LIMIT_S) for _ in range(150)]
        send(server, ALICE)
        assert len(server.messages(ALICE)) == 1
        assert server.log.count("Too many open files") <= 1, "told once, not for each"
        assert "EMFILE" not in server.log, "Twisted's port would close those who wait"
        for one in crowd:
            one.close()
        server.stop()


def is_greeted(server):
    try:
        with socket.create_connection((HOST, server.ports["smtp"]), timeout=LIMIT_S) as client:
            return client.recv(100).startswith(b"220 ")
    except OSError:
        return False


def is_refused(port):
    """Whether a connection is dropped without a word."""
    try:
        with socket.create_connection((HOST, port), timeout=LIMIT_S) as connection:
            return is_closed(connection)
    except ConnectionResetError:
        return True


def is_closed(connection):
    """Whether the server has ended it, in whatever way."""
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_the_descriptor_limit_is_raised_to_the_hard_one(tmp_path):
    def low_soft_limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    with Server(tmp_path, preexec=low_soft_limit) as server:
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        assert soft == hard


def test_too_many_connections_of_one_client_are_turned_away_with_421(tmp_path):
    with Server(tmp_path, {"smtp": {"max_connections_per_client": 3}}) as server:
        crowd = [socket.create_connection((HOST, server.ports["smtp"]), timeout=LIMIT_S) for _ in range(3)]
        assert all(one.recv(100).startswith(b"220 ") for one in crowd)
        with socket.create_connection((HOST, server.ports["submission"]), timeout=LIMIT_S) as one_more:
            assert one_more.recv(200).startswith(b"421 4.7.0 Too many connections from your address")
            assert is_closed(one_more)
        assert is_refused(server.ports["submissions"]), "no handshake for a refusal"
        with socket.create_connection((HOST, server.ports["pop3"]), timeout=LIMIT_S) as other_group:
            assert other_group.recv(100).startswith(b"+OK")
        crowd[0].close()
        wait_until(lambda: is_greeted(server), "a place that is free again")


def test_a_crowd_of_strangers_that_say_nothing_keeps_nobody_out(tmp_path):
    settings = {"smtp": {"max_connections": 20, "max_connections_per_client": 1000}}
    with Server(tmp_path, settings) as server:
        silent = []
        for _ in range(40):
            silent.append(socket.create_connection((HOST, server.ports["smtp"]), timeout=LIMIT_S))
            assert silent[-1].recv(100).startswith(b"220 ")
        send(server, ALICE)
        assert silent[0].recv(200).startswith(b"421 "), "the one that was silent for longest had to go"


def test_a_tls_handshake_that_never_comes_is_given_up(tmp_path):
    with Server(tmp_path, {"smtp": {"command_timeout": "1s"}, "pop3": {"idle_timeout": "1s"}}) as server:
        for service in ("submissions", "pop3s"):
            assert is_refused(server.ports[service])
        assert "the TLS handshake took too long" in server.log


def test_the_first_banner_is_there_soon(tmp_path):
    """Goal: 600 ms from the command to the banner; the bound here leaves room for a busy machine."""
    with Server(tmp_path) as server:
        server.stop()
        began = time.monotonic()
        server.start()
        assert time.monotonic() - began < 6


class ThroughProxy(smtplib.SMTP):
    """An SMTP client whose connection begins as one from a proxy does."""

    def _get_socket(self, host, port, timeout):
        connection = super()._get_socket(host, port, timeout)
        connection.sendall(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n")
        return connection


def test_behind_a_proxy_the_client_is_the_one_it_names_also_with_starttls(tmp_path):
    server = Server(tmp_path)
    port = server.ports["submission"]
    server.configure(
        {
            "practice": {"accounts": [ALICE]},
            "listen": {"submission": [f"haproxy:tcp:{port}:interface={HOST}"]},
            "submission": {"auth_without_tls": "loopback"},
        }
    )
    server.launch()
    try:
        wait_until(lambda: takes_connections(port), "the listener")
        with ThroughProxy(HOST, port, timeout=LIMIT_S) as client:
            client.ehlo("client.example")
            assert "auth" not in client.esmtp_features, "a proxied client is never on loopback"
            client.starttls(context=server.tls)
            client.login(ALICE, server.password(ALICE))
            client.sendmail(ALICE, [ALICE], b"From: alice@example.test\r\n\r\nx\r\n")
        assert "accepted [203.0.113.7:4711]" in server.log
        assert b"[203.0.113.7]" in server.messages(ALICE)[0]
    finally:
        server.kill()
