"""`mailserver why` about a real server: in, fetched, relayed after a deferral, bounced, refused; up and down."""

import json
import poplib
import smtplib

import pytest

from tests.integration.server import ALICE, BOB, HOST, LIMIT_S, Server, wait_until

CAROL = "carol@far.test"
HEADER = (
    "From: tony@outside.example\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <{}@outside.example>\r\n\r\n"
)
SECRET = "content that is nobody's business"


@pytest.fixture
def near(tmp_path):
    (tmp_path / "near").mkdir()
    with Server(tmp_path / "near") as server:
        yield server


def receive(server, *recipients, sender="tony@outside.example", number=1):
    with smtplib.SMTP(HOST, server.ports["smtp"], "client.outside.example", timeout=LIMIT_S) as client:
        client.sendmail(sender, recipients, (HEADER.format(number) + SECRET + "\r\n").encode())


def submit(server, *recipients):
    with smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S) as client:
        client.starttls(context=server.tls)
        client.login(ALICE, server.password(ALICE))
        client.sendmail(ALICE, recipients, f"From: {ALICE}\r\nSubject: over there\r\n\r\n{SECRET}\r\n".encode())


def fetch_all(server, address, *, delete=False):
    client = poplib.POP3(HOST, server.ports["pop3"], timeout=LIMIT_S)
    client.user(address)
    client.pass_(server.password(address))
    for number in range(1, client.stat()[0] + 1):
        client.retr(number)
        if delete:
            client.dele(number)
    client.quit()


def asked(server, *words, status=0):
    return json.loads(server.cli("why", "--json", *words, status=status))


def words(message):
    return [event["what"] for event in message["events"]]


def test_a_message_that_came_in_was_fetched_and_deleted(near):
    receive(near, ALICE, BOB)
    fetch_all(near, ALICE)
    fetch_all(near, ALICE, delete=True)
    [message] = asked(near, ALICE)["messages"]
    assert words(message) == ["accepted", "filed", "fetched", "fetched", "erased"]
    assert (message["subject"], message["message_id"]) == ("grüße", "<1@outside.example>")
    assert [one["state"] for one in message["now"]] == ["erased"]
    for text in ("<1@outside.example>", "1@outside.example", "TONY@outside.example", message["queue_id"].lower()):
        [whole] = asked(near, text)["messages"]
        assert whole["queue_id"] == message["queue_id"]
        assert [(one["recipient"], one["state"]) for one in whole["now"]] == [(ALICE, "erased"), (BOB, "filed")]
    text = near.cli("why", BOB)
    assert "from client.outside.example [127.0.0.1:" in text
    assert f"now: {BOB}: in the mailbox, unread; not fetched by POP3 yet" in text
    assert "fetched by POP3 as" not in text, "what Alice did is not about Bob"


