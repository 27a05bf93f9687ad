"""The command as a whole: help, exit status, start-up, `check-config`, and who it becomes."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailserver.cli.main import main
from tests.cli.conftest import CONFIG, Command

SAMPLE = Path(__file__).parents[2] / "etc" / "mailserver.toml"


def test_help_tells_a_new_user_where_to_begin():
    for words in (["--help"], ["-h"], []):
        result = CliRunner().invoke(main, words, prog_name="mailserver")
        output = result.output
        assert result.exit_code == (0 if words else 2)
        assert "twistd mailserver" in output
        assert "mailserver account add alice@example.org" in output
        for name in ("check-config", "account", "alias", "route", "queue", "why", "explain"):
            assert f"\n  {name} " in output
        # No summary is cut off.
        assert "..." not in output.partition("Commands:")[2]


@pytest.mark.parametrize(
    "words", [["account"], ["alias"], ["queue"], ["route"], ["check-config"], ["why"], ["explain"], ["account", "add"]]
)
def test_every_command_has_help_without_a_configuration(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*words, "--help"], prog_name="mailserver")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: mailserver {' '.join(words)} ")


def test_version():
    assert CliRunner().invoke(main, ["--version"]).output.startswith("mailserver 0.")


@pytest.mark.parametrize("words", [["acount"], ["--confg", "x"], ["account", "add"], ["route", "a", "b"]])
def test_asked_the_wrong_way_is_exit_status_2(words):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_missing_configuration_is_one_line(tmp_path):
    result = CliRunner().invoke(main, ["--config", str(tmp_path / "none.toml"), "account", "list"])
    assert result.exit_code == 1
    assert result.stderr == f"{tmp_path}/none.toml: there is no such file\n"


def test_python_m_mailserver_is_the_command_and_loads_no_reactor(command):
    """Start-up is import time; Twisted would double it."""
    for words in (["account", "list"], ["alias", "list"], ["route", "alice@example.org"], ["check-config"], ["--help"]):
        code = (
            "import runpy, sys\n"
            f"sys.argv = ['mailserver', '--config', {str(command.config)!r}, *{words!r}]\n"
            "try:\n    runpy.run_module('mailserver', run_name='__main__')\n"
            "except SystemExit as ended:\n    print('status', ended.code)\n"
            "print('twisted' in sys.modules, 'rich' in sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.endswith("False False\n"), (words, done)
        assert "status" in done.stdout


# --- check-config -----------------------------------------------------------------------------------------------------


def test_check_config_of_the_sample(tmp_path):
    (tmp_path / "etc").mkdir()
    shutil.copy(SAMPLE, tmp_path / "etc")
    command = Command(tmp_path)
    result = command("check-config")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.replace(str(tmp_path), "") == (
        "/etc/mailserver.toml: no errors\n"
        "\n"
        "mail.example.test keeps the mail of example.test.\n"
        "postmaster: alice@example.test\n"
        "accounts: 0 accounts, 0 aliases in /etc/accounts.toml; made at the first start, for practice: "
        "alice@example.test, bob@example.test\n"
        "mail: /maildirs\n"
        "queue and state: /var\n"
        "new mail is put off when less than 200 MB are free on either disk\n"
        "\n"
        "mail from other servers: tcp:2525:interface=127.0.0.1\n"
        "mail from your people, with STARTTLS: tcp:2587:interface=127.0.0.1\n"
        "mail from your people, with TLS: tcp:2465:interface=127.0.0.1\n"
        "fetching mail by POP3, with STLS: tcp:2110:interface=127.0.0.1\n"
        "fetching mail by POP3, with TLS: tcp:2995:interface=127.0.0.1\n"
        "pages for certificate authorities and mail programs: off\n"
        "pages with TLS, the MTA-STS policy among them: off\n"
        "certificate: self-signed, made at the first start\n"
        "messages up to 50 MB, to 100 recipients each\n"
        "passwords for fetching are taken without TLS from this machine\n"
        "\n"
        "other outgoing mail: to the mail servers that DNS names for each domain (MX)\n"
        "name servers: those of the system\n"
        "tried again after 5m, 10m, 20m, 40m, 1h, 2h, 4h, then every 4h; told to be late after 4h; given up after 5d\n"
    )
    assert sorted(os.listdir(tmp_path)) == ["etc"]


def test_check_config_tells_what_is_looser_than_usual(command):
    (command.config.parent / "secret").write_text("x")
    command.config.write_text(
        CONFIG.partition("[relay.routes]")[0]
        + """
