"""NOTIFY=SUCCESS against the real process: each recipient is reported once, when the copy is there (RFC 3461)."""

import re
import smtplib

from tests.integration.server import ALICE, BOB, HOST, Server, wait_until


def reported(server):
    """Who was told of to bob as delivered, report by report."""
    reports = [octets for octets in server.messages(BOB) if b"\nAction: delivered\n" in octets]
    return [re.findall(rb"^Final-Recipient: rfc822; (\S+)", octets, re.M) for octets in reports]


def test_success_is_reported_of_each_copy_when_it_is_filed_and_once(tmp_path):
    with Server(tmp_path, {"relay": {"retry": ["1s"]}}) as server:
        server.mailbox(ALICE).parent.mkdir(parents=True, exist_ok=True)
        server.mailbox(ALICE).write_text("something in the way")
        with smtplib.SMTP(HOST, server.ports["smtp"]) as client:
            options = ["NOTIFY=SUCCESS,FAILURE"]
            client.sendmail(BOB, [ALICE, BOB], b"Subject: x\r\n\r\nhi\r\n", rcpt_options=options)
        wait_until(lambda: reported(server) == [[BOB.encode()]], "the report about bob")
        server.wait_for_log("effect=deferred")
        server.mailbox(ALICE).unlink()
        wait_until(lambda: reported(server) == [[BOB.encode()], [ALICE.encode()]], "the report about alice")
        assert len(server.messages(ALICE)) == 1
        wait_until(lambda: not list((server.state / "queue" / "messages").iterdir()), "an empty queue")
        assert len(reported(server)) == 2
        assert "Traceback" not in server.log
