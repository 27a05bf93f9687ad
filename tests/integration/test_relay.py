"""Two servers of ours: what one of them takes in submission, the other receives."""

import smtplib
import socket

import pytest

from tests.integration.server import ALICE, HOST, LIMIT_S, Server, wait_until

CAROL = "carol@far.test"


@pytest.fixture
def far(tmp_path):
    """The server of far.test."""
    (tmp_path / "far").mkdir()
    settings = {"hostname": "mx.far.test", "domains": ["far.test"], "postmaster": CAROL}
    with Server(tmp_path / "far", settings, accounts=[CAROL]) as server:
        yield server


@pytest.fixture
def near(tmp_path, far):
    """The server of example.test, which knows the way to far.test."""
    (tmp_path / "near").mkdir()
    routes = {"far.test": f"{HOST}:{far.ports['smtp']}"}
    with Server(tmp_path / "near", {"relay": {"routes": routes, "retry": ["1s"], "expire_after": "1h"}}) as server:
        yield server


def submit(server, *recipients):
    with smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S) as client:
        client.starttls(context=server.tls)
        client.login(ALICE, server.password(ALICE))
        client.sendmail(
            ALICE, recipients, b"From: alice@example.test\r\nSubject: over there\r\n\r\n.dot\r\nIt works.\r\n"
        )


def test_a_submitted_message_reaches_the_other_server_over_tls(near, far):
    submit(near, CAROL)
    [letter] = far.wait_for_messages(CAROL, 1)
    assert letter.endswith(b"\n\n.dot\nIt works.\n")
    assert b"ESMTPS" in letter, "opportunistic STARTTLS, though the certificate is self-signed (RFC 7435)"
    near.wait_for_log("delivered recipient=carol@far.test")
    wait_until(lambda: near.cli("queue", "list", "--json").strip() == "[]", "an empty queue")


def test_a_refused_recipient_comes_back_as_a_report(near, far):
    submit(near, "nobody@far.test")
    [report] = near.wait_for_messages(ALICE, 1)
    assert report.startswith(b"Return-Path: <>\n")
    assert b"Action: failed" in report
    assert b"550 5.1.1" in report


def test_what_cannot_be_delivered_now_waits_over_a_restart_and_is_delivered_then(near, far):
    far.kill()
    submit(near, CAROL)
    near.wait_for_log("deferred recipient=carol@far.test")
    near.kill()
    near.start()
    far.start()
    assert len(far.wait_for_messages(CAROL, 1)) == 1
    wait_until(lambda: near.cli("queue", "list", "--json").strip() == "[]", "an empty queue")


def test_a_host_that_says_nothing_is_given_up_in_the_configured_time(tmp_path):
    with socket.create_server((HOST, 0)) as mute:
        relay = {"routes": {"far.test": f"{HOST}:{mute.getsockname()[1]}"}, "retry": ["1h"], "command_timeout": "300ms"}
        with Server(tmp_path, {"relay": relay}) as server:
            submit(server, CAROL)
            server.wait_for_log("no progress within 0.3 s while waiting for an answer to the greeting")
