"""`mailserver certificate`: what is in force, where it is from, what is wrong, and a new one."""

import json
import re
import threading
import time

import pytest

from mailserver.acme_keeper import files_of
from mailserver.net.acme_values import AcmeTrouble, Fresh
from mailserver.net.tls import ServerTls, ensure_self_signed
from mailserver.store.acme_folder import AcmeFolder, AcmeRecord
from mailserver.store.certificates import check_obtained, make_key, summary
from mailserver.store.control_socket import Response, decode_request, encode_response, socket_path
from mailserver.store.state_lock import StateLock
from tests.fakes.authority import DAY, FakeAuthority

NAME = "mail.example.org"
ACME = '[acme]\ndirectory = "https://127.0.0.1:1/dir"\nagree_terms = true\nwebroot = "../www"\n'


@pytest.fixture
def folder(command):
    command.config.write_text(command.config.read_text() + ACME)
    return AcmeFolder(command.folder / "state")


def obtain(folder, names=(NAME,), age_days=0.0):
    key = make_key("p256")
    chain = FakeAuthority().issue(key, names, time.time() - age_days * DAY)
    folder.install(key, chain)
    return summary(chain)


def test_a_self_signed_one(command):
    assert "there is none yet" in command("certificate").stderr
    ensure_self_signed(command.folder / "state" / "tls", NAME, time.time())
    text = command.ok("certificate")
    assert "from: made by the server itself; mail programs ask whether to trust it" in text
    assert f"names: {NAME}, localhost" in text
    assert "next order" not in text
    about = json.loads(command.ok("certificate", "show", "--json"))
    assert (about["source"], about["next_order"], about["wrong"]) == ("self-signed", None, [])


def test_one_from_files(command):
    files = ensure_self_signed(command.folder / "own", "other.example.org", time.time())
    tls = f'[tls]\ncertificate = "{files.certificate}"\nprivate_key = "{files.private_key}"\n'
    command.config.write_text(command.config.read_text() + tls)
    result = command("certificate")
    assert result.exit_code == 1
    assert f"from: {files.certificate} ([tls] certificate)" in result.stdout
    assert result.stderr == f"warning: it does not cover {NAME}\n"


def test_one_by_acme(command, folder):
    found = obtain(folder)
    text = command.ok("certificate")
    assert "from: obtained from https://127.0.0.1:1/dir\n" in text
    assert "issuer: Test Issuer\n" in text
    assert "(89 days)\n" in text
    assert f"key (TLSA 3 1 1): {found.spki_sha256}\n" in text
    due = time.strftime("%Y-%m-%d", time.gmtime(found.not_after - 30 * DAY))
    assert f"next order: {due}" in text
    about = json.loads(command.ok("certificate", "--json"))
    assert about["names"] == [NAME]
    assert about["days_left"] == 89
    assert about["spki_sha256"] == found.spki_sha256
    assert round(about["next_order"] - found.not_after + 30 * DAY) == 0


def test_before_the_first_one_comes(command, folder):
    ensure_self_signed(command.folder / "state" / "tls", NAME, time.time())
    text = command.ok("certificate")
    assert "from: made by the server itself until one comes from https://127.0.0.1:1/dir" in text
    assert "next order: now, when the server runs" in text


def test_what_failed_and_what_expired_is_told(command, folder):
    from mailserver.config import load_config
    from mailserver.net.acme_order import settings_stamp

    obtain(folder, age_days=100)
    soon = time.time() + 3600
    stamp = settings_stamp(load_config(command.config))
    folder.write_record(AcmeRecord(stamp, 3, time.time(), soon, "the authority refused", "open port 80"))
    result = command("certificate")
    assert result.exit_code == 1
    assert "warning: it expired on " in result.stderr
    assert "the authority refused: open port 80" in result.stderr
    about = json.loads(command("certificate", "--json").stdout)
    assert (about["failures"], about["remedy"]) == (3, "open port 80")
    assert about["next_order"] == round(soon)
    assert len(about["wrong"]) == 2


def test_renew_without_acme_says_who_renews(command):
    assert "acme.directory is empty" in command.refused("certificate", "renew")


