"""Programs people fetch mail with, as they would run them, each checking our certificate.

The mailbox holds three messages that came in by SMTP; each program must hand over exactly their octets. The password
has spaces in it, as people's passwords have.
"""

import os
import poplib
import shlex
import ssl

import pytest

from tests.peers.ours import ANN
from tests.peers.ours import ANNS_PASSWORD as PASSWORD
from tests.peers.programs import need
from tests.peers.running import give_to
from tests.peers.test_clients_send import MESSAGE, crlf, run

EMPTY_BODY = b"From: joe@example.test\nSubject: empty\n\n"
LONG_LINE = b"From: joe@example.test\nSubject: long\n\n" + b"x" * 5_000 + b"\n"
SENT = [MESSAGE, EMPTY_BODY, LONG_LINE]


@pytest.fixture
def mailbox(server):
    """The server, once ann has three messages."""
    for message in SENT:
        server.deliver("joe@elsewhere.test", [ANN], crlf(message))
    return server


def bodies(messages):
    """What comes behind each message's header section."""
    return [message.replace(b"\r\n", b"\n").partition(b"\n\n")[2] for message in messages]


def assert_same(got, expected):
    """Equal, with a short text when not: pytest would print every octet."""
    assert len(got) == len(expected)
    for number, (one, other) in enumerate(zip(got, expected, strict=True)):
        assert one == other, f"message {number} of {len(one)} octets should have {len(other)}"


def of_mbox(path):
    """The messages of an mbox file, unquoted, without the empty line that ends each."""
    text = b"\n" + path.read_bytes().removesuffix(b"\n")
    return [part.partition(b"\n")[2].replace(b"\n>From ", b"\nFrom ") for part in text.split(b"\nFrom ")[1:]]


# --- curl -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def curl(mailbox, authority):
    """Runs curl on a path of ann's mailbox, with further options."""

    def curl(path, *options, expect=0):
        login = ["-u", f"{ANN}:{PASSWORD}"]
        url = f"pop3s://localhost:{mailbox.ports['pop3s']}/{path}"
        return run([need("curl"), "-sS", "--cacert", authority.pem, *login, *options, url], expect=expect)

    return curl


@pytest.mark.parametrize("options", [(), ("--login-options", "AUTH=PLAIN"), ("--login-options", "AUTH=LOGIN")])
def test_curl_lists_and_retrieves(curl, mailbox, options):
    files = mailbox.messages(ANN)
    listed = curl("", *options).splitlines()
    assert listed == [f"{number} {len(crlf(content))}" for number, content in enumerate(files, 1)]
    for number, content in enumerate(files, 1):
        assert curl(str(number), *options).encode() == crlf(content)


def test_curl_upgrades_with_stls(mailbox, authority):
    url = f"pop3://localhost:{mailbox.ports['pop3']}/"
    command = [need("curl"), "-sS", "--cacert", authority.pem, "--ssl-reqd", "-u", f"{ANN}:{PASSWORD}", url]
    assert len(run(command).splitlines()) == len(SENT)


def test_curl_deletes(curl, mailbox):
    curl("2", "-X", "DELE", "-I")
    assert bodies(mailbox.messages(ANN)) == bodies([MESSAGE, LONG_LINE])


def test_curl_with_a_wrong_password_is_refused(mailbox, authority):
    command = [need("curl"), "-sS", "--cacert", authority.pem, "-u", f"{ANN}:wrong"]
    run([*command, f"pop3s://localhost:{mailbox.ports['pop3s']}/"], expect=67)


# --- programs that fetch into an mbox ---------------------------------------------------------------------------------


def test_s_nail_reads(mailbox, authority, tmp_path):
    out = tmp_path / "out.mbox"
    commands = ["-Y", f"copy 1-3 {out}", "-Y", "q"]
    url = f"pop3s://ann%40example.test:{PASSWORD.replace(' ', '%20')}@localhost:{mailbox.ports['pop3s']}"
    settings = ["-S", "v15-compat=yes", "-S", f"tls-ca-file={authority.pem}"]
    run([need("s-nail"), "-n", "-#", *settings, *commands, "-f", url])
    assert_same(bodies(of_mbox(out)), bodies(SENT))


def fetchmail_rc(tmp_path, mailbox, authority, user_options, server_options=""):
    rc = tmp_path / "fetchmailrc"
    out = tmp_path / "out.mbox"
    rc.write_text(
        f"poll localhost service {mailbox.ports['pop3s']} proto POP3 {server_options} "
        f'user "{ANN}" password "{PASSWORD}" ssl sslcertfile "{authority.pem}" sslcertck '
        f'mda "cat >>{out}; echo >>{out}" {user_options}'
    )
    rc.chmod(0o600)
    return rc


