"""The foreign servers themselves, without ours: when these fail, look at the set-up and not at the server."""

import imaplib
import poplib
import smtplib
import ssl
import subprocess

import dns.resolver
import pytest

from tests.peers.programs import ProgramMissing, need, need_peer
from tests.peers.running import HOST, wait_for_messages


def test_a_missing_program_is_named_with_its_package():
    with pytest.raises(ProgramMissing, match=r"apt-get install .* no-such-client"):
        need("no-such-client")
    with pytest.raises(ProgramMissing, match="fetch_peers"):
        need_peer("usr/sbin/no-such-server")


def test_postfix_takes_mail_over_verified_tls_and_files_it(start_postfix, certificate):
    postfix = start_postfix(certificate=certificate)
    with smtplib.SMTP("localhost", postfix.port, timeout=10) as client:
        client.starttls(context=ssl.create_default_context(cafile=certificate.authority))
        client.sendmail("ann@example.org", ["bob@remote.test"], b"Subject: hi\r\n\r\nbody\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("ann@example.org", ["nobody@remote.test"], b"Subject: hi\r\n\r\nbody\r\n")
    (message,) = wait_for_messages(postfix.maildir("bob"), 1, postfix.read_log)
    assert message.endswith(b"\n\nbody\n")


def test_postfix_asks_dovecot_for_passwords(start_postfix, start_dovecot, folder, certificate, an_owned_maildir):
    maildirs, _ = an_owned_maildir
    start_dovecot(maildirs, sasl_socket=folder / "sasl")
    postfix = start_postfix(
        certificate=certificate,
        settings={
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(folder / "sasl"),
        },
    )
    trusting = ssl.create_default_context(cafile=certificate.authority)
    with smtplib.SMTP("localhost", postfix.port, timeout=10) as client:
        client.starttls(context=trusting)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("joe@example.test", "wrong")
        client.login("joe@example.test", "secret")


def test_chasquid_takes_mail_and_submissions(start_chasquid, certificate):
    chasquid = start_chasquid(users={"bob": "secret"})
    command = [need("swaks"), "-tls", "--tls-verify", "--tls-ca-path", str(certificate.authority)]
    command += ["-f", "bob@remote.test", "-t", "bob@remote.test"]
    login = ["-a", "PLAIN", "-au", "bob@remote.test", "-ap", "secret"]
    subprocess.run(
        [*command, *login, "-s", f"localhost:{chasquid.submission_port}"], check=True, capture_output=True, timeout=30
    )
    wait_for_messages(chasquid.maildir("bob"), 1, chasquid.read_log)
    command[command.index("-f") + 1] = "ann@example.org"
    subprocess.run([*command, "-s", f"localhost:{chasquid.port}"], check=True, capture_output=True, timeout=30)
    wait_for_messages(chasquid.maildir("bob"), 2, chasquid.read_log)


def test_dovecot_serves_a_maildir_by_pop3_and_imap(start_dovecot, an_owned_maildir):
    maildirs, maildir = an_owned_maildir
    (maildir / "new" / "1.M1P1Q1.host,S=15,W=18").write_bytes(b"a: b\n\n.dotted\n\n")
    dovecot = start_dovecot(maildirs)
    pop3 = poplib.POP3(HOST, dovecot.pop3_port, timeout=10)
    pop3.user("joe@example.test")
    pop3.pass_("secret")
    assert pop3.retr(1)[1] == [b"a: b", b"", b".dotted", b""]
    pop3.quit()
    imap = imaplib.IMAP4(HOST, dovecot.imap_port, timeout=10)
    imap.login("joe@example.test", "secret")
    assert imap.select() == ("OK", [b"1"])
    imap.logout()


def test_unbound_answers_what_it_was_told_and_nothing_else(start_dns):
    unbound = start_dns("remote.test. MX 10 mx.remote.test.", "mx.remote.test. A 127.0.0.1")
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [HOST], unbound.port
    assert [str(record) for record in resolver.resolve("remote.test", "MX")] == ["10 mx.remote.test."]
    with pytest.raises(dns.resolver.NoAnswer):
        resolver.resolve("remote.test", "A")
    with pytest.raises(dns.resolver.NXDOMAIN):
        resolver.resolve("elsewhere.test", "MX")