def test_what_waits_what_was_sent_and_what_came_back(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").mkdir()
    settings = {"hostname": "mx.far.test", "domains": ["far.test"], "postmaster": CAROL}
    far = Server(tmp_path / "far", settings, accounts=[CAROL])
    routes = {"far.test": f"{HOST}:{far.ports['smtp']}"}
    with Server(tmp_path / "near", {"relay": {"routes": routes, "retry": ["1h"], "expire_after": "5d"}}) as near:
        submit(near, CAROL)
        near.wait_for_log("deferred recipient=carol@far.test")
        [message] = asked(near, CAROL)["messages"]
        assert words(message) == ["accepted", "queued", "looked-up", "tried", "destination-down", "deferred"]
        [now] = message["now"]
        assert (now["recipient"], now["state"]) == (CAROL, "waiting")
        assert now["next"].startswith("it is tried again at ")
        assert now["class"] == "connection_refused"
        queue_id = message["queue_id"]
        with far:
            near.cli("queue", "retry", queue_id)
            far.wait_for_messages(CAROL, 1)
            wait_until(lambda: near.cli("queue", "list", "--json").strip() == "[]", "an empty queue")
            [message] = asked(near, queue_id)["messages"]
            assert words(message)[6:] == ["ordered", "looked-up", "talked", "destination-back", "delivered", "removed"]
            [now] = message["now"]
            assert now["state"] == "delivered" and 'it said "250' in now["text"]
            assert message["events"][8]["facts"]["tls"].startswith("TLSv1")

            submit(near, "nobody@far.test")
            near.wait_for_messages(ALICE, 1)
            [bounce] = asked(near, "nobody@far.test")["messages"]
            assert words(bounce)[-3:] == ["bounced", "report", "removed"]
            [now] = bounce["now"]
            report_id = bounce["events"][-2]["queue_id"]
            assert now["state"] == "bounced" and now["next"] == f"a report went to {ALICE}: {report_id}"
            wait_until(lambda: "removed" in words(asked(near, report_id)["messages"][0]), "the report is filed")
            [report] = asked(near, report_id)["messages"]
            assert words(report) == ["report", "queued", "filed", "removed"] or "filed" in words(report)
            assert [one["state"] for one in report["now"]] == ["filed"]


def test_who_was_refused_is_found_by_every_name(near):
    with smtplib.SMTP(HOST, near.ports["smtp"], "scanner.example", timeout=LIMIT_S) as client:
        client.ehlo()
        client.mail("tony@outside.example")
        client.rcpt("nobody@example.test")
        client.rcpt("victim@elsewhere.example")
        client.docmd("AUTH", "PLAIN")
    with smtplib.SMTP(HOST, near.ports["submission"], "scanner.example", timeout=LIMIT_S) as client:
        client.mail("eve@outside.example")
    for text, count in (
        ("tony@outside.example", 3),
        ("nobody@example.test", 1),
        ("victim@elsewhere.example", 1),
        ("eve@outside.example", 1),
    ):
        found = asked(near, text)
        assert (len(found["attempts"]), found["messages"]) == (count, []), text
    found = asked(near, "127.0.0.1")
    refused = [event for event in found["attempts"] if event["what"] == "refused"]
    assert [event["facts"]["command"] for event in refused] == ["MAIL", "AUTH", "RCPT", "RCPT"]
    assert "scanner.example [127.0.0.1:" in near.cli("why", "victim@elsewhere.example")


def test_nothing_found_is_told_with_what_was_searched(near):
    receive(near, ALICE)
    text = near.cli("why", "stranger@nowhere.example", status=1)
    assert text == ""
    assert asked(near, "stranger@nowhere.example", status=1)["messages"] == []
    assert asked(near, "0000000000000", status=1)["messages"] == []
    near.cli("why", status=2)
    near.cli("why", ALICE, "--since", "soon", status=2)


def test_it_works_beside_a_killed_and_a_stopped_server_and_without_a_journal(near):
    receive(near, ALICE)
    assert len(asked(near, ALICE)["messages"]) == 1
    near.kill()
    assert len(asked(near, ALICE)["messages"]) == 1
    near.start()
    receive(near, ALICE, number=2)
    near.stop()
    assert len(asked(near, ALICE)["messages"]) == 2
    assert len(asked(near, ALICE, "--since", "1d", "--limit", "1")["messages"]) == 1
    assert asked(near, ALICE, "--limit", "1")["has_more"]
    for path in near.state.glob("journal.sqlite3*"):
        path.unlink()
    assert asked(near, ALICE, status=1)["covers"]["from"] is None
    near.start()
    receive(near, ALICE, number=3)
    assert len(asked(near, ALICE)["messages"]) == 1


def test_no_password_and_no_content_is_in_the_state_folders_history(near):
    with smtplib.SMTP(HOST, near.ports["submission"], timeout=LIMIT_S) as client:
        client.starttls(context=near.tls)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("pa55word-in-the-wrong-field", "wrong-pa55word")
    submit(near, BOB)
    receive(near, ALICE)
    fetch_all(near, ALICE)
    near.cli("why", ALICE)
    near.stop()
    octets = b"".join(path.read_bytes() for path in near.state.glob("journal.sqlite3*"))
    assert "grüße".encode() in octets
    for secret in (SECRET, near.password(ALICE), "pa55word"):
        assert secret.encode() not in octets


def test_the_journal_can_be_switched_off(tmp_path):
    with Server(tmp_path, {"journal": {"enabled": False}}) as server:
        receive(server, ALICE)
        assert asked(server, ALICE, status=1)["messages"] == []
    assert not list(server.state.glob("journal*"))
