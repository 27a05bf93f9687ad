"""Certificates from a real authority: pebble, which looks at our names over HTTP and DNS as Let's Encrypt does."""

import json
import poplib
import smtplib
import ssl
import stat
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mailserver.store.certificates import summary
from tests.integration.server import ALICE, HOST, MAILSERVER, Server
from tests.peers.certificates import Certificate
from tests.peers.pebble import FakeDns, Pebble
from tests.peers.running import free_port

NAME = "mail.example.test"
HERE = {"A": [HOST]}
ZONE = {NAME: HERE, "mta-sts.example.test": HERE, "elsewhere.example.test": {"A": ["127.0.0.2"]}}

HOOK = """\
#!{python}
import json, os, sys
what, name, value = sys.argv[1:]
with open({log!r}, "a") as log:
    print(what, name, value, file=log)
zone = json.load(open({zone!r}))
texts = zone.setdefault(name, {{}}).setdefault("TXT", [])
texts.append(value) if what == "add" else texts.remove(value)
if not texts:
    del zone[name]
with open({zone!r} + ".new", "w") as file:
    json.dump(zone, file)
os.rename({zone!r} + ".new", {zone!r})
"""


class Lab:
    """An authority, its name server, and what the two look at."""

    def __init__(self, folder: Path, stack, certificate: Certificate) -> None:
        self.folder = folder
        self._stack = stack
        self._certificate = certificate
        self.http_port = free_port()
        self.dns = FakeDns(folder / "dns", ZONE)
        stack.callback(self.dns.stop)
        self.dns.start()

    def authority(self, **about) -> Pebble:
        pebble = Pebble(
            self.folder / "pebble", self._certificate, http_port=self.http_port, dns=self.dns, **about
        )  # fmt: skip
        self._stack.callback(pebble.stop)
        return pebble.start()

    def web_server(self) -> Path:
        """Another program that has port 80, and its folder."""
        root = self.folder / "www"
        root.mkdir(mode=0o755)
        serving = ThreadingHTTPServer((HOST, self.http_port), partial(_Quiet, directory=str(root)))
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        self._stack.callback(serving.server_close)
        self._stack.callback(serving.shutdown)
        return root

    def hook(self) -> Path:
        """A command that changes the zone, and tells what it was asked."""
        path = self.folder / "hook"
        path.write_text(HOOK.format(python=sys.executable, log=str(self.hook_log), zone=str(self.dns.zone_file)))
        path.chmod(0o755)
        return path

    @property
    def hook_log(self) -> Path:
        return self.folder / "hook.log"

    def server(self, acme, **settings) -> Server:
        (self.folder / "server").mkdir(exist_ok=True)
        server = Server(self.folder / "server", {"acme": acme, **settings})
        self._stack.callback(server.kill)
        return server.start()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def lab(folder, stack, certificate):
    return Lab(folder, stack, certificate)


