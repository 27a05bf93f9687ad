"""`mailserver setup` from the command line to the files, over a made-up survey, in a folder of its own."""

import ipaddress
import json
import os
import pty
import select
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mailserver.cli.context import CliContext, Refusal
from mailserver.cli.setup import setup
from mailserver.cli.setup_ask import questions
from mailserver.cli.setup_run import Request, run
from mailserver.config import load_config
from mailserver.identity import Identity, acting_as
from mailserver.net.listener_text import check_listener
from mailserver.setup.decide import decide
from mailserver.setup.layout import system_layout
from mailserver.setup.values import Answers, Existing, Here
from mailserver.store.accounts import AccountsFile
from mailserver.store.dkim_keys import DkimKeyFolder
from mailserver.store.passwords import Passwords
from tests.setup.test_decide import BLOCKED, GOOD, NAMED4, PublicAddress

MAILSERVER = Path(sys.executable).with_name("mailserver")
IP6 = ipaddress.ip_address("2001:db8::7")
NO_IPV6_NAME = replace(GOOD, addresses=(NAMED4, PublicAddress(IP6, True)))


class Lab:
    """Runs setup below `folder` over a survey, and has what it printed."""

    def __init__(self, folder, capsys):
        self.folder, self._capsys = folder, capsys
        self.output = ""

    def __call__(self, survey=GOOD, status=0, **request):
        asked = Request("example.org", directory=self.folder, **({"user": "alice", "yes": True} | request))
        found = 0
        try:
            run(CliContext(), asked, lambda wishes, config: survey)
        except Refusal as refusal:
            found, said = 1, refusal.message
        except click.exceptions.Exit as end:
            found, said = end.exit_code, ""
        else:
            said = ""
        self.output = self._capsys.readouterr().out + said
        assert found == status, self.output
        return self.output

    @property
    def config_path(self):
        return self.folder / "etc" / "mailserver.toml"

    @property
    def config(self):
        return load_config(self.config_path, check_listener)

    def files(self):
        """Every file with its octets."""
        return {path: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}


@pytest.fixture
def lab(tmp_path, capsys):
    return Lab(tmp_path / "lab", capsys)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_is_there_after_the_first_run(lab):
    output = lab(agree_terms=True)
    config = lab.config
    assert config.hostname == "mail.example.org" and config.acme.is_on
    keys, troubles = DkimKeyFolder(config.storage.state).read()
    assert [key.algorithm for key in keys] == ["ed25519-sha256", "rsa-sha256"] and not troubles
    accounts = AccountsFile(config.accounts.file, config.domains, config.postmaster)
    accounts.load()
    password = output.partition("shown only now: ")[2].split()[0]
    hashed = accounts.tables.hashes["alice@example.org"]
    assert Passwords().check(hashed, password).is_right
    assert not list(accounts.tables.remarks())
    for name in ("systemd/mailserver.service", "samples/fail2ban-filter.conf", "etc/records.zone"):
        assert (lab.folder / name).is_file() and mode(lab.folder / name) == 0o644
    assert mode(config.storage.state) == 0o700
    assert mode(config.sendmail.drop) in (0o3733, 0o1733)
    assert mode(config.accounts.file) == 0o600
    zone = (lab.folder / "etc" / "records.zone").read_text()
    for record in ("IN MX 10 mail.example.org.", "mail.example.org. 3600 IN A 192.0.2.7", "v=DKIM1; k=rsa", "IN PTR"):
        assert record in zone
        assert record in output
    assert "dns --check" in output and "doctor" in output
    assert (
        f"ExecStart={Path(sys.executable).with_name('twistd')}"
        in (lab.folder / "systemd" / "mailserver.service").read_text()
    )


def test_a_second_run_changes_nothing(lab):
    lab()
    before = lab.files()
    output = lab()
    assert "nothing is to be changed" in output and "shown only now" not in output
    assert "IN MX 10" in output, "the records are shown again"
    assert lab.files() == before
    lab(yes=False)
    assert lab.files() == before


def test_a_changed_survey_is_shown_as_a_diff_of_the_keys_it_concerns(lab):
    lab()
    text = lab.config_path.read_text()
    output = lab(NO_IPV6_NAME)
    changed = [
        line for line in output.splitlines() if line.startswith(("+", "-")) and not line.startswith(("- ", "--", "++"))
    ]
    assert changed == ['-address_family = "auto"', '+address_family = "ipv4"']
    assert "2001:db8::7 has no reverse name" in output
    assert lab.config_path.with_name("mailserver.toml.old").read_text() == text
    assert lab.config_path.read_text() == text.replace('address_family = "auto"', 'address_family = "ipv4"')
    assert "nothing is to be changed" in lab(NO_IPV6_NAME)