[smtp]
auth = true
trusted_networks = ["192.0.2.0/24"]
[submission]
auth_without_tls = "always"
bare_newlines = "repair"
[pop3]
auth_without_tls = "never"
[listen]
smtp = []
[relay]
smarthost = "smtp.isp.example:587"
smarthost_username = "me"
smarthost_password_file = "secret"
routes = { "routed.example" = "192.0.2.7:2525" }
retry = ["90s"]
schedule = { "dialup.example" = { retry = ["12h"], expire_after = "10d", delay_notice_after = "never" } }
[dns]
servers = ["127.0.0.1:5353"]
"""
    )
    result = command("check-config")
    for line in (
        "mail from other servers: off",
        "passwords are taken on the SMTP listeners too",
        "192.0.2.0/24 may send to anybody without a password",
        "passwords for sending are taken without TLS",
        "bare line ends in messages of your own people are repaired",
        "mail for routed.example: to 192.0.2.7:2525, the fixed route of relay.routes",
        "other outgoing mail: to the smarthost smtp.isp.example:587, with STARTTLS, logged in as me",
        "its certificate is verified, against the authorities of this system",
        "name servers: 127.0.0.1 port 5353",
        "tried again after 90s, then every 90s; told to be late after 4h; given up after 5d",
        "mail for dialup.example and domains below it: tried again after 12h, then every 12h; no delay notice; given "
        "up after 10d",
    ):
        assert f"\n{line}\n" in result.stdout
    assert "for fetching" not in result.stdout
    assert result.stderr.replace(f"{command.folder}/", "") == (
        'warning: etc/mailserver.toml: submission.auth_without_tls: "always": '
        "passwords cross the network where anybody can read them\n"
        'warning: postmaster: "alice@example.org": there is no such account yet; '
        "`mailserver account add alice@example.org` makes it\n"
    )


def test_check_config_tells_every_error_and_missing_files(command):
    command.config.write_text(CONFIG.replace('"mail.example.org"', "7") + "[smpt]\n")
    assert command.refused("check-config") == (
        "etc/mailserver.toml: hostname: 7: must be text in quotes\n"
        "etc/mailserver.toml: smpt: there is no such table (did you mean [smtp]?)\n"
    )
    command.config.write_text(
        CONFIG.partition("[relay.routes]")[0]
        + '[tls]\ncertificate = "c.pem"\nprivate_key = "k.pem"\n[relay]\nsmarthost = "localhost:26"\n'
        'smarthost_username = "me"\nsmarthost_password_file = "none"\nsmarthost_ca_file = "/"\n'
    )
    text = command.refused("check-config").splitlines()
    assert text[0] == (
        "etc/mailserver.toml: relay.smarthost_password_file: etc/none cannot be read: no such file or directory"
    )
    assert text[1] == 'etc/mailserver.toml: relay.smarthost_ca_file: "/": cannot be read: is a directory'
    assert text[2].startswith("etc/mailserver.toml: tls: ")
    assert "c.pem" in text[2]


# --- root -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def reachable():
    """A command in a folder that every user can enter; pytest's own folders are for one user."""
    with tempfile.TemporaryDirectory() as name:
        command = Command(Path(name))
        Path(name).chmod(0o755)
        command.config.parent.mkdir()
        (Path(name) / "state").mkdir()
        command.config.write_text(CONFIG)
        yield command


def child(command: Command, *words: str, become: int | None = None) -> tuple[int, str]:
    """Run it in a forked process, which may become another user for good: exit status, and what it said."""
    # What is needed is imported by somebody who may read the sources.
    for looking in ("account list", "alias list", "queue list", "route alice@example.org"):
        command(*looking.split(" "))
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            if become is not None:
                os.setgroups([])
                os.setgid(become)
                os.setuid(become)
            result = command(*words)
            os.write(writer, result.stderr.replace(f"{command.folder}/", "").encode())
            status = result.exit_code
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


