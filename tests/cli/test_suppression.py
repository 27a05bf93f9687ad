"""`mailserver suppression`, with and without a server."""

import json
import time

import pytest
import pytest_twisted
from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from mailserver.cli.main import main
from mailserver.mail.reply import Reply
from mailserver.net.control import ControlServer
from mailserver.store.control_socket import Response
from mailserver.store.files import Files
from mailserver.store.state_lock import StateLock
from mailserver.store.suppression import SuppressionFile, SuppressionList
from tests.fakes.directory import box


@pytest.fixture
def state(tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "mailserver.toml").write_text(
        'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n'
        '[storage]\nmaildirs = "maildirs"\nstate = "var"\n'
    )
    return tmp_path / "var"


def command(state, *words, code=0):
    result = CliRunner().invoke(main, ["--config", str(state.parent / "mailserver.toml"), "suppression", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_add_list_remove_without_a_server(state):
    assert command(state, "list", "--json") == "[]\n"
    assert command(state, "add", "Bob@Example.net", "--reason", "left the firm").startswith("nothing is sent to Bob@")
    assert "before 20" in command(state, "add", "eve@example.com", "--for", "30d")
    found = json.loads(command(state, "list", "--json"))
    assert (found[0]["address"], found[0]["reason"]) == ("bob@example.net", "left the firm")
    assert found[0]["until"] is None
    assert found[1]["until"] == pytest.approx(time.time() + 30 * 86400, abs=5)
    assert "bob@example.net\tlisted\t" in command(state, "list")
    assert command(state, "remove", "bob@example.net") == "bob@example.net is off the suppression list\n"
    assert "not on the suppression list" in command(state, "remove", "bob@example.net", code=1)
    assert len(json.loads(command(state, "list", "--json"))) == 1


def test_counts_are_shown_when_asked_for(state):
    found = SuppressionList(3, 86400.0)
    found.refused(box("bob@example.net"), "Q", Reply(550, "5.1.1", ("no",)), "mx", time.time())
    SuppressionFile(state, Files()).write(found.encode(time.time()))
    assert command(state, "list") == ""
    assert "counting" in command(state, "list", "--all")
    (one,) = json.loads(command(state, "list", "--all", "--json"))
    assert (one["state"], one["refusals"][0]["id"]) == ("counting", "Q")


@pytest.mark.parametrize("octets", [b"\0", b'{"version": 2}'])
def test_a_file_that_cannot_be_read_is_told_and_left(state, octets):
    path = state / "suppression.json"
    path.write_bytes(octets)
    assert str(path) in command(state, "list", code=1)
    command(state, "add", "bob@example.net", code=1)
    assert path.read_bytes() == octets


def test_what_is_no_address_is_refused(state):
    command(state, "add", "bob", code=2)


@pytest_twisted.ensureDeferred
async def test_with_a_server_changes_go_through_its_socket(state):
    asked = []

    async def answer(request):
        asked.append(request)
        return Response(count=0 if request.command.endswith("remove") else 1)

    server = ControlServer(reactor, state, {f"suppression-{word}": answer for word in ("add", "remove")})
    with StateLock(state, "server"):
        server.start()
        try:
            await deferToThread(command, state, "add", "bob@example.net", "--reason", "why")
            text = await deferToThread(command, state, "remove", "bob@example.net", code=1)
            assert "not on the suppression list" in text
        finally:
            await server.stop()
    assert [(one.command, one.about["address"]) for one in asked] == [
        ("suppression-add", "bob@example.net"),
        ("suppression-remove", "bob@example.net"),
    ]
    assert not (state / "suppression.json").exists()
