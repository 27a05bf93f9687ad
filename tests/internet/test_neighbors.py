"""The same internet with signed zones behind a real unbound, and real Postfix and chasquid as neighbors.

What `mailserver setup` printed is typed into a zone that is signed, so that DNSSEC vouches for it; Postfix lives in a
signed zone with a TLSA record, chasquid in one that is not signed.
"""

import json
import smtplib
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.query
import pytest
import tomlkit
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.integration.server import LIMIT_S
from tests.internet.houses import House, Internet
from tests.peers.certificates import Authority
from tests.peers.chasquid import Chasquid
from tests.peers.postfix import Postfix
from tests.peers.running import HOST, open_folder, wait_for_messages
from tests.peers.signed_zones import ZoneServer, make_zone
from tests.peers.unbound import Unbound

ORG = "example.org"
POSTFIX, CHASQUID = "127.0.0.3", "127.0.0.4"


@dataclass(frozen=True)
class Neighborhood:
    org: House
    postfix: Postfix
    chasquid: Chasquid
    unbound: Unbound


def zone_of(records):
    """What of the printed records stands in the owner's own zone, as its lines."""
    return "".join(f"{one['zone_line']}\n" for one in records if f".{one['name']}".endswith(f".{ORG}"))


def key_digest(chain):
    """What a TLSA record 3 1 1 holds."""
    public = x509.load_pem_x509_certificate(chain.read_bytes()).public_key()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


@pytest.fixture(scope="module")
def neighborhood():
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder())
        internet = stack.enter_context(Internet(folder / "internet"))
        org = internet.house(ORG, "alice", HOST)
        internet.publish()
        org.start()
        org.wait_for_log("certificate-obtained")
        # With its certificate one record more is known.
        org.records = org.setup()["records"]
        org.stop()
        port = org.ports["smtp"]
        certificate = Authority(folder).issue("mx.postfix.test", "mx.chasquid.test")
        (folder / "postfix").mkdir(mode=0o711)
        postfix = Postfix(
            folder / "postfix",
            domain="postfix.test",
            certificate=certificate,
            host=POSTFIX,
            port=port,
            settings={"mynetworks": "127.0.0.0/8", "relayhost": f"[{HOST}]:{port}", "smtp_bind_address": POSTFIX},
        )
        stack.callback(postfix.stop)
        postfix.start()
        chasquid = Chasquid(
            folder / "chasquid", domain="chasquid.test", certificate=certificate, host=CHASQUID, port=port
        )
        stack.callback(chasquid.stop)
        chasquid.start()

        host = "@ 60 IN MX 10 mx\nmx 60 IN A {}\n"
        tlsa = f"_{port}._tcp.mx 60 IN TLSA 3 1 1 {key_digest(certificate.chain)}\n"
        spf = f'@ 60 IN TXT "v=spf1 ip4:{POSTFIX} -all"\nmx 60 IN TXT "v=spf1 ip4:{POSTFIX} -all"\n'
        zones = (
            make_zone(f"{ORG}.", zone_of(org.records), is_signed=True),
            make_zone("postfix.test.", host.format(POSTFIX) + tlsa + spf, is_signed=True),
            make_zone("chasquid.test.", host.format(CHASQUID), is_signed=False),
        )
        authority = ZoneServer(*zones)
        stack.callback(authority.stop)
        unbound = Unbound(folder / "unbound", (), zones=zones, zones_port=authority.port)
        stack.callback(unbound.stop)
        unbound.start()
        document = tomlkit.parse(org.config_path.read_text())
        document["dns"]["servers"] = [f"{HOST}:{unbound.port}"]
        org.config_path.write_text(tomlkit.dumps(document))
        org.start()
        yield Neighborhood(org, postfix, chasquid, unbound)


def test_dnssec_vouches_for_what_setup_printed(neighborhood):
    query = dns.message.make_query(f"_25._tcp.mail.{ORG}", "TLSA", want_dnssec=True)
    answer = dns.query.udp(query, HOST, port=neighborhood.unbound.port, timeout=LIMIT_S)
    assert answer.flags & dns.flags.AD
    (printed,) = [one["value"] for one in neighborhood.org.records if one["type"] == "TLSA"]
    told = [str(rdata) for rrset in answer.answer for rdata in rrset if rrset.rdtype == dns.rdatatype.TLSA]
    assert told == [printed.lower()]
    chain = neighborhood.org.state / "acme" / "certificate.pem"
    assert printed.split()[-1].lower() == key_digest(chain), "the key that is served"


def test_mail_goes_to_postfix_by_dane_and_to_chasquid_as_well_as_it_can(neighborhood):
    org = neighborhood.org
    org.wait_for_log("dkim-key")
    for name, protection in (("postfix", "dane"), ("chasquid", "opportunistic")):
        peer = getattr(neighborhood, name)
        org.send(f"bob@{name}.test", f"to {name}")
        (content,) = wait_for_messages(peer.maildir("bob"), 1, lambda: org.log)
        assert f"Subject: to {name}".encode() in content
        assert content.count(b"DKIM-Signature:") == 2
        about = json.loads(org.cli("route", f"bob@{name}.test", "--json"))
        assert [one["protection"] for one in about["outside"][0]["protection"]] == [protection], about
    assert "clear-text" not in org.log


def test_mail_comes_from_postfix_and_is_believed(neighborhood):
    org = neighborhood.org
    with smtplib.SMTP(POSTFIX, neighborhood.postfix.port, timeout=LIMIT_S) as client:
        client.sendmail(
            "bob@postfix.test", [org.mail_address], b"From: bob@postfix.test\r\nSubject: from postfix\r\n\r\nhello\r\n"
        )
    content = org.received("from postfix")
    assert b"spf=pass" in content.partition(b"Authentication-Results:")[2].partition(b"\nReceived")[0]
    assert tomllib.loads(org.config_path.read_text())["authentication"]["check_loopback"]