NOBODY = 65534


def test_own_user_writes_its_own_files(reachable):
    assert child(reachable, "account", "add", "alice@example.org") == (0, "")
    assert reachable.accounts.stat().st_uid == os.geteuid()


def test_root_becomes_the_owner_of_the_state_folder(reachable):
    if os.geteuid() != 0:
        # Somebody else's folder cannot be made; the root folder is one.
        reachable.config.write_text(CONFIG.replace('"../state"', '"/usr"'))
        status, said = child(reachable, "account", "add", "alice@example.org")
        assert status == 1
        assert said.startswith("/usr belongs to root: run this as root or as that user")
        return
    for path in (reachable.folder / "state", reachable.config.parent):
        os.chown(path, NOBODY, NOBODY)
    assert child(reachable, "account", "add", "alice@example.org") == (0, "")
    for path in (reachable.accounts, reachable.accounts.with_name("accounts.toml.lock")):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
        assert path.stat().st_mode & 0o777 == 0o600
    assert child(reachable, "account", "disable", "alice@example.org")[0] == 0
    assert child(reachable, "alias", "add", "s@example.org", "alice@example.org")[0] == 0
    assert reachable.accounts.stat().st_uid == NOBODY


def test_root_does_not_follow_a_link_of_the_servers_user_to_what_is_roots(reachable):
    """Whoever broke into the server must not have root write for him: state folder or accounts are links now."""
    if os.geteuid() != 0:
        return  # only root can make links that belong to somebody else
    target = reachable.folder / "roots"
    target.mkdir()
    for name in ("state", "etc/accounts.toml"):
        link = reachable.folder / name
        if link.is_dir():
            link.rmdir()
        link.symlink_to(target / "accounts.toml" if name.startswith("etc") else target)
        os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
        status, said = child(reachable, "account", "add", "alice@example.org")
        assert (status, list(target.iterdir())) == (1, [])
        assert said.startswith(f"{name} is a link that belongs to nobody and leads to what belongs to root")
        link.unlink()
        (reachable.folder / "state").mkdir(exist_ok=True)


def test_root_refuses_when_the_owner_could_not_write_the_accounts(reachable):
    if os.geteuid() != 0:
        reachable.config.parent.chmod(0o555)
        status, said = child(reachable, "account", "add", "alice@example.org")
        reachable.config.parent.chmod(0o755)
        assert (status, "cannot be written" in said) == (1, True)
        return
    os.chown(reachable.folder / "state", NOBODY, NOBODY)
    status, said = child(reachable, "account", "add", "alice@example.org")
    assert status == 1
    assert said == (
        f"{reachable.config.parent} cannot be written by nobody, the user the server runs as: give it to that user "
        f"(chown nobody {reachable.config.parent}), or name another place in accounts.file\n"
    ).replace(f"{reachable.folder}/", "")
    assert not reachable.accounts.exists()


def test_another_user_is_refused(reachable):
    if os.geteuid() != 0:
        reachable.config.write_text(CONFIG.replace('"../state"', '"/usr"'))
        assert child(reachable, "alias", "add", "s@example.org", "alice@example.org")[0] == 1
        return
    reachable.folder.chmod(0o755)
    assert child(reachable, "account", "add", "alice@example.org", become=NOBODY) == (
        1,
        "state belongs to root: run this as root or as that user (sudo -u root mailserver ...)\n",
    )
    assert not reachable.accounts.exists()


def test_an_owner_who_may_not_write_is_told_which_folder(reachable):
    owner, become = (NOBODY, NOBODY) if os.geteuid() == 0 else (os.geteuid(), None)
    for path in (reachable.folder / "state", reachable.config.parent):
        os.chown(path, owner, -1)
    reachable.folder.chmod(0o755)
    reachable.config.parent.chmod(0o555)
    status, said = child(reachable, "account", "add", "alice@example.org", become=become)
    reachable.config.parent.chmod(0o755)
    assert status == 1
    assert "/etc cannot be written by " in f"/{said}"
    assert ": make it writable (chmod u+rwx etc), or name another place in accounts.file" in said