def test_renew_asks_the_running_server(command, folder, tmp_path_factory):
    import socket

    asked = []

    def serve(listener, response):
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            asked.append(decode_request(lines.readline()))
            connection.sendall(encode_response(response))

    done = Response(about={"names": NAME, "issuer": "Test Issuer", "not_after": 1_900_000_000})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(command.folder / "state")))
        listener.listen()
        for response in (done, Response(error="the authority refused: it rains: wait")):
            thread = threading.Thread(target=serve, args=(listener, response), daemon=True)
            thread.start()
            if response is done:
                text = command.ok("certificate", "renew", "--force")
                assert text == f"a certificate for {NAME} from Test Issuer, good until 2030-03-17, is in force\n"
            else:
                assert command.refused("certificate", "renew") == "the authority refused: it rains: wait\n"
            thread.join(10)
    assert [one.about for one in asked] == [{"force": "yes"}, {}]


def test_renew_without_the_server(command, folder, monkeypatch):
    def place(config, folder, names, showing, wait, now):
        key = make_key("p256")
        chain = FakeAuthority().issue(key, names, now())
        return Fresh(key, chain, check_obtained(key, chain, names, now()), ("a file could not be removed",))

    monkeypatch.setattr("mailserver.cli.certificate_alone.order", place)
    result = command("certificate", "renew")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"a certificate for {NAME} from Test Issuer, good until ")
    assert result.stderr == "warning: a file could not be removed: remove it by hand\n"
    assert ServerTls(files_of(folder)).facts.names == (NAME,)
    assert "it is not due before" in command.refused("certificate", "renew")
    command.ok("certificate", "renew", "--force")
    with StateLock(command.folder / "state", "queue remove"):
        assert "in use by" in command.refused("certificate", "renew", "--force")


def test_a_failure_without_the_server_is_remembered(command, folder, monkeypatch):
    def place(*arguments):
        raise AcmeTrouble("it rains", "wait", wait_s=86400.0)

    monkeypatch.setattr("mailserver.cli.certificate_alone.order", place)
    assert command.refused("certificate", "renew") == "it rains: wait\n"
    record = folder.read_record()
    assert (record.failures, record.reason) == (1, "it rains")
    assert record.next_attempt_at > time.time() + 80000


def test_our_own_listener_answers_only_while_the_server_runs(command, folder):
    text = command.config.read_text().replace('webroot = "../www"\n', "")
    command.config.write_text(text + '[listen]\nhttp = ["tcp:8080"]\n')
    assert "start the server" in command.refused("certificate", "renew")


def test_a_name_that_fails_is_left_out_without_the_server(command, folder, monkeypatch):
    """The host name gets its certificate; what failed is told and remembered."""
    asked = []

    def place(config, folder, names, showing, wait, now):
        asked.append(names)
        if "autoconfig.example.org" in names:
            raise AcmeTrouble("it leads elsewhere", "mend it", names=("autoconfig.example.org",))
        key = make_key("p256")
        chain = FakeAuthority().issue(key, names, now())
        return Fresh(key, chain, check_obtained(key, chain, names, now()))

    listen = '[listen]\nhttp = ["tcp:8080"]\nhttps = ["tcp:8443"]\n'
    command.config.write_text(command.config.read_text() + listen)
    monkeypatch.setattr("mailserver.cli.certificate_alone.order", place)
    result = command("certificate", "renew")
    assert result.exit_code == 0
    assert result.stderr == "warning: it leads elsewhere: mend it; the certificate goes without\n"
    assert asked == [
        (NAME, "autoconfig.example.org", "autoconfig.example.net"),
        (NAME, "autoconfig.example.net"),
    ]
    assert folder.read_record().failures == 1
    shown = command("certificate")
    assert "not in it: autoconfig.example.org (each needs an A or AAAA record that leads here)" in shown.stdout


def test_the_json_is_described_key_by_key(command):
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "certificates.md").read_text().partition("`show --json` prints")[2]
    told = re.findall(r"`([a-z0-9_]+)`", text.partition("\n\n")[0])
    about = json.loads(command("certificate", "show", "--json").stdout)
    assert set(about) == {key for key in told if key not in ("acme", "files")}
