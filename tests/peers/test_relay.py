"""Mail between our server and others: to an MX found by DNS, through a smarthost with AUTH, and in from outside."""

import email
import email.policy
import json
import smtplib
import ssl

import pytest

from tests.integration.server import wait_until
from tests.peers.certificates import Authority
from tests.peers.ours import ANN, JOE, JOES_PASSWORD
from tests.peers.programs import need
from tests.peers.running import HOST, MAILBOX_OWNER, free_port, give_to, maildir_files, wait_for_messages
from tests.peers.test_clients_send import BODY, MESSAGE, crlf, run

MX_RECORDS = ("remote.test. MX 10 mx.remote.test.", "mx.remote.test. A 127.0.0.1")
BOB = "bob@remote.test"


@pytest.fixture
def trusting(authority):
    return ssl.create_default_context(cafile=authority.pem)


@pytest.fixture
def submit(trusting):
    """Submits as joe, over verified TLS."""

    def submit(server, recipients, message=MESSAGE, options=("BODY=8BITMIME",)):
        with smtplib.SMTP("localhost", server.ports["submission"], timeout=30) as client:
            client.starttls(context=trusting)
            client.login(JOE, JOES_PASSWORD)
            client.sendmail(JOE, recipients, crlf(message), mail_options=options)

    return submit


@pytest.fixture
def start_relaying(start_server, start_dns):
    """Starts our server so that it finds the MX of remote.test by DNS, on `port`, and tries again quickly."""

    def start(port, **relay):
        dns = start_dns(*MX_RECORDS)
        settings = {"port": port, "allow_private": True, "retry": ["500ms"], **relay}
        return start_server({"relay": settings, "dns": {"servers": [f"{HOST}:{dns.port}"]}})

    return start


def queue(server):
    """What `mailserver queue list --json` says."""
    return json.loads(server.cli("queue", "list", "--json"))


def wait_for_empty_queue(server):
    wait_until(lambda: queue(server) == [], f"an empty queue; log:\n{server.log}")


# --- to an MX ---------------------------------------------------------------------------------------------------------


def test_a_submission_reaches_chasquid_found_by_its_mx(start_chasquid, start_relaying, submit):
    chasquid = start_chasquid()
    server = start_relaying(chasquid.port)
    submit(server, [BOB])
    (message,) = wait_for_messages(chasquid.maildir("bob"), 1, lambda: server.log + chasquid.read_log())
    assert message.endswith(b"\n\n" + BODY)
    # chasquid writes how it got the message: opportunistic STARTTLS was used.
    assert b"with ESMTPS" in message
    wait_for_empty_queue(server)


def test_a_submission_reaches_postfix_found_by_its_mx(start_postfix, start_relaying, submit, certificate):
    postfix = start_postfix(certificate=certificate, settings={"smtpd_tls_loglevel": "1"})
    server = start_relaying(postfix.port)
    submit(server, [BOB])
    (message,) = wait_for_messages(postfix.maildir("bob"), 1, lambda: server.log + postfix.read_log())
    assert message.endswith(b"\n\n" + BODY)
    assert b"with ESMTPS" in message
    wait_for_empty_queue(server)


def test_several_recipients_share_one_transaction(start_postfix, start_relaying, submit):
    postfix = start_postfix(users=("bob", "eve", "dan"))
    server = start_relaying(postfix.port)
    submit(server, [BOB, "eve@remote.test", "dan@remote.test"])
    for user in ("bob", "eve", "dan"):
        wait_for_messages(postfix.maildir(user), 1, lambda: server.log + postfix.read_log())
    wait_for_empty_queue(server)
    assert postfix.read_log().count("nrcpt=3 (queue active)") == 1


def test_an_address_in_another_script_goes_out_with_smtputf8(start_chasquid, start_relaying, submit):
    chasquid = start_chasquid(users={"jürgen": "secret"})
    server = start_relaying(chasquid.port)
    submit(server, ["jürgen@remote.test"], options=("SMTPUTF8", "BODY=8BITMIME"))
    (message,) = wait_for_messages(chasquid.maildir("jürgen"), 1, lambda: server.log + chasquid.read_log())
    assert message.endswith(b"\n\n" + BODY)