def test_without_a_terminal_nothing_is_written_unless_it_is_said(lab):
    output = lab(status=1, yes=False)
    assert "nothing was written; --yes" in output
    assert "new: the account alice@example.org" in output
    assert not lab.folder.exists()
    lab()
    before = lab.files()
    assert '+address_family = "ipv4"' in lab(NO_IPV6_NAME, status=1, yes=False)
    assert lab.files() == before


def test_a_dry_run_shows_all_and_writes_nothing(lab):
    output = lab(dry_run=True)
    assert "IN MX 10" in output and "to be written" in output
    assert not lab.folder.exists()
    lab()
    before = lab.files()
    assert '+address_family = "ipv4"' in lab(NO_IPV6_NAME, dry_run=True)
    assert lab.files() == before


def test_the_plan_as_json(lab):
    plan = json.loads(lab(yes=False, as_json=True))
    assert plan["written"] is False and not lab.folder.exists()
    assert {one["topic"] for one in plan["decisions"]} >= {"outgoing", "certificate", "address-family", "listen"}
    assert all(one["says"] and one["reason"] for one in plan["decisions"])
    assert "password" not in plan
    plan = json.loads(lab(as_json=True))
    assert plan["written"] is True and plan["password"] and plan["account"] == "alice@example.org"
    assert {one["type"] for one in plan["records"]} >= {"MX", "A", "TXT", "PTR"}
    assert "password" not in json.loads(lab(as_json=True))


def test_the_owners_edits_survive(lab):
    lab()
    text = lab.config_path.read_text().replace('address_family = "auto"', 'address_family = "ipv6"')
    lab.config_path.write_text(text + '\n[smtp]\n# photos\nmax_message_size = "90MB"\n')
    unit = lab.folder / "systemd" / "mailserver.service"
    unit.write_text(unit.read_text() + "# mine\n")
    before = lab.files()
    output = lab(NO_IPV6_NAME)
    assert 'relay.address_family = "ipv6" is yours and stays; setup would have taken "ipv4"' in output
    assert f"{unit} is not as setup left it" in output
    zone = lab.folder / "etc" / "records.zone"  # it follows from what is in force
    assert lab.files() | {zone: b""} == before | {zone: b""}


def test_a_smarthost_needs_its_password_which_is_never_printed(lab, monkeypatch):
    login = {"smarthost": "smtp.isp.example:587", "smarthost_username": "u4711"}
    output = lab(BLOCKED, status=1, **login)
    assert "Password of u4711 at smtp.isp.example:587 is needed" in output
    assert not lab.folder.exists()
    read, write = os.pipe()
    os.write(write, b"sesam-open\n")
    os.close(write)
    with os.fdopen(read) as secret, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", secret)
        output = lab(BLOCKED, smarthost_password_stdin=True, **login)
    assert "sesam-open" not in output
    file = lab.folder / "var" / "smarthost-password"
    assert file.read_text() == "sesam-open\n" and mode(file) == 0o600
    assert lab.config.relay.smarthost_password_file == file
    assert "nothing is to be changed" in lab(BLOCKED)


def test_without_a_smarthost_it_is_told_that_one_is_needed(lab):
    output = lab(BLOCKED)
    assert "port 25 does not go out from here" in output
    assert "mailserver setup example.org --smarthost HOST:587" in output


def test_a_broken_configuration_is_not_built_on(lab):
    lab()
    lab.config_path.write_text(lab.config_path.read_text() + "\n[smtp]\nmax_messages = 3\n")
    before = lab.files()
    output = lab(NO_IPV6_NAME, status=1)
    assert "smtp.max_messages" in output and "mend it first" in output
    assert lab.files() == before


def test_what_the_server_could_not_read_is_never_written(lab):
    output = lab(status=1, smarthost="smtp.isp.example:70000")
    assert "relay.smarthost" in output and "nothing was written" in output
    assert not lab.folder.exists()


def test_a_domain_more_gets_keys_and_keeps_people(lab, capsys):
    lab()
    run(CliContext(), Request("example.net", directory=lab.folder, yes=True), lambda wishes, config: GOOD)
    output = capsys.readouterr().out
    assert lab.config.domains == ("example.org", "example.net")
    assert "new: DKIM keys that sign the mail of example.net" in output
    assert "new: the account" not in output
    assert "example.net. 3600 IN MX 10 mail.example.org." in output


def test_an_account_that_was_not_made_is_made_by_the_next_run(lab):
    lab()
    lab.config.accounts.file.unlink()
    output = lab(user="")
    assert "new: the account alice@example.org" in output and "shown only now" in output


