"""Programs people send mail with, as they would run them, each checking our certificate.

Every message must be in the mailbox when the program says it is sent: a 250 means on disk.
"""

import smtplib
import ssl
import subprocess

import pytest

from tests.peers.ours import JOE
from tests.peers.ours import JOES_PASSWORD as PASSWORD
from tests.peers.programs import need

# 8-bit text, dots where they hurt, and a line that is only a dot. LF line ends: `crlf` makes what goes over the wire.
MESSAGE = (
    "From: joe@example.test\nTo: joe@example.test\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\n"
    "Date: Mon, 02 Jun 2025 10:00:00 +0200\nMessage-ID: <1@client.example.test>\n"
    "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
    "\nGrüße aus Köln\n.\n..\n.dotted\n\nend\n"
).encode()
BODY = MESSAGE.partition(b"\n\n")[2]


def crlf(message: bytes) -> bytes:
    return message.replace(b"\n", b"\r\n")


def run(command, *, message=b"", expect=0, **arguments):
    """Run a client to its end; fails with all it said unless it ends with status `expect`."""
    done = subprocess.run(command, input=message, capture_output=True, timeout=60, **arguments)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == expect, f"{command} ended with {done.returncode}:\n{said[-4000:]}"
    return said


def only_message(server) -> bytes:
    """The one message in joe's mailbox, without waiting for it."""
    (message,) = server.messages(JOE)
    return message


# --- curl -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def message_file(tmp_path):
    path = tmp_path / "message.eml"
    path.write_bytes(crlf(MESSAGE))
    return path


def curl_send(message_file, *options):
    who = ["-u", f"{JOE}:{PASSWORD}", "--mail-from", JOE, "--mail-rcpt", JOE]
    return [need("curl"), "-sS", *options, *who, "-T", message_file]


def test_curl_submits_with_starttls(server, authority, message_file):
    url = f"smtp://localhost:{server.ports['submission']}"
    run(curl_send(message_file, "--cacert", authority.pem, "--ssl-reqd", "--url", url))
    assert only_message(server).endswith(b"\n\n" + BODY)


def test_curl_submits_with_implicit_tls(server, authority, message_file):
    run(curl_send(message_file, "--cacert", authority.pem, "--url", f"smtps://localhost:{server.ports['submissions']}"))
    assert only_message(server).endswith(b"\n\n" + BODY)


def test_curl_refuses_a_certificate_it_cannot_verify(server, message_file):
    """What makes the other tests worth something: without our authority the same line fails."""
    run(curl_send(message_file, "--url", f"smtps://localhost:{server.ports['submissions']}"), expect=60)
    assert server.messages(JOE) == []


def test_curl_with_a_wrong_password_is_refused(server, authority, message_file):
    command = curl_send(
        message_file, "--cacert", authority.pem, "--url", f"smtps://localhost:{server.ports['submissions']}"
    )
    command[command.index(f"{JOE}:{PASSWORD}")] = f"{JOE}:wrong"
    run(command, expect=67)
    assert server.messages(JOE) == []


# --- swaks ------------------------------------------------------------------------------------------------------------


def test_swaks_delivers_to_the_mx_with_pipelining(server):
    command = [
        need("swaks"),
        "-s",
        f"127.0.0.1:{server.ports['smtp']}",
        "-f",
        "ann@elsewhere.test",
        "-t",
        JOE,
        "--pipeline",
    ]
    run(command)
    message = only_message(server)
    assert message.startswith(b"Return-Path: <ann@elsewhere.test>\n")
    assert b"This is a test mailing" in message


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_swaks_submits(server, authority, mechanism, tls):
    where = {
        "starttls": ["-s", f"localhost:{server.ports['submission']}", "-tls"],
        "implicit": ["-s", f"localhost:{server.ports['submissions']}", "-tlsc"],
    }
    login = ["-a", mechanism, "-au", JOE, "-ap", PASSWORD]
    trust = ["--tls-verify", "--tls-ca-path", authority.pem]
    run([need("swaks"), *where[tls], *trust, *login, "-f", JOE, "-t", JOE])
    assert b"This is a test mailing" in only_message(server)


def test_swaks_may_not_relay_through_the_mx(server):
    """swaks ends with 24 when every recipient was refused."""
    command = [
        need("swaks"),
        "-s",
        f"127.0.0.1:{server.ports['smtp']}",
        "-f",
        "ann@elsewhere.test",
        "-t",
        "bob@remote.test",
    ]
    assert "550 5.7.1" in run(command, expect=24)


# --- msmtp ------------------------------------------------------------------------------------------------------------


def test_msmtp_submits(server, authority):
    tls = ["--tls=on", "--tls-starttls=on", f"--tls-trust-file={authority.pem}"]
    login = ["--auth=plain", f"--user={JOE}", f"--passwordeval=echo {PASSWORD}"]
    command = [
        need("msmtp"),
        "--host=localhost",
        f"--port={server.ports['submission']}",
        *tls,
        *login,
        f"--from={JOE}",
        JOE,
    ]
    run(command, message=MESSAGE)
    assert only_message(server).endswith(b"\n\n" + BODY)


def test_msmtp_as_sendmail_takes_the_recipients_from_the_header(server):
    run(
        [need("msmtp"), "-t", "--host=127.0.0.1", f"--port={server.ports['smtp']}", "--from=ann@elsewhere.test"],
        message=MESSAGE,
    )
    assert only_message(server).endswith(b"\n\n" + BODY)


# --- mail user agents -------------------------------------------------------------------------------------------------


def test_s_nail_submits(server, authority):
    mta = f"mta=smtp://joe%40example.test:{PASSWORD}@localhost:{server.ports['submission']}"
    settings = ["v15-compat=yes", mta, "smtp-use-starttls", "smtp-auth=plain", f"tls-ca-file={authority.pem}"]
    options = [word for setting in settings for word in ("-S", setting)]
    run([need("s-nail"), "-n", "-r", JOE, "-s", "hi", *options, JOE], message=b"a body of one line\n")
    message = only_message(server)
    assert b"\nSubject: hi\n" in message
    assert message.endswith(b"\n\na body of one line\n")


def test_neomutt_submits(server, authority, tmp_path):
    settings = (
        f"set smtp_url=smtp://{JOE}@localhost:{server.ports['submission']} smtp_pass={PASSWORD} ssl_starttls=yes "
        f"ssl_force_tls=yes from={JOE} certificate_file={authority.pem} record='' "
    )
    # It keeps a header cache and a history in the home folder.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    command = [need("neomutt"), "-n", "-F", "/dev/null", "-e", settings, "-s", "hi", JOE]
    run(command, message=b"a body of one line\n", env=environment)
    assert only_message(server).endswith(b"\n\na body of one line\n")


# --- Python -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_smtplib_submits(server, authority, tls):
    trusting = ssl.create_default_context(cafile=authority.pem)
    if tls == "implicit":
        client = smtplib.SMTP_SSL("localhost", server.ports["submissions"], timeout=20, context=trusting)
    else:
        client = smtplib.SMTP("localhost", server.ports["submission"], timeout=20)
        client.starttls(context=trusting)
    with client:
        client.login(JOE, PASSWORD)
        assert client.sendmail(JOE, [JOE], crlf(MESSAGE), mail_options=["BODY=8BITMIME"]) == {}
        assert only_message(server).endswith(b"\n\n" + BODY)