def shown(server, service="smtp") -> x509.Certificate:
    """The certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if service == "smtp":
        with smtplib.SMTP(HOST, server.ports["smtp"], timeout=20) as client:
            client.starttls(context=context)
            der = client.sock.getpeercert(binary_form=True)
    else:
        client = poplib.POP3_SSL(HOST, server.ports["pop3s"], timeout=20, context=context)
        der = client.sock.getpeercert(binary_form=True)
        client.quit()
    return x509.load_der_x509_certificate(der)


def test_a_certificate_over_our_own_web_listener(lab):
    pebble = lab.authority(refuses_nonces=50)
    listen = {"http": [f"tcp:{lab.http_port}:interface={HOST}"]}
    server = lab.server({**pebble.settings, "contact": ALICE}, listen=listen)
    try:
        # Half of all requests are sent twice, and some far more often.
        server.wait_for_log("certificate-obtained", limit_s=90)
    except AssertionError as late:
        raise AssertionError(f"{late}\nthe authority said:\n{pebble.read_log()}") from None
    trusting = ssl.create_default_context(cadata=pebble.root())
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=20) as client:
        client._host = NAME
        client.starttls(context=trusting)
    pair = server.state / "acme" / "certificate.pem"
    assert stat.S_IMODE(pair.stat().st_mode) == 0o600
    # It is there at the next start, and nobody is asked again.
    serial = shown(server).serial_number
    server.restart()
    assert shown(server).serial_number == serial
    assert server.log.count("certificate-obtained") == 1


def test_a_certificate_over_dns_and_a_renewal_under_open_sessions(lab):
    """Wildcard and host in one order; then another certificate for the same key, and nobody is disconnected."""
    names = [NAME, "*.example.test"]
    server = lab.server(
        {
            **lab.authority(refuses_nonces=30).settings,
            "challenge": "dns-01",
            "dns_hook": str(lab.hook()),
            "propagation_wait": "100ms",
            "names": names,
        }
    )
    server.wait_for_log("certificate-obtained")
    calls = [line.split() for line in lab.hook_log.read_text().splitlines()]
    assert [(what, name) for what, name, _ in calls] == [
        (what, f"_acme-challenge.{name}")
        for what in ("add", "remove")
        for name in (call[1].removeprefix("_acme-challenge.") for call in calls[:2])
    ]
    assert json.loads(lab.dns.zone_file.read_text()) == ZONE

    before = {service: shown(server, service) for service in ("smtp", "pop3s")}
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    smtp = smtplib.SMTP(HOST, server.ports["smtp"], timeout=20)
    smtp.starttls(context=context)
    smtp.ehlo()
    pop3 = poplib.POP3_SSL(HOST, server.ports["pop3s"], timeout=20, context=context)
    pop3.user(ALICE)
    pop3.pass_(server.password(ALICE))

    assert "it is not due before" in _refused(server, "certificate", "renew")
    server.cli("certificate", "renew", "--force")
    server.wait_for_log("certificate-renewed")

    for service, old in before.items():
        new = shown(server, service)
        assert new.serial_number != old.serial_number
        assert _key_of(new) == _key_of(old)
    # Those who were there are still there, each within the TLS it began with.
    smtp.sendmail("stranger@remote.test", [ALICE], "Subject: still here\r\n\r\nyes\r\n")
    smtp.quit()
    assert pop3.stat() == (0, 0)
    pop3.quit()
    assert len(server.wait_for_messages(ALICE, 1)) == 1

    about = json.loads(server.cli("certificate", "show", "--json"))
    assert about["source"] == "acme"
    assert sorted(about["names"]) == sorted(names)
    assert about["wrong"] == []
    assert about["spki_sha256"] == _key_of(before["smtp"])

    # Without the server the command line does the same by itself.
    server.stop()
    server.cli("certificate", "renew", "--force")
    assert json.loads(server.cli("certificate", "--json"))["serial"] != about["serial"]


def test_what_the_authority_says_is_told_and_the_server_serves_on(lab):
    """An account made elsewhere is wanted and there; a name that leads elsewhere is not ours."""
    key_file = lab.folder / "eab.key"
    key_file.write_text(EAB_KEY + "\n")
    webroot = lab.web_server()
    settings = {
        **lab.authority(account_keys={"kid-1": EAB_KEY}).settings,
        "webroot": str(webroot),
        "eab_key_id": "kid-1",
        "eab_key_file": str(key_file),
    }
    server = lab.server({**settings, "names": [NAME, "elsewhere.example.test"]})
    server.wait_for_log("certificate-failed")
    (line,) = (line for line in server.log.splitlines() if "certificate-failed" in line)
    assert "could not see that these names are ours: elsewhere.example.test: " in line
    assert "(connection)" in line
    assert "it must reach port 80 of elsewhere.example.test from the internet" in line
    assert "next_attempt=" in line
    assert shown(server).issuer == shown(server).subject
    told = _refused(server, "certificate", "renew")
    assert "elsewhere.example.test" in told and "port 80" in told
    assert not list((webroot / ".well-known" / "acme-challenge").iterdir())
    about = json.loads(server.cli("certificate", "--json", status=1))
    assert (about["source"], about["failures"]) == ("self-signed", 2)
    # The wrong name is taken out: what failed before says nothing about this order.
    server.configure({"acme": {**settings, "names": [NAME]}})
    server.restart()
    server.wait_for_log("certificate-obtained")


EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def _key_of(certificate: x509.Certificate) -> str:
    return summary(certificate.public_bytes(Encoding.PEM)).spki_sha256


def _refused(server, *words):
    """What the command says when it ends with status 1."""
    done = subprocess.run(
        [str(MAILSERVER), "--config", str(server.config_path), *words], capture_output=True, timeout=60
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr.decode()
