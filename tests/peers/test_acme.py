"""Certificates from a real authority: pebble, which looks at our names over HTTP and DNS as Let's Encrypt does."""

import poplib
import smtplib
import ssl
import stat
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509

from mailserver.store.certificates import summary
from tests.integration.server import ALICE, HOST, Server, wait_until
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
        import sys

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


def test_a_certificate_over_http_through_another_web_server(lab):
    pebble = lab.authority(refuses_nonces=50)
    webroot = lab.web_server()
    server = lab.server({**pebble.settings, "webroot": str(webroot), "contact": ALICE})
    server.wait_for_log("certificate-obtained")
    trusting = ssl.create_default_context(cadata=pebble.root())
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=20) as client:
        client._host = NAME
        client.starttls(context=trusting)
    pair = server.state / "acme" / "certificate.pem"
    assert stat.S_IMODE(pair.stat().st_mode) == 0o600
    assert not list((webroot / ".well-known" / "acme-challenge").iterdir())
    # It is there at the next start, and nobody is asked again.
    serial = shown(server).serial_number
    server.restart()
    assert shown(server).serial_number == serial
    assert server.log.count("certificate-obtained") == 1
