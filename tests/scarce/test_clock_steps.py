"""Somebody sets the clock while the server runs: deadlines, retries, expiry and slow logins stay sane."""

import smtplib
import socket
import time

import pytest

from tests.integration.server import ALICE, HOST, LIMIT_S, Server, wait_until
from tests.soak.next_hop import next_hop

DAY_S = 86_400
FORWARD_AND_BACK = pytest.mark.parametrize("seconds", [DAY_S, -10 * DAY_S])


def send(server, recipient=ALICE):
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
        client.sendmail("stranger@outside.example", [recipient], b"Subject: x\r\n\r\nhi\r\n")


@FORWARD_AND_BACK
def test_a_step_ends_no_session_and_mail_goes_on(tmp_path, steps, seconds):
    with Server(tmp_path, environment=steps.environment) as server:
        with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
            client.ehlo()
            steps.step(seconds)
            send(server)
            assert client.noop()[0] == 250, "the deadline of a command is five minutes of real time"
        server.wait_for_messages(ALICE, 1)
        assert "Traceback" not in server.log


@FORWARD_AND_BACK
def test_a_step_delays_no_retry_for_long_and_bounces_nothing(tmp_path, steps, seconds):
    with socket.create_server((HOST, 0)) as probe:
        closed = probe.getsockname()[1]
    relay = {"routes": {"far.test": f"{HOST}:{closed}"}, "retry": ["1s"], "expire_after": "5d"}
    settings = {"relay": relay, "smtp": {"trusted_networks": ["127.0.0.0/8"]}}
    with Server(tmp_path, settings, environment=steps.environment) as server:
        send(server, "x@far.test")
        server.wait_for_log("deferred")
        steps.step(seconds)
        seen = server.log.count("deferred")
        wait_until(lambda: server.log.count("deferred") > seen, "another attempt after the step", 8)
        # And over a restart, when only what was written down is known.
        server.restart()
        seen = server.log.count("deferred")
        wait_until(lambda: server.log.count("deferred") > seen, "another attempt after the restart", 8)
        assert server.log.count("deferred") < 40, "no attempt after attempt"
        with next_hop(closed) as sink:
            wait_until(lambda: len(sink.received) == 1, "the message at the next hop", 8)
        assert "bounced" not in server.log and "Traceback" not in server.log


@FORWARD_AND_BACK
def test_a_guesser_is_slowed_all_the_same(tmp_path, steps, seconds):
    settings = {"submission": {"auth_without_tls": "always"}, "auth": {"slow_after": 1}}
    with Server(tmp_path, settings, environment=steps.environment) as server:
        client = smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S)
        with client, pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(ALICE, "guess")
        steps.step(seconds)
        with smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S) as client:
            began = time.monotonic()
            client.login(ALICE, server.password(ALICE))
            assert 0.9 < time.monotonic() - began < 8, "a second of real time"