def fetchmail(tmp_path, rc, expect=0):
    """Ends with 1 when there was no new mail."""
    files = ["--pidfile", tmp_path / "pid", "--idfile", tmp_path / "ids"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C"}
    return run([need("fetchmail"), "-f", rc, "--nodetach", "--nosyslog", *files], expect=expect, env=environment)


def test_fetchmail_takes_everything_and_leaves_nothing(mailbox, authority, tmp_path):
    rc = fetchmail_rc(tmp_path, mailbox, authority, "no keep fetchall")
    fetchmail(tmp_path, rc)
    taken = (tmp_path / "out.mbox").read_bytes()
    for body in bodies(SENT):
        assert body in taken
    assert mailbox.messages(ANN) == []
    fetchmail(tmp_path, rc, expect=1)


def test_fetchmail_that_keeps_mail_knows_it_again_by_its_uidl(mailbox, authority, tmp_path):
    rc = fetchmail_rc(tmp_path, mailbox, authority, "keep", "uidl")
    fetchmail(tmp_path, rc)
    assert len(mailbox.messages(ANN)) == len(SENT)
    fetchmail(tmp_path, rc, expect=1)
    mailbox.deliver("joe@elsewhere.test", [ANN], crlf(MESSAGE))
    assert "4 messages (3 seen)" in fetchmail(tmp_path, rc)
    assert (tmp_path / "out.mbox").read_bytes().count(b"Subject:") == len(SENT) + 1


def test_getmail_fetches(mailbox, authority, folder):
    """It refuses to deliver as root, so another user runs it."""
    home = folder / "getmail"
    home.mkdir()
    (home / "mbox").touch()
    (home / "ca.pem").write_bytes(authority.pem.read_bytes())
    (home / "getmailrc").write_text(
        f"[retriever]\ntype=SimplePOP3SSLRetriever\nserver=localhost\nport={mailbox.ports['pop3s']}\nusername={ANN}\n"
        f"password={PASSWORD}\nca_certs={home}/ca.pem\n"
        f"[destination]\ntype=Mboxrd\npath={home}/mbox\n[options]\ndelete=true\n"
    )
    command = [need("getmail"), "--getmaildir", home, "--rcfile", "getmailrc"]
    if os.geteuid() == 0:
        give_to(home, "nobody")
        command = [need("setpriv"), "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
    run(command)
    assert_same(bodies(of_mbox(home / "mbox")), bodies(SENT))
    assert mailbox.messages(ANN) == []


def mpop(mailbox, authority, *options):
    tls = ["--tls=on", "--tls-starttls=off", f"--tls-trust-file={authority.pem}"]
    login = ["--auth=user", f"--user={ANN}", f"--passwordeval=echo {shlex.quote(PASSWORD)}"]
    return [need("mpop"), "--host=localhost", f"--port={mailbox.ports['pop3s']}", *tls, *login, *options]


def test_mpop_fetches_once(mailbox, authority, tmp_path):
    out = tmp_path / "out.mbox"
    command = mpop(
        mailbox,
        authority,
        "--keep=on",
        f"--delivery=mbox,{out}",
        f"--uidls-file={tmp_path}/uidls",
        "--received-header=off",
    )
    run(command)
    run(command)
    assert_same(bodies(of_mbox(out)), bodies(SENT))
    assert [crlf(message) for message in of_mbox(out)] == [crlf(message) for message in mailbox.messages(ANN)]


def test_mpop_with_sasl_deletes(mailbox, authority, tmp_path):
    command = mpop(
        mailbox, authority, "--keep=off", f"--delivery=mbox,{tmp_path}/out", f"--uidls-file={tmp_path}/uidls"
    )
    command[command.index("--auth=user")] = "--auth=plain"
    run(command)
    assert mailbox.messages(ANN) == []


def test_mpop_understands_our_capabilities(server):
    said = run([need("mpop"), "--serverinfo", "--host=localhost", f"--port={server.ports['pop3']}"])
    for capability in ("CAPA", "PIPELINING", "TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "STLS"):
        assert capability in said, said


# --- Python -----------------------------------------------------------------------------------------------------------


def test_poplib_reads_exact_sizes_tops_and_the_same_uidls_again(mailbox, authority, monkeypatch):
    monkeypatch.setattr(poplib, "_MAXLINE", 10_000)  # it refuses longer lines than 2,048 octets by itself
    trusting = ssl.create_default_context(cafile=authority.pem)

    def login():
        client = poplib.POP3_SSL("localhost", mailbox.ports["pop3s"], timeout=20, context=trusting)
        client.user(ANN)
        client.pass_(PASSWORD)
        return client

    client = login()
    files = [crlf(message) for message in mailbox.messages(ANN)]
    assert client.stat() == (len(files), sum(len(content) for content in files))
    uidls = client.uidl()[1]
    for number, content in enumerate(files, 1):
        _, lines, octets = client.retr(number)
        assert b"".join(line + b"\r\n" for line in lines) == content
        assert client.list(number) == f"+OK {number} {len(content)}".encode()
        assert client.top(number, 0)[1] == [*content.partition(b"\r\n\r\n")[0].split(b"\r\n"), b""]
        assert client.top(number, 99_999_999)[1] == lines
        assert octets >= len(content)
    assert "UIDL" in client.capa()
    client.quit()
    again = login()
    assert again.uidl()[1] == uidls
    again.dele(1)
    again.quit()
    assert len(mailbox.messages(ANN)) == len(files) - 1