def test_sockets_of_systemd(lab):
    lab(sockets=True)
    assert lab.config.listen.pop3s == ("systemd:domain=INET6:name=pop3s",)
    text = (lab.folder / "systemd" / "mailserver-pop3s.socket").read_text()
    assert "ListenStream=995" in text and "FileDescriptorName=pop3s" in text
    assert "Sockets=mailserver-smtp.socket" in (lab.folder / "systemd" / "mailserver.service").read_text()
    assert "nothing is to be changed" in lab()


def test_the_systems_places_take_root():
    """Whoever runs the tests; nothing is looked at and nothing written before."""
    nobody = Identity(65534, 65534) if os.geteuid() == 0 else None
    with acting_as(nobody), pytest.raises(Refusal, match="takes root: sudo mailserver setup"):
        run(CliContext(), Request("example.org", yes=True), lambda wishes, config: pytest.fail("it looked"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["example"], "is not a domain"),
        (["[192.0.2.1]"], "is not a domain"),
        (["example.org", "--hostname", "mail"], "is not a full host name"),
        (["example.org", "--user", "bob@example.net"], "is in example.org"),
        (["example.org", "--user", "a b"], "a b@example.org"),
        (["example.org", "--smarthost-username", "u"], "is for a smarthost"),
        (["example.org", "--address", "here"], "192.0.2.7"),
    ],
)
def test_wrong_words_are_told(words, said):
    result = CliRunner().invoke(setup, words, obj=CliContext())
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    ("survey", "typed", "said"),
    [
        (GOOD, "\n\ny\n", {"hostname": "mail.example.org", "user": "postmaster", "has_agreed": True}),
        (GOOD, "mail\npost.example.org\nb o b\nbob@example.org\nn\n", {"hostname": "post.example.org", "user": "bob"}),
        (BLOCKED, "\n\n\ny\n", {"smarthost": "", "has_agreed": True}),
        (
            BLOCKED,
            "\n\nsmtp.isp.example\nu4711\nn\n",
            {"smarthost": "smtp.isp.example:587", "smarthost_username": "u4711", "has_agreed": False},
        ),
    ],
)
def test_the_questions_are_few_and_have_defaults(survey, typed, said):
    """What is wrong is asked again; a smarthost is asked for only where something speaks for one."""
    answers = Answers("example.org")
    plan = decide(survey, answers, Existing(), system_layout(), Here())
    with CliRunner().isolation(input=typed) as (output, *_):
        found = questions(answers, plan, is_new=True)
        assert questions(answers, plan, is_new=False) == answers
    assert {name: getattr(found, name) for name in said} == said
    assert (b"Smarthost" in output.getvalue()) is (survey is BLOCKED)
    assert b"letsencrypt.org" in output.getvalue()


def test_on_a_terminal_it_asks(tmp_path):
    """The defaults by pressing return, and a password of one's own."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        [MAILSERVER, "setup", "example.org", "--offline", "--directory", tmp_path, "--port-offset", "20000"],
        stdin=there,
        stdout=there,
        stderr=there,
        close_fds=True,
        start_new_session=True,
    )
    os.close(there)
    said = b""
    answers = [
        (b"full name", b"\n"),
        (b"first account", b"carol\n"),
        (b"Write this?", b"y\n"),
        (b"(empty: one is made)", b"correct horse battery\n"),
        (b"Again", b"correct horse battery\n"),
    ]
    try:
        while True:
            assert select.select([here], [], [], 60)[0], said.decode()
            try:
                piece = os.read(here, 4096)
            except OSError:
                break  # the other end is closed: it has ended
            if not piece:
                break
            said += piece
            # The space behind the colon comes when the terminal has stopped to echo.
            if answers and answers[0][0] in said.rpartition(b"\n")[2] and said.endswith(b": "):
                os.write(here, answers.pop(0)[1])
        assert process.wait(30) == 0, said.decode()
    finally:
        process.kill()
        process.wait()
        os.close(here)
    assert not answers, said.decode()
    assert b"correct horse" not in said
    config = load_config(tmp_path / "etc" / "mailserver.toml", check_listener)
    assert str(config.postmaster) == "carol@example.org"
    accounts = AccountsFile(config.accounts.file, config.domains, config.postmaster)
    accounts.load()
    assert Passwords().check(accounts.tables.hashes["carol@example.org"], "correct horse battery").is_right


def test_the_account_is_made_last_so_that_its_password_is_shown(lab, monkeypatch):
    """Trouble with the records would leave an account whose password nobody knows."""
    monkeypatch.setattr("mailserver.cli.setup_run._Records.write", lambda records: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lab()
    assert not lab.config.accounts.file.exists()
    monkeypatch.undo()
    assert "shown only now" in lab()
