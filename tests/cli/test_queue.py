"""`mailserver queue`, as an operator types it; with and without a server."""

import json
import time

import pytest
import pytest_twisted
from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from mailserver.cli.context import CliContext
from mailserver.cli.main import main
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QueueIds
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply
from mailserver.net.control import ControlServer
from mailserver.ports import Report
from mailserver.store.control_socket import Response
from mailserver.store.files import Files
from mailserver.store.journal_format import journal_path
from mailserver.store.journal_read import JournalReader
from mailserver.store.spool import Spool
from mailserver.store.spool_changes import AddReport, WriteState, WriteTranscript
from mailserver.store.spool_format import SpoolPaths
from mailserver.store.spool_state import RecipientProgress, RecipientState
from mailserver.store.state_lock import StateLock
from tests.fakes.directory import box

CONTENT = b"Subject: hello\r\nX: 1\r\n\r\nlook ma\r\n"


class Desk:
    """A configuration, a queue with three messages, and the command."""

    def __init__(self, folder):
        self.state = folder / "var"
        self.config = folder / "mailserver.toml"
        self.config.write_text(
            'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n'
            '[storage]\nmaildirs = "maildirs"\nstate = "var"\n'
        )
        self.spool = Spool(SpoolPaths(self.state), Files())
        self.spool.prepare()
        self.now = time.time()
        make_id = QueueIds(time.time)
        self.old = self.put(make_id(), "alice@example.org", ("bob@example.net", "eve@example.com"), 90_000)
        self.new = self.put(make_id(), None, ("carol@example.net",), 60)
        self.put(make_id(), "dora@example.org", ("fred@elsewhere.example",), 4000)
        progress = (
            RecipientProgress(
                attempts=3,
                next_attempt=self.now + 600,
                last_attempt=self.now - 5,
                reason="the server asked us to come back",
                stage=Stage.RCPT,
                reply=Reply(450, "4.7.1", ("greylisted", "come back")),
                host="mx.example.net",
            ),
            RecipientProgress(state=RecipientState.DELIVERED, attempts=1),
        )
        assert self.spool.apply([WriteState(self.old, progress)]) == [None]

    def put(self, queue_id, sender, recipients, age_s):
        envelope = Envelope(sender and box(sender), tuple(Recipient(box(one)) for one in recipients))
        assert self.spool.apply([AddReport(Report(queue_id, envelope, CONTENT), self.now - age_s)]) == [None]
        return queue_id

    def __call__(self, *words, code=0, stdin=None):
        result = CliRunner().invoke(main, ["--config", str(self.config), "queue", *words], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output if code == 0 else result.output + (result.stderr or "")


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_list_has_the_fixed_form(desk):
    found = json.loads(desk("list", "--json"))
    assert found[0]["id"] == desk.old
    first = found[0]
    assert (first["sender"], first["size"]) == ("alice@example.org", len(CONTENT))
    assert first["received_at"] == pytest.approx(desk.now - 90_000, abs=0.01)
    assert first["recipients"][0] == {
        "address": "bob@example.net",
        "state": "waiting",
        "attempts": 3,
        "next_attempt": pytest.approx(desk.now + 600, abs=0.01),
        "last_attempt": pytest.approx(desk.now - 5, abs=0.01),
        "last_reply": "450 4.7.1 greylisted come back",
        "reason": "the server asked us to come back",
        "host": "mx.example.net",
        "held_by": "",
        "held_reason": "",
        "held_since": None,
    }
    assert found[1]["sender"] == ""


def test_list_in_a_pipe_has_a_row_for_each_recipient_in_columns(desk):
    lines = [line.split("\t") for line in desk("list").splitlines()]
    assert len(lines) == 4
    assert lines[0][:8] == [desk.old, "25h", "33 B", "alice@example.org", "bob@example.net", "waiting", "3", "in 9m"]
    assert lines[1][5] == "delivered"
    assert lines[2][3] == "<>"


@pytest.mark.parametrize(
    ("options", "senders"),
    [
        (("--sender", "ALICE"), ["alice@example.org"]),
        (("--sender", "<>"), [""]),
        (("--recipient", "fred@"), ["dora@example.org"]),
        (("--domain", "Example.NET"), ["alice@example.org", ""]),
        (("--state", "delivered"), ["alice@example.org"]),
        (("--older", "1d"), ["alice@example.org"]),
        (("--newer", "10m"), [""]),
        (("--domain", "example.net", "--older", "1h"), ["alice@example.org"]),
        (("--domain", "nowhere.example"), []),
    ],
)
def test_list_can_be_narrowed(desk, options, senders):
    assert [one["sender"] for one in json.loads(desk("list", "--json", *options))] == senders


def test_messages_of_an_account_are_found_by_its_login_whatever_sender_they_name(desk):
    """A thief uses no sender, or another one; and what somebody with a similar address sent is not meant."""

    make_id = QueueIds(time.time)

    def put(sender, login):
        envelope = Envelope(sender and box(sender), (Recipient(box("x@far.example")),))
        report = Report(make_id(), envelope, CONTENT, f"[192.0.2.7:25] {login} ESMTPSA")
        assert desk.spool.apply([AddReport(report, desk.now)]) == [None]
        return report.queue_id

    own = put("rob@example.org", "rob@example.org")
    null = put(None, "rob@example.org")
    other = put("sales@example.org", "Rob@Example.ORG")
    put("jrob@example.org", "jrob@example.org")
    put("rob@example.org", "jrob@example.org")
    found = json.loads(desk("list", "--json", "--login", "ROB@example.org"))
    assert {one["id"] for one in found} == {own, null, other}


def test_a_wrong_option_is_a_usage_error(desk):
    desk("list", "--login", "rob", code=2)
    desk("list", "--older", "soon", code=2)
    desk("list", "--domain", "no domain", code=2)
    desk("show", "../../etc/passwd", code=2)
    desk("retry", code=2)
    desk("retry", desk.old, "--all", code=2)


def test_show_tells_everything_and_content_is_exact(desk):
    text = desk("show", desk.old.lower())
    for part in ("<alice@example.org>", "<bob@example.net>", "450 4.7.1 greylisted come back", "Subject: hello"):
        assert part in text
    assert "look ma" not in text
    result = CliRunner().invoke(main, ["--config", str(desk.config), "queue", "show", desk.old, "--content"])
    assert result.stdout_bytes == CONTENT
    assert json.loads(desk("show", desk.old, "--json"))["header"].startswith("Subject: hello")
    assert "is not in the queue" in desk("show", "0000000000000", code=1)


def test_retry_without_a_server_makes_due(desk):
    assert desk("retry", desk.old) == "1 message will be tried now\n"
    bob, eve = desk.spool.read(desk.old).progress
    assert (bob.next_attempt, bob.attempts, eve.state) == (0.0, 3, RecipientState.DELIVERED)
    assert desk("retry", "--domain", "elsewhere.example") == "1 message will be tried now\n"
    assert desk("retry", "--all") == "3 messages will be tried now\n"


def test_remove_without_a_server(desk):
    assert desk("remove", desk.new) == "1 message removed\n"
    assert desk("remove", "--all") == "2 messages removed\n"
    assert desk.spool.ids() == []
    assert list(desk.spool.paths.states.iterdir()) == []
    assert "is not in the queue" in desk("remove", desk.new, code=1)


def test_an_empty_or_missing_queue_is_no_error(tmp_path):
    desk = Desk(tmp_path)
    desk("remove", "--all")
    assert desk("list") == ""
    assert json.loads(desk("list", "--json")) == []
    desk.config.write_text(desk.config.read_text().replace('state = "var"', 'state = "other"'))
    assert desk("list") == ""
    assert not (tmp_path / "other").exists()


def test_a_lock_without_a_socket_is_waited_for_and_then_told(desk, monkeypatch):
    from mailserver.cli import queue_changes

    monkeypatch.setattr(queue_changes, "_PATIENCE_S", 0.0)
    with StateLock(desk.state, "server"):
        text = desk("retry", "--all", code=1)
    assert "(server), which does not answer on its control socket" in text


def test_reading_changes_nothing_not_even_damaged_files(desk):
    path = desk.spool.paths.message(desk.old)
    path.write_bytes(b"mailserver-queue 1\nrubbish")
    output = desk("list")
    assert path.exists()
    assert len(output.splitlines()) >= 2


def test_a_damaged_state_keeps_nobody_from_looking_retrying_or_removing(desk):
    """It counts as no state at all; without a server it is the command line that sets it aside."""
    state = desk.spool.paths.state(desk.old)
    state.write_text("{rubbish")
    assert "<bob@example.net>" in desk("show", desk.old)
    assert "Subject: hello" in desk("show", desk.old, "--content")
    assert state.exists()
    assert desk("retry", "--all").endswith("3 messages will be tried now\n")
    assert [path.name for path in desk.spool.paths.damaged.iterdir()] == [f"{desk.old}.state"]
    state.write_text("{rubbish")
    assert desk("remove", desk.old).endswith("1 message removed\n")
    assert desk.old not in desk.spool.ids()


def test_a_damaged_message_is_told_and_holds_up_no_other(desk):
    desk.spool.paths.message(desk.old).write_bytes(b"rubbish")
    assert desk("retry", "--all").endswith("2 messages will be tried now\n")
    assert "cannot be read" in desk("remove", desk.old, code=1)


@pytest_twisted.ensureDeferred
async def test_with_a_server_changes_go_through_its_socket(desk):
    asked = []

    async def answer(request):
        asked.append(request)
        return Response(count=len(request.ids), ids=(desk.new,), about={"running": 1})

    server = ControlServer(reactor, desk.state, {f"queue-{word}": answer for word in ("retry", "remove", "running")})
    with StateLock(desk.state, "server"):
        server.start()
        try:
            assert await deferToThread(desk, "retry", "--domain", "example.net") == "2 messages will be tried now\n"
            text = await deferToThread(desk, "remove", desk.old)
            assert text == "1 message removed\nwarning: 1 of them is being sent at this moment and may still arrive\n"
            rows = (await deferToThread(desk, "list")).splitlines()
        finally:
            await server.stop()
    assert [(one.command, one.domain) for one in asked[:2]] == [("queue-retry", "example.net"), ("queue-remove", "")]
    assert asked[0].ids == (desk.old, desk.new)
    assert "sending" in next(row for row in rows if row.startswith(desk.new))
    assert desk.old in desk.spool.ids()  # the fake server did nothing


def test_what_the_operator_does_without_a_server_is_in_the_journal(desk, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "eva")
    desk("retry", desk.old)
    desk("remove", desk.old)
    with JournalReader(journal_path(desk.state)) as reader:
        told = [(entry.word, entry.text("what") or entry.text("reason")) for entry in reader.of_message(desk.old)]
        [first, *_] = reader.of_message(desk.old)
    assert told == [("ordered", "retry"), ("ordered", "remove"), ("removed", "by the operator")]
    assert first.text("by").endswith(" (sudo by eva)")


# --- hold, release, bounce --------------------------------------------------------------------------------------------


def test_hold_is_shown_with_who_and_why_and_release_ends_it(desk, monkeypatch):
    monkeypatch.setattr(CliContext, "operator", "eva")
    assert desk("hold", desk.old, "--reason", "asked alice") == "1 message held\n"
    (found,) = json.loads(desk("list", "--state", "held", "--json"))
    first = found["recipients"][0]
    assert (first["state"], first["held_by"], first["held_reason"], first["next_attempt"]) == (
        "held",
        "eva",
        "asked alice",
        None,
    )
    assert first["held_since"] == pytest.approx(time.time(), abs=5)
    page = desk("show", desk.old)
    assert " by eva: asked alice" in page
    assert "none before it is released" in page
    assert "held by eva: asked alice" in desk("list", "--state", "held")
    assert desk("hold", desk.old) == "0 messages held\n"
    assert desk("retry", desk.old) == "0 messages will be tried now\n"
    assert desk("release", "--all") == "1 message released\n"
    assert desk("list", "--state", "held") == ""
    assert json.loads(desk("list", "--sender", "alice", "--json"))[0]["recipients"][0]["attempts"] == 3


def test_bounce_without_a_server_leaves_the_report_to_the_next_start(desk):
    assert desk("bounce", "--recipient", "bob@example.net", "--reason", "sent by mistake", "--yes") == (
        "1 message bounced\n"
    )
    one, other = desk.spool.read(desk.old).progress
    assert (one.state, other.state) == (RecipientState.BOUNCED, RecipientState.DELIVERED)
    assert one.reason.endswith("stopped the delivery: sent by mistake")
    assert one.report
    assert not one.is_reported
    assert desk("bounce", desk.old) == "0 messages bounced\n"


@pytest.mark.parametrize("word", ["hold", "release", "bounce"])
def test_an_order_names_what_it_is_about_in_one_way(desk, word):
    assert "one of the three" in desk(word, code=2)
    assert "one of the three" in desk(word, desk.old, "--all", code=2)


@pytest_twisted.ensureDeferred
async def test_with_a_server_orders_go_through_its_socket(desk, monkeypatch):
    monkeypatch.setattr(CliContext, "operator", "eva")
    asked = []

    async def answer(request):
        asked.append(request)
        return Response(count=1, about={"running": 1})

    commands = {f"queue-{word}": answer for word in ("hold", "release", "bounce")}
    server = ControlServer(reactor, desk.state, commands)
    with StateLock(desk.state, "server"):
        server.start()
        try:
            text = await deferToThread(desk, "hold", "--domain", "example.net", "--reason", "why")
            assert text == "1 message held\nwarning: 1 of them is being sent at this moment and may still arrive\n"
            assert await deferToThread(desk, "release", desk.old) == "1 message released\n"
            text = await deferToThread(desk, "bounce", "--recipient", "bob", "--reason", "why")
            assert "left alone" in text
        finally:
            await server.stop()
    assert [(one.command, one.by, one.domain, dict(one.about)) for one in asked] == [
        ("queue-hold", "eva", "example.net", {"reason": "why"}),
        ("queue-release", "eva", "", {}),
        ("queue-bounce", "eva", "", {"recipient": "bob", "reason": "why"}),
    ]
    assert not desk.spool.read(desk.old).progress[0].is_held


# --- totals and transcripts -------------------------------------------------------------------------------------------


def test_the_summary_counts_by_state_and_destination(desk):
    found = json.loads(desk("summary", "--json"))
    assert (found["messages"], found["states"]) == (3, {"delivered": 1, "waiting": 3})
    assert found["oldest"] == pytest.approx(desk.now - 90_000, abs=0.01)
    first = found["domains"][0]
    assert (first["domain"], first["messages"], first["states"]) == ("example.net", 2, {"waiting": 2})
    assert first["last_words"] == "450 4.7.1 greylisted come back"
    assert [one["domain"] for one in found["domains"]] == ["example.net", "elsewhere.example"]
    desk("hold", desk.new)
    assert json.loads(desk("summary", "--json"))["states"]["held"] == 1


def test_without_a_subcommand_the_summary_is_printed(desk):
    assert desk() == desk("summary")
    assert desk().splitlines()[0].split("\t") == [
        "example.net",
        "2",
        "2",
        "0",
        "25h",
        "450 4.7.1 greylisted come back",
    ]
    desk("remove", "--all", "--yes")
    assert desk() == "the queue is empty\n"


def test_a_transcript_is_shown_when_there_is_one(desk):
    assert "kept with [relay] transcripts = true" in desk("show", desk.old, "--transcript", code=1)
    desk.spool.apply([WriteTranscript(desk.old, "example.net", "   0.000 < 220 \x1b[31m\n", desk.now)])
    lines = desk("show", desk.old, "--transcript").splitlines()
    assert lines[0].startswith("== example.net, ")
    assert lines[1] == "   0.000 < 220 ?[31m"


def test_show_says_that_a_sender_is_forged(tmp_path):
    desk = Desk(tmp_path)
    queue_id = QueueIds(lambda: desk.now + 100)()
    envelope = Envelope(box("victim@outside.example"), (Recipient(box("bob@example.net")),), is_disowned=True)
    assert desk.spool.apply([AddReport(Report(queue_id, envelope, CONTENT, "[203.0.113.9:1] ESMTP"), desk.now)]) == [
        None
    ]
    shown = CliRunner().invoke(main, ["--config", str(desk.config), "queue", "show", queue_id]).output
    assert "Sender:     <victim@outside.example>\n            (forged, as its domain's SPF record says" in shown
