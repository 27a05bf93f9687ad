"""DANE with a real validating resolver: unbound, in front of zones that are signed, unsigned, or tampered with."""

import json
import re
import ssl
from email import message_from_bytes

import pytest
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.integration.server import wait_until
from tests.peers.running import HOST, free_port
from tests.peers.signed_zones import ZoneServer, make_zone, tamper
from tests.peers.test_relay import queue, submit, trusting

__all__ = ["submit", "trusting"]


class Inbox:
    """Takes everything; `got` has each recipient with whether TLS protected it."""

    def __init__(self):
        self.got = []

    async def handle_DATA(self, server, session, envelope):
        assert message_from_bytes(envelope.content)["From"]
        self.got += [(recipient, session.ssl is not None) for recipient in envelope.rcpt_tos]
        return "250 2.0.0 taken"


@pytest.fixture
def mail_host(stack, certificate):
    """The MX of every zone, with the certificate of the test authority; its port, and what it got."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.private_key)
    inbox = Inbox()
    controller = Controller(inbox, hostname=HOST, port=free_port(), tls_context=context, require_starttls=False)
    controller.start()
    stack.callback(controller.stop)
    return controller.port, inbox.got


def records(port, spki, *, has_tlsa=True):
    lines = "@ 60 IN MX 10 mx\nmx 60 IN A 127.0.0.1\n"
    return lines + (f"_{port}._tcp.mx 60 IN TLSA 3 1 1 {spki}\n" if has_tlsa else "")


@pytest.fixture
def world(mail_host, certificate, stack, start_dns, start_server):
    """Our server behind an unbound that knows six zones, all with the same mail host."""
    port, _ = mail_host
    digest = hashes.Hash(hashes.SHA256())
    public = x509.load_pem_x509_certificate(certificate.chain.read_bytes()).public_key()
    digest.update(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    spki = digest.finalize().hex()
    zones = (
        make_zone("right.test.", records(port, spki), is_signed=True),
        make_zone("wrong.test.", records(port, "00" * 32), is_signed=True),
        make_zone("none.test.", records(port, spki, has_tlsa=False), is_signed=True),
        make_zone("unsigned.test.", records(port, "00" * 32), is_signed=False),
        tamper(make_zone("bogus.test.", records(port, spki), is_signed=True), "mx.bogus.test.", "A", "127.0.0.2"),
        tamper(
            make_zone("bogus-tlsa.test.", records(port, "00" * 32), is_signed=True),
            f"_{port}._tcp.mx.bogus-tlsa.test.",
            "TLSA",
            f"3 1 1 {spki}",
        ),
    )
    authority = ZoneServer(*zones)
    stack.callback(authority.stop)
    dns = start_dns(zones=zones, zones_port=authority.port)
    relay = {"port": port, "allow_private": True, "retry": ["10m"], "mta_sts": "off"}
    return start_server({"relay": relay, "dns": {"servers": [f"{HOST}:{dns.port}"]}})


def test_what_dnssec_vouches_for_is_enforced_and_nothing_else(world, mail_host, submit):
    _, got = mail_host
    names = ("right", "wrong", "none", "unsigned", "bogus", "bogus-tlsa")
    submit(world, [f"bob@{name}.test" for name in names])
    wait_until(lambda: len(got) == 3 and len(re.findall(r" deferred recipient=", world.log)) == 3, "six outcomes")

    # The three got it, all over TLS, which proves a key only where DNSSEC vouches for it.
    assert sorted(got) == [(f"bob@{name}.test", True) for name in ("none", "right", "unsigned")]
    reasons = dict(re.findall(r" deferred recipient=bob@(\S+)\.test .*?reason=\"(.*?)\" next", world.log))
    assert reasons.keys() == {"wrong", "bogus", "bogus-tlsa"}
    assert "its certificate agrees with none of the TLSA records" in reasons["wrong"]
    assert "SERVFAIL" in reasons["bogus"]
    assert "whether DANE protects the host: SERVFAIL" in reasons["bogus-tlsa"]
    assert {one["address"] for one in queue(world)[0]["recipients"]} >= {f"bob@{name}.test" for name in reasons}

    # And the operator can see it.
    for name, protection in (("right", "dane"), ("unsigned", "opportunistic")):
        about = json.loads(world.cli("route", f"bob@{name}.test", "--json"))
        assert [one["protection"] for one in about["outside"][0]["protection"]] == [protection], about
