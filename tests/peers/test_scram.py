"""SCRAM with the programs that speak it: GNU SASL's own client binds to the TLS channel, msmtp and mpop do not."""

import re
import shlex

import pytest

from tests.peers.ours import ANN, ANNS_PASSWORD, JOE, JOES_PASSWORD
from tests.peers.programs import need
from tests.peers.test_clients_send import MESSAGE, only_message, run


def msmtp(server, authority, user, password, mechanism="scram-sha-256"):
    tls = ["--tls=on", "--tls-starttls=on", f"--tls-trust-file={authority.pem}"]
    login = [f"--auth={mechanism}", f"--user={user}", f"--passwordeval=echo {shlex.quote(password)}"]
    where = ["--host=localhost", f"--port={server.ports['submission']}"]
    return [need("msmtp"), *where, *tls, *login, f"--from={JOE}", JOE]


def gsasl(server, authority, mechanism, *options, password=JOES_PASSWORD):
    who = ["-m", mechanism, "-a", JOE, "-p", password, f"--x509-ca-file={authority.pem}"]
    return [need("gsasl"), "--smtp", "--connect", f"localhost:{server.ports['submission']}", *who, *options]


def test_msmtp_submits(server, authority):
    run(msmtp(server, authority, JOE, JOES_PASSWORD), message=MESSAGE)
    assert only_message(server)
    server.wait_for_log("mechanism=SCRAM-SHA-256 ")


def test_msmtp_with_a_wrong_password_is_refused(server, authority):
    said = run(msmtp(server, authority, JOE, "wrong"), message=MESSAGE, expect=77)
    assert "535" in said
    assert server.messages(JOE) == []


def test_an_app_password_by_scram_and_plain_with_either_name(server, authority):
    said = server.cli("account", "app-password", "add", JOE, "phone")
    password = re.search("password: (.+)", said)[1]
    server.wait_for_log("reloaded what=accounts")
    device = JOE.replace("@", "+phone@")
    for user in (JOE, device):
        for mechanism in ("scram-sha-256", "plain"):
            run(msmtp(server, authority, user, password, mechanism), message=MESSAGE)
    assert server.log.count(f"login={JOE} ") >= 4
    server.wait_for_log("device=phone")
    run(msmtp(server, authority, device, JOES_PASSWORD), message=MESSAGE, expect=77)
    server.cli("account", "app-password", "revoke", JOE, "phone")
    server.wait_for_log("reloaded what=accounts", count=2)
    run(msmtp(server, authority, JOE, password), message=MESSAGE, expect=77)
    run(msmtp(server, authority, JOE, password, "plain"), message=MESSAGE, expect=77)


def test_mpop_fetches(server, authority, tmp_path):
    server.deliver("far@elsewhere.test", [ANN], b"Subject: hi\r\n\r\nhello\r\n")
    server.wait_for_messages(ANN, 1)
    tls = ["--tls=on", "--tls-starttls=off", f"--tls-trust-file={authority.pem}"]
    login = ["--auth=scram-sha-256", f"--user={ANN}", f"--passwordeval=echo {shlex.quote(ANNS_PASSWORD)}"]
    files = [f"--delivery=mbox,{tmp_path}/out", f"--uidls-file={tmp_path}/uidls", "--keep=on"]
    run([need("mpop"), "--host=localhost", f"--port={server.ports['pop3s']}", *tls, *login, *files])
    assert b"hello" in (tmp_path / "out").read_bytes()
    server.wait_for_log("mechanism=SCRAM-SHA-256 ")


def test_gsasl_binds_itself_to_the_channel(server, authority):
    """`tls-exporter` (RFC 9266)."""
    said = run(gsasl(server, authority, "SCRAM-SHA-256-PLUS"))
    assert "server trusted" in said
    server.wait_for_log("mechanism=SCRAM-SHA-256-PLUS")


@pytest.mark.parametrize("program", ["mutt", "neomutt"])
def test_who_cannot_bind_itself_and_would_choose_to_takes_scram_without(server, authority, tmp_path, program):
    """Built with GNU SASL both choose -PLUS when the list they believe has it, and give up."""
    settings = {
        "smtp_url": f"smtp://{JOE}@localhost:{server.ports['submission']}",
        "smtp_pass": JOES_PASSWORD,
        "ssl_starttls": "yes",
        "ssl_force_tls": "yes",
        "from": JOE,
        "certificate_file": authority.pem,
        "record": "''",
    }
    rc = tmp_path / "rc"
    rc.write_text("".join(f"set {key}={value}\n" for key, value in settings.items()))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    run([need(program), "-n", "-F", rc, "-s", "hi", JOE], message=b"a body\n", env=environment)
    assert only_message(server).endswith(b"\n\na body\n")
    server.wait_for_log("mechanism=SCRAM-SHA-256 ")


def test_gsasl_without_channel_binding(server, authority):
    assert "server trusted" in run(gsasl(server, authority, "SCRAM-SHA-256", "--no-cb"))


def test_gsasl_with_a_wrong_password_is_refused(server, authority):
    run(gsasl(server, authority, "SCRAM-SHA-256-PLUS", password="wrong"), expect=1)
    server.wait_for_log("login-refused")
