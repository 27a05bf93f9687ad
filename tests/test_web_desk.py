"""The web listeners as the configuration has them, with the pages of a running server behind."""

import resource

import pytest
import trustme

from mailserver.config import load_config
from mailserver.net.challenges import Challenges
from mailserver.net.listener_text import check_listener
from mailserver.net.listeners import BoundListener
from mailserver.net.tls import CertificateFiles, ServerTls, ensure_self_signed
from mailserver.web.request import WebRequest
from mailserver.web_desk import WebDesk
from tests.fakes.clock import FakeClock

TOP = """
hostname = "mail.example.org"
domains = ["example.org", "example.net"]
postmaster = "alice@example.org"
[listen]
http = ["tcp:80"]
https = ["haproxy:tcp:443"]
"""


class Runner:
    def __len__(self):
        return 7

    def oldest_age_s(self):
        return 90.0


class Reactor:
    def callLater(self, delay, call, *arguments):
        raise AssertionError("nothing connects")


def tls_for(folder, *names):
    issued = trustme.CA().issue_cert(*names)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    return ServerTls(CertificateFiles(folder / "cert.pem", folder / "key.pem"))


@pytest.fixture
def desk(tmp_path):
    """A function: the desk for these settings and names in the certificate."""

    def make(text="", names=("mail.example.org",)):
        path = tmp_path / "mailserver.toml"
        path.write_text(TOP + text)
        tls = tls_for(tmp_path, *names) if names else None
        if tls is None:
            tls = ServerTls(ensure_self_signed(tmp_path / "tls", "mail.example.org", FakeClock().now()))
        challenges = Challenges()
        challenges.put("token", "answer")
        config = load_config(path, check_listener)
        return WebDesk(
            config,
            Reactor(),
            FakeClock(),
            tls,
            [].append,
            listening=[bound("pop3s", "tcp:995"), bound("https", "tcp:443")],
            challenges=challenges,
            runner=Runner(),
            mail_guests=[("smtp", [1, 2])],
            run_short=lambda reason: None,
        )

    return make


def bound(service, text):
    return BoundListener(service, text, None)


def page(desk, path, host="localhost", *, is_tls=False):
    from mailserver.mail.peer import peer_from

    return desk._pages.answer(WebRequest("GET", host, path, peer_from("127.0.0.1", 1), is_tls))


STS = '[mta_sts]\nmode = "testing"\n'


def test_the_pages_are_those_of_the_configuration(desk):
    made = desk(STS + "[web]\nstatus = true\n")
    assert b"mx: mail.example.org" in page(made, "/.well-known/mta-sts.txt", "mta-sts.example.net", is_tls=True).body
    assert page(made, "/.well-known/acme-challenge/token").body == b"answer"
    assert b"<port>995</port>" in page(made, "/mail/config-v1.1.xml", "autoconfig.example.org").body
    status = page(made, "/metrics").body
    assert b"mailserver_queue_messages 7\n" in status
    assert b"mailserver_queue_oldest_seconds 90\n" in status
    assert b'mailserver_connections{service="smtp"} 2\n' in status
    assert page(desk(), "/status").code == 404


def test_only_https_has_tls_and_a_proxy_is_known(desk):
    made = desk()
    plain, secure = made.factory(bound("http", "tcp:80")), made.factory(bound("https", "haproxy:tcp:443"))
    assert plain._is_proxied is False
    assert secure.wrappedFactory._is_proxied is True
    assert secure.wrappedFactory._is_tls is True


@pytest.mark.parametrize(
    ("text", "names", "missing"),
    [
        (STS, ("mail.example.org",), "mta-sts.example.org, mta-sts.example.net"),
        (STS, ("mail.example.org", "mta-sts.example.org"), "mta-sts.example.net"),
        (STS, ("mail.example.org", "*.example.org", "*.example.net"), ""),
        (STS, (), ""),
        ("", ("mail.example.org",), ""),
    ],
)
def test_a_certificate_that_lacks_a_name_is_told(desk, text, names, missing):
    warnings = desk(text, names).warnings()
    assert [warning.partition(" for ")[2].partition(", so")[0] for warning in warnings] == (
        [missing] if missing else []
    )


@pytest.mark.parametrize(("descriptors", "places"), [(256, 16), (1024, 51), (1_000_000, 200)])
def test_few_descriptors_are_few_places(desk, monkeypatch, descriptors, places):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (descriptors, descriptors))
    assert desk().guests._limits._max_connections == places