@pytest.mark.parametrize("words", [("account", "list"), ("route", "alice@example.org"), ("queue", "list")])
def test_who_may_not_read_is_told_who_may(reachable, words):
    if os.geteuid() != 0:
        return  # only root can make folders that belong to somebody else
    child(reachable, "account", "add", "alice@example.org")
    messages = reachable.folder / "state" / "queue" / "messages"
    messages.mkdir(parents=True)
    (reachable.folder / "state").chmod(0o700)
    reachable.folder.chmod(0o755)
    status, said = child(reachable, *words, become=NOBODY)
    assert status == 1
    place = "state/queue/messages" if words[0] == "queue" else "etc/accounts.toml"
    assert said == (
        f"{place}: cannot be read: permission denied; state belongs to root: run this as root or as that user "
        "(sudo -u root mailserver ...)\n"
    )


def test_before_the_first_start_root_is_told_whose_the_file_will_be(reachable):
    shutil.rmtree(reachable.folder / "state")
    status, said = child(reachable, "account", "add", "alice@example.org")
    assert status == 0
    if os.geteuid() == 0:
        assert said == (
            "warning: state does not exist yet, so it is not known which user the server will run as; "
            "etc/accounts.toml will belong to root, like etc\n"
        )
        os.chown(reachable.accounts, NOBODY, NOBODY)
        os.chown(reachable.config.parent, NOBODY, NOBODY)
        assert child(reachable, "account", "disable", "alice@example.org") == (0, "")
        assert reachable.accounts.stat().st_uid == NOBODY
        (reachable.folder / "state").mkdir()
        os.chown(reachable.folder / "state", NOBODY, NOBODY)
        os.chown(reachable.accounts, 0, 0)
        assert child(reachable, "account", "enable", "alice@example.org") == (
            1,
            "etc/accounts.toml cannot be read by nobody, the user the server runs as: give it to that user "
            "(chown nobody etc/accounts.toml)\n",
        )


def as_a_process(command, *words: bytes | str, shell: str = "", environment: dict[str, str] | None = None):
    """`mailserver ...` behind a shell's redirection."""
    script = f'exec "$0" -m mailserver "$@" {shell}'
    return subprocess.run(
        ["/bin/sh", "-c", script, sys.executable, "--config", str(command.config), *words],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        # Output stays in a buffer to the end, as with most people.
        env={**os.environ, "PYTHONUNBUFFERED": "", **(environment or {})},
    )


@pytest.mark.parametrize("words", [("account", "add"), ("account", "remove"), ("route",), ("alias", "remove")])
def test_an_address_that_is_not_utf8_is_refused_in_words(command, words):
    done = as_a_process(command, *words, b"a\xff@example.org")
    assert done.returncode == 2
    assert done.stderr.endswith(b"Error: a?@example.org: the address is not UTF-8 text\n")


@pytest.mark.parametrize("words", [("account", "list"), ("account", "list", "--json"), ("check-config",)])
def test_a_full_disk_behind_standard_output_is_one_line(command, words):
    command.ok("account", "add", "alice@example.org")
    done = as_a_process(command, *words, shell=">/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == b"cannot go on: no space left on device"
    assert b"Traceback" not in done.stderr


def test_closed_standard_streams_are_no_traceback(command):
    done = as_a_process(command, "account", "add", "alice@example.org", "--password-stdin", shell="<&-")
    assert (done.returncode, done.stderr) == (1, b"Password: standard input is closed\n")
    command.ok("account", "add", "alice@example.org")
    for shell, words in ((">&-", ("account", "list")), ("<&-", ("account", "add", "bob@example.org"))):
        done = as_a_process(command, *words, shell=shell)
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_of_another_encoding_gets_all_it_can_show(command):
    command.ok("account", "add", "dörte.дуня@example.org")
    done = as_a_process(command, "account", "list", environment={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0
    assert done.stdout.startswith(b"d\xf6rte.\\u0434\\u0443\\u043d\\u044f@example.org\t")
