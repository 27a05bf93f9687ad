"""The operator's hand on the queue of the running server: hold, release, bounce, rules, suppression."""

import json
import smtplib
from email import message_from_bytes

import pytest

from tests.integration.server import ALICE, BOB, HOST, LIMIT_S, Server, wait_until

CAROL = "carol@far.test"
NOBODY = "nobody@far.test"


@pytest.fixture
def far(tmp_path):
    """The server of far.test; not started."""
    (tmp_path / "far").mkdir()
    settings = {"hostname": "mx.far.test", "domains": ["far.test"], "postmaster": CAROL}
    server = Server(tmp_path / "far", settings, accounts=[CAROL])
    yield server
    server.kill()


@pytest.fixture
def near(tmp_path, far):
    """The server of example.test, which knows the way to far.test."""
    (tmp_path / "near").mkdir()
    routes = {"far.test": f"{HOST}:{far.ports['smtp']}"}
    settings = {
        "relay": {"routes": routes, "retry": ["1s"], "expire_after": "1h", "transcripts": True},
        "hold": [{"login": BOB, "recipient": "@far.test", "reason": "new here"}],
    }
    with Server(tmp_path / "near", settings) as server:
        yield server


def submit(server, recipient, sender=ALICE):
    with smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S) as client:
        client.starttls(context=server.tls)
        client.login(sender, server.password(sender))
        client.sendmail(sender, [recipient], f"From: {sender}\r\nSubject: over there\r\n\r\nHello.\r\n".encode())


def queued(server):
    return json.loads(server.cli("queue", "list", "--json"))


def words(report):
    """The part of a report that people read, as one line."""
    message = message_from_bytes(report)
    return " ".join(message.get_payload(0).get_payload(decode=True).decode().split())


def test_a_held_message_stays_until_it_is_released(near, far):
    submit(near, CAROL)
    near.wait_for_log("deferred recipient=carol@far.test")
    (waiting,) = queued(near)
    assert "connecting to" in near.cli("queue", "show", waiting["id"], "--transcript")
    wait_until(lambda: near.cli("queue", "hold", "--all", "--reason", "asked alice") == "1 message held\n", "the hold")
    wait_until(lambda: not queued(near)[0]["is_running"], "the end of the attempt")
    near.kill()
    near.start()
    far.start()
    assert near.cli("queue", "retry", "--all") == "0 messages will be tried now\n"
    (held,) = queued(near)
    assert (held["recipients"][0]["state"], held["recipients"][0]["held_reason"]) == ("held", "asked alice")
    assert "\t0\t1\t" in near.cli("queue")
    assert far.messages(CAROL) == []
    assert near.cli("queue", "release", held["id"]) == "1 message released\n"
    assert len(far.wait_for_messages(CAROL, 1)) == 1
    wait_until(lambda: queued(near) == [], "an empty queue")
    assert list((near.state / "queue" / "transcripts").iterdir()) == []
    near.wait_for_log(" held recipients=carol@far.test by=")


def test_a_bounced_message_comes_back_with_the_operators_words(near):
    submit(near, CAROL)
    near.wait_for_log("deferred recipient=carol@far.test")
    (waiting,) = queued(near)
    near.cli("queue", "hold", waiting["id"])
    wait_until(
        lambda: near.cli("queue", "bounce", waiting["id"], "--reason", "the wrong list") == "1 message bounced\n",
        "the bounce",
    )
    [report] = near.wait_for_messages(ALICE, 1)
    assert "stopped the delivery: the wrong list" in words(report)
    assert b"Action: failed" in report
    wait_until(lambda: queued(near) == [], "an empty queue")


def test_a_bounce_while_the_server_is_down_is_reported_at_its_start(near):
    submit(near, CAROL)
    near.wait_for_log("deferred recipient=carol@far.test")
    near.stop()
    assert near.cli("queue", "bounce", "--all", "--reason", "the wrong list") == "1 message bounced\n"
    near.start()
    [report] = near.wait_for_messages(ALICE, 1)
    assert "stopped the delivery: the wrong list" in words(report)


def test_a_rule_holds_one_login_and_not_the_other(near, far):
    far.start()
    submit(near, CAROL, sender=BOB)
    submit(near, CAROL, sender=ALICE)
    far.wait_for_messages(CAROL, 1)
    (held,) = queued(near)
    assert (held["sender"], held["recipients"][0]["held_by"]) == (BOB, "rule hold[0]")
    near.cli("queue", "release", "--state", "held")
    assert len(far.wait_for_messages(CAROL, 2)) == 2


def test_after_three_refusals_nobody_asks_again_until_it_is_taken_off_the_list(near, far):
    far.start()
    for count in range(1, 5):
        submit(near, NOBODY)
        near.wait_for_messages(ALICE, count)
    assert far.log.count("command=RCPT") == 3
    report = words(near.messages(ALICE)[3])
    assert "suppression list since" in report
    assert "mailserver suppression remove nobody@far.test" in report
    wait_until(lambda: near.cli("suppression", "list", "--json").strip() != "[]", "the list on disk")
    (entry,) = json.loads(near.cli("suppression", "list", "--json"))
    assert (entry["address"], entry["by"], entry["last_reply"][:9]) == (NOBODY, "refusals", "550 5.1.1")
    near.cli("suppression", "remove", NOBODY)
    near.cli("suppression", "remove", NOBODY, status=1)
    submit(near, NOBODY)
    near.wait_for_messages(ALICE, 5)
    assert far.log.count("command=RCPT") == 4
    near.cli("suppression", "add", CAROL, "--reason", "left the firm")
    submit(near, CAROL)
    assert "left the firm" in words(near.wait_for_messages(ALICE, 6)[5])
    assert far.messages(CAROL) == []


def test_a_transcript_has_the_whole_session_but_for_secrets(near, far):
    far.configure(
        {
            "hostname": "mx.far.test",
            "domains": ["far.test"],
            "postmaster": CAROL,
            "practice": {"accounts": [CAROL]},
            "storage": {"min_free": "1000000GB"},
        }
    )
    far.start()
    submit(near, CAROL)
    near.wait_for_log("deferred recipient=carol@far.test")
    (waiting,) = queued(near)
    wait_until(lambda: " < 452" in near.cli("queue", "show", waiting["id"], "--transcript", status=None), "the 452")
    text = near.cli("queue", "show", waiting["id"], "--transcript")
    for words in ("< 220 mx.far.test", "> EHLO mail.example.test", "> STARTTLS", "(TLSv1.3, ", "> MAIL FROM:<alice"):
        assert words in text
    assert "Hello." not in text


def test_an_account_over_its_cap_is_held_and_everybody_concerned_is_told(tmp_path):
    with Server(tmp_path, {"caps": {"messages": 1}}) as server:
        for number in range(3):
            submit(server, f"u{number}@far.test", BOB)
        server.wait_for_log('held recipients=u1@far.test by=cap reason="more than 1 messages within 24 hours"')
        for reader in (BOB, ALICE):
            (note,) = server.wait_for_messages(reader, 1)
            assert f"Subject: Mail from {BOB} to other servers is held" in note.decode()
        assert f"To: {BOB}, postmaster@example.test" in note.decode()
        held = [one["recipients"][0]["address"] for one in queued(server) if one["recipients"][0]["state"] == "held"]
        assert held == ["u1@far.test", "u2@far.test"]
        assert "2 messages released" in server.cli("queue", "release", "--sender", BOB)
        assert "held" in server.cli("why", "u1@far.test")
