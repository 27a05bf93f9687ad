"""Starts that cannot succeed: one clear text, exit status 1, no traceback, no port left open; with -n and without."""

import os
import re
import socket
import subprocess

import pytest
import trustme

from tests.integration.server import HOST, LIMIT_S, Server, takes_connections, wait_until


def refuse(server, *, in_background=False):
    """What a start says that does not succeed; checks all that is common to them."""
    command = server.command
    if in_background:
        command = [one for one in command if one not in ("-n", "--pidfile=")]
        command[1:1] = [f"--pidfile={server.folder}/twistd.pid", f"--logfile={server.folder}/twistd.log"]
    done = subprocess.run(command, cwd=server.folder, capture_output=True, text=True, timeout=LIMIT_S)
    told = done.stderr
    assert done.returncode == 1, told
    assert done.stdout == "", "nothing is shown before all is well"
    assert "Traceback" not in told
    assert told.strip(), "a refused start says why"
    assert all(line.startswith("mailserver: ") for line in told.splitlines()), told
    assert not [name for name, port in server.ports.items() if port in _open_by_us(server) and takes_connections(port)]
    assert not (server.folder / "twistd.pid").exists()
    return told


def _open_by_us(server):
    return set(server.ports.values()) - getattr(server, "taken", set())


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


@pytest.fixture(params=[False, True], ids=["foreground", "background"])
def in_background(request):
    return request.param


def test_a_taken_port_is_named_with_what_helps(server, in_background):
    with socket.socket() as other:
        other.bind((HOST, server.ports["pop3"]))
        other.listen()
        server.taken = {server.ports["pop3"]}
        told = refuse(server, in_background=in_background)
    port = server.ports["pop3"]
    assert f"port {port} is taken by another program; `ss -ltnp sport = :{port}` shows which" in told
    assert len(told.splitlines()) == 1
    assert not server.state.exists(), "nothing was made for a start that did not happen"


def test_an_address_of_another_machine_is_named(server, in_background):
    server.configure({"practice": None, "listen": {"smtp": [f"tcp:{server.ports['smtp']}:interface=203.0.113.77"]}})
    assert "this machine has no address 203.0.113.77" in refuse(server, in_background=in_background)


def test_a_missing_key_is_named(server, in_background):
    server.configure({"domains": None})
    told = refuse(server, in_background=in_background)
    assert "domains" in told
    assert str(server.config_path) in told


def test_all_configuration_errors_are_told_at_once(server, in_background):
    server.configure({"hostname": 3, "smtp": {"max_errors": "many", "nonsense": 1}})
    assert len(refuse(server, in_background=in_background).splitlines()) == 3


def test_a_configuration_that_does_not_exist(server, in_background):
    server.config_path.unlink()
    assert "there is no such file" in refuse(server, in_background=in_background)


def certificate(folder, *names):
    issued = trustme.CA().issue_cert(*names)
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return {"tls": {"certificate": str(folder / "chain.pem"), "private_key": str(folder / "key.pem")}}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "key.pem").unlink(), "the private key .*key.pem does not exist"),
        (lambda folder: (folder / "key.pem").write_text("hello"), "key.pem holds no private key"),
        (lambda folder: (folder / "chain.pem").write_text(""), "chain.pem holds no certificate chain"),
        (lambda folder: certificate(folder / "other", "x.example"), None),
        (lambda folder: os.replace(folder / "other" / "key.pem", folder / "key.pem"), "does not belong to the first"),
    ],
    ids=["missing", "no-key", "no-chain", "fine", "mismatch"],
)
def test_a_key_that_cannot_be_used_is_told(server, damage, words, in_background):
    folder = server.folder / "pem"
    (folder / "other").mkdir(parents=True)
    settings = certificate(folder, "mail.example.test")
    certificate(folder / "other", "x.example")
    server.configure(settings)
    damage(folder)
    if words is None:
        with server:
            assert not server.ca.exists(), "no certificate of our own is made beside the owner's"
    else:
        assert re.search(words, refuse(server, in_background=in_background))
        assert not server.state.exists()


def test_a_broken_accounts_file_is_told(server, in_background):
    (server.folder / "etc" / "accounts.toml").write_text("[accounts\n")
    assert "accounts.toml" in refuse(server, in_background=in_background)


def test_a_state_folder_that_cannot_be_made_is_told(server, in_background):
    server.state.write_text("a file")
    assert "storage.state" in refuse(server, in_background=in_background)


def test_practice_on_a_public_address_is_refused(server, in_background):
    server.configure({"practice": {"accounts": ["alice@example.test"]}, "listen": {"smtp": ["tcp:0"]}})
    assert "must listen on loopback only" in refuse(server, in_background=in_background)


def test_a_smarthost_password_that_is_missing_is_told(server, in_background):
    server.configure(
        {"relay": {"smarthost": "localhost:1", "smarthost_username": "u", "smarthost_password_file": "none"}}
    )
    assert "smarthost_password_file" in refuse(server, in_background=in_background)


def test_systemd_sockets_without_systemd_are_explained(server, in_background):
    server.configure({"practice": None, "listen": {"smtp": ["systemd:domain=INET6:index=0"]}})
    assert "systemd gave this process no socket" in refuse(server, in_background=in_background)


def test_a_second_server_on_the_same_state_folder_names_the_first(tmp_path, in_background):
    with Server(tmp_path) as first:
        second = Server(tmp_path)
        told = refuse(second, in_background=in_background)
        assert f"is in use by process {first.pid} (server)" in told
        # With the same ports it is the port that is refused first; the reason is told with it.
        second.ports = first.ports
        second.taken = set(first.ports.values())
        second.configure({})
        told = refuse(second, in_background=in_background)
        assert "is taken by another program" in told
        assert f"is in use by process {first.pid} (server): the server runs already" in told


def test_help_lists_the_server_and_explains_it(server):
    listed = subprocess.run([server.command[0], "--help"], capture_output=True, text=True, timeout=LIMIT_S).stdout
    assert "A whole mail server" in listed
    told = subprocess.run([server.command[0], "mailserver", "--help"], capture_output=True, text=True, timeout=LIMIT_S)
    assert told.returncode == 0
    assert "--config" in told.stdout
    assert "  twistd -n mailserver --config my.toml         with another configuration" in told.stdout
    assert "SIGHUP" in told.stdout


def test_an_unknown_option_is_refused_with_the_usage(server):
    done = subprocess.run([*server.command, "--cofnig", "x"], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1
    assert "--config" in done.stdout


def test_a_unix_socket_that_cannot_be_made_is_told(server, in_background):
    """Made only when the service starts, as the user it runs as; twistd is in the background by then."""
    (server.folder / "smtp.sock").mkdir()
    server.configure({"listen": {"smtp": [f"unix:{server.folder}/smtp.sock"]}})
    command = server.command
    if in_background:
        command = [one for one in command if one not in ("-n", "--pidfile=")]
        command[1:1] = [f"--pidfile={server.folder}/twistd.pid", f"--logfile={server.folder}/twistd.log"]
    done = subprocess.run(command, cwd=server.folder, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr
    wait_until(lambda: not any(takes_connections(port) for port in server.ports.values()), "the end of the process")


def test_a_folder_for_mail_that_cannot_be_made(server, in_background):
    server.maildirs.write_text("a file")
    assert "storage.maildirs" in refuse(server, in_background=in_background)