def test_a_large_message_arrives_unchanged(start_postfix, start_relaying, submit):
    postfix = start_postfix()
    server = start_relaying(postfix.port)
    line = b".x" + b"y" * 900 + b"\n"
    body = line * (10_000_000 // len(line))
    submit(server, [BOB], b"From: joe@example.test\nSubject: large\n\n" + body)
    (message,) = wait_for_messages(postfix.maildir("bob"), 1, lambda: server.log + postfix.read_log())
    assert message.partition(b"\n\n")[2] == body


def test_mail_waits_until_the_other_side_is_there(start_postfix, start_relaying, submit, folder):
    """The MX does not listen at first, then it goes away between two messages."""
    postfix = start_postfix()
    postfix.stop()
    server = start_relaying(postfix.port)
    submit(server, [BOB])
    wait_until(lambda: queue(server)[0]["recipients"][0]["attempts"] >= 2, f"two attempts; log:\n{server.log}")
    assert maildir_files(postfix.maildir("bob")) == []
    postfix.start()
    wait_for_messages(postfix.maildir("bob"), 1, lambda: server.log + postfix.read_log())
    wait_for_empty_queue(server)
    postfix.stop()
    submit(server, [BOB])
    server.restart()
    postfix.start()
    wait_for_messages(postfix.maildir("bob"), 2, lambda: server.log + postfix.read_log())
    wait_for_empty_queue(server)
    assert len(maildir_files(postfix.maildir("bob"))) == 2
    assert server.messages(JOE) == []


def test_a_recipient_that_postfix_refuses_is_bounced_and_the_other_is_served(start_postfix, start_relaying, submit):
    postfix = start_postfix()
    server = start_relaying(postfix.port)
    submit(server, [BOB, "nobody@remote.test"])
    wait_for_messages(postfix.maildir("bob"), 1, lambda: server.log + postfix.read_log())
    (bounce,) = server.wait_for_messages(JOE, 1)
    wait_for_empty_queue(server)
    assert len(maildir_files(postfix.maildir("bob"))) == 1
    report = email.message_from_bytes(bounce, policy=email.policy.default)
    assert report.get_content_type() == "multipart/report"
    assert report["Return-Path"] == "<>"
    assert report["Auto-Submitted"].startswith("auto-")
    text, status, _ = report.iter_parts()
    assert "nobody@remote.test" in text.get_content()
    of_message, of_recipient = status.get_payload()
    assert of_message["Reporting-MTA"] == "dns; mail.example.test"
    assert of_recipient["Final-Recipient"] == "rfc822; nobody@remote.test"
    assert of_recipient["Action"] == "failed"
    assert of_recipient["Status"] == "5.1.1"
    assert "User unknown" in of_recipient["Diagnostic-Code"]
    assert BOB not in status.as_string()


def test_a_domain_that_does_not_exist_is_bounced(start_relaying, submit):
    server = start_relaying(free_port())
    submit(server, ["bob@elsewhere.test"])
    (bounce,) = server.wait_for_messages(JOE, 1)
    assert b"bob@elsewhere.test" in bounce


# --- through a smarthost ----------------------------------------------------------------------------------------------


def smarthost_settings(folder, port, ca_file, *, user=BOB, password="secret", host="localhost"):
    secret = folder / "smarthost-password"
    secret.write_text(password + "\n")
    secret.chmod(0o600)
    return {
        "smarthost": f"{host}:{port}",
        "smarthost_tls": "starttls",
        "smarthost_ca_file": str(ca_file),
        "smarthost_username": user,
        "smarthost_password_file": str(secret),
        "retry": ["500ms"],
        "allow_private": True,
    }


def test_chasquid_as_smarthost_is_verified_and_gets_a_login(start_chasquid, start_server, submit, authority, folder):
    chasquid = start_chasquid(users={"bob": "secret"})
    relay = smarthost_settings(folder, chasquid.submission_port, authority.pem)
    server = start_server({"relay": relay})
    submit(server, [BOB])
    (message,) = wait_for_messages(chasquid.maildir("bob"), 1, lambda: server.log + chasquid.read_log())
    assert message.endswith(b"\n\n" + BODY)
    wait_for_empty_queue(server)


def start_postfix_smarthost(start_postfix, start_dovecot, folder, certificate):
    """A Postfix that takes mail only from those who log in, over TLS."""
    maildirs = folder / "no-mail-here"
    maildirs.mkdir()
    give_to(maildirs, MAILBOX_OWNER)
    start_dovecot(maildirs, password="pass-word", sasl_socket=folder / "sasl")
    settings = {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": str(folder / "sasl"),
        "smtpd_tls_auth_only": "yes",
        "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
    }
    return start_postfix(certificate=certificate, settings=settings)


def test_postfix_as_smarthost_is_verified_and_gets_a_login(
    start_postfix, start_dovecot, start_server, submit, authority, certificate, folder
):
    postfix = start_postfix_smarthost(start_postfix, start_dovecot, folder, certificate)
    relay = smarthost_settings(folder, postfix.port, authority.pem, user="office", password="pass-word")
    server = start_server({"relay": relay})
    submit(server, [BOB])
    (message,) = wait_for_messages(postfix.maildir("bob"), 1, lambda: server.log + postfix.read_log())
    assert message.endswith(b"\n\n" + BODY)
    assert "sasl_username=office" in postfix.read_log()
    wait_for_empty_queue(server)


def test_a_wrong_password_at_the_smarthost_keeps_the_mail(
    start_postfix, start_dovecot, start_server, submit, authority, certificate, folder
):
    """An administrator's mistake is not the sender's fault: nothing bounces, and mail goes out once it is mended."""
    postfix = start_postfix_smarthost(start_postfix, start_dovecot, folder, certificate)
    relay = smarthost_settings(folder, postfix.port, authority.pem, user="office", password="wrong")
    server = start_server({"relay": relay})
    submit(server, [BOB])
    wait_until(lambda: queue(server)[0]["recipients"][0]["attempts"] >= 1, f"an attempt; log:\n{server.log}")
    assert "535" in queue(server)[0]["recipients"][0]["last_reply"]
    assert server.messages(JOE) == []
    (folder / "smarthost-password").write_text("pass-word\n")
    server.restart()
    wait_for_messages(postfix.maildir("bob"), 1, lambda: server.log + postfix.read_log())


@pytest.mark.parametrize("fault", ["unknown authority", "other name"])
def test_a_smarthost_that_cannot_be_verified_gets_neither_password_nor_mail(
    start_chasquid, start_server, submit, authority, folder, tmp_path, fault
):
    names = ("localhost", "127.0.0.1") if fault == "unknown authority" else ("elsewhere.test",)
    chasquid = start_chasquid(certificate=authority.issue(*names))
    trusted = Authority(tmp_path) if fault == "unknown authority" else authority
    server = start_server({"relay": smarthost_settings(folder, chasquid.submission_port, trusted.pem)})
    submit(server, [BOB])
    wait_until(lambda: queue(server)[0]["recipients"][0]["attempts"] >= 1, f"an attempt; log:\n{server.log}")
    assert maildir_files(chasquid.maildir("bob")) == []
    assert server.messages(JOE) == []
    assert "auth" not in chasquid.read_log().partition("Server listening")[2].lower()


# --- from outside -----------------------------------------------------------------------------------------------------


@pytest.fixture
def sending_postfix(start_postfix, authority):
    """Starts a Postfix that hands everything to our server, whose certificate it checks."""

    def start(server, settings=()):
        trust = {"smtp_tls_security_level": "secure", "smtp_tls_CAfile": str(authority.pem)}
        names = {"smtp_tls_secure_cert_match": "localhost"}
        relay = {"mynetworks": "127.0.0.0/8", "relayhost": f"[{HOST}]:{server.ports['smtp']}"}
        return start_postfix(settings={**trust, **names, **relay, **dict(settings)})

    return start


def test_postfix_delivers_to_us_over_verified_tls(server, sending_postfix):
    postfix = sending_postfix(server)
    with smtplib.SMTP(HOST, postfix.port, timeout=30) as client:
        client.sendmail("ann@elsewhere.test", [JOE, ANN], crlf(MESSAGE), mail_options=["BODY=8BITMIME"])
    for address in (JOE, ANN):
        (message,) = server.wait_for_messages(address, 1)
        assert message.endswith(b"\n\n" + BODY)
        assert message.startswith(b"Return-Path: <ann@elsewhere.test>\n")


def test_postfix_is_told_of_an_unknown_user_and_its_bounce_comes_back_to_us(server, sending_postfix):
    postfix = sending_postfix(server)
    with smtplib.SMTP(HOST, postfix.port, timeout=30) as client:
        client.sendmail(JOE, [ANN, "nobody@example.test"], crlf(MESSAGE))
    (bounce,) = server.wait_for_messages(JOE, 1)
    assert len(server.wait_for_messages(ANN, 1)) == 1
    assert bounce.startswith(b"Return-Path: <>\n")
    assert b"550 5.1.1" in bounce
    assert b"nobody@example.test" in bounce


def test_many_messages_through_postfix_arrive_once_each(start_server, sending_postfix):
    """Postfix opens twenty connections to a busy place, and keeps more in its cache for further messages."""
    server = start_server({"smtp": {"max_connections_per_client": 50}})
    postfix = sending_postfix(server, {"smtp_connection_cache_destinations": f"[{HOST}]:{server.ports['smtp']}"})
    command = [need("swaks"), "-s", f"{HOST}:{postfix.port}", "-f", "ann@elsewhere.test", "-t", JOE]
    with smtplib.SMTP(HOST, postfix.port, timeout=30) as client:
        for number in range(100):
            message = b"From: ann@elsewhere.test\r\nSubject: %d\r\n\r\nbody\r\n" % number
            client.sendmail("ann@elsewhere.test", [JOE], message)
    run(command)
    messages = server.wait_for_messages(JOE, 101)
    subjects = [message.partition(b"\nSubject: ")[2].partition(b"\n")[0] for message in messages]
    assert sorted(subject for subject in subjects if subject.isdigit()) == sorted(b"%d" % n for n in range(100))


def test_our_reply_to_a_message_that_is_too_large_makes_postfix_bounce_it(start_server, sending_postfix):
    server = start_server({"smtp": {"max_message_size": "100kB"}})
    postfix = sending_postfix(server)
    with smtplib.SMTP(HOST, postfix.port, timeout=30) as client:
        client.sendmail(JOE, [ANN], b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" * 100_000)
    (bounce,) = server.wait_for_messages(JOE, 1)
    assert bounce.startswith(b"Return-Path: <>\n")
    assert b"size" in bounce
    assert server.messages(ANN) == []
