"""Which request gets which page: hosts, paths, methods, and what strangers must not see."""

import xml.etree.ElementTree as ElementTree

import pytest

from mailserver.mail.peer import Peer, peer_from
from mailserver.web.autoconfig import asked_address, read_address, settings_of
from mailserver.web.pages import Pages
from mailserver.web.request import WebRequest, host_of
from mailserver.web.status import Status, in_words

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmax_age: 604800\r\n"
ALL = [("smtp", 25), ("submission", 587), ("submissions", 465), ("pop3", 110), ("pop3s", 995), ("https", 443)]
STRANGER, HERE = peer_from("192.0.2.7", 4711), peer_from("127.0.0.1", 4711)
STATUS = Status("mail.example.org", 93784.0, 3, 720.0, (("smtp", 4), ("pop3", 1)), ("mail.example.org",), 86400.0 * 60)


def pages(**changes):
    settings = {
        "settings": settings_of("mail.example.org", ALL),
        "challenge": {"a-Token_1": "a-Token_1.thumb"}.get,
        "policy": POLICY,
        "status": lambda: STATUS,
    }
    return Pages("mail.example.org", ["example.org", "example.net"], **(settings | changes))


def ask(path, host="mail.example.org", *, method="GET", peer=STRANGER, is_tls=True, address="", body=b"", **changes):
    return pages(**changes).answer(WebRequest(method, host, path, peer, is_tls, address, body))


# --- the policy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["mta-sts.example.org", "mta-sts.example.net"])
def test_the_policy_is_shown_for_each_of_our_domains(host):
    answer = ask("/.well-known/mta-sts.txt", host)
    assert (answer.code, answer.kind, answer.body) == (200, "text/plain; charset=utf-8", POLICY)
    assert ("Cache-Control", "no-store") in answer.headers


@pytest.mark.parametrize(
    ("host", "changes"),
    [
        ("mta-sts.example.com", {}),
        ("example.org", {}),
        ("mail.example.org", {}),
        ("mta-sts.mta-sts.example.org", {}),
        ("", {}),
        ("mta-sts.example.org", {"is_tls": False}),
        ("mta-sts.example.org", {"policy": None}),
    ],
)
def test_the_policy_is_shown_nowhere_else(host, changes):
    assert ask("/.well-known/mta-sts.txt", host, **changes).code == 404


@pytest.mark.parametrize("path", ["/.well-known/mta-sts.txt/", "/.well-known//mta-sts.txt", "/.WELL-KNOWN/mta-sts.txt"])
def test_only_the_exact_path_is_the_policy(path):
    assert ask(path, "mta-sts.example.org").code == 404


def test_a_page_is_read_and_not_written():
    answer = ask("/.well-known/mta-sts.txt", "mta-sts.example.org", method="POST")
    assert answer.code == 405
    assert ("Allow", "GET, HEAD") in answer.headers
    assert ask("/.well-known/mta-sts.txt", "mta-sts.example.org", method="HEAD").code == 200


# --- challenges -------------------------------------------------------------------------------------------------------


def test_a_challenge_is_answered_at_any_host_without_tls():
    answer = ask("/.well-known/acme-challenge/a-Token_1", "whatever.example", is_tls=False)
    assert (answer.code, answer.kind, answer.body) == (200, "application/octet-stream", b"a-Token_1.thumb")


@pytest.mark.parametrize("token", ["", "a-Token_1/", "../a-Token_1", "%61-Token_1", "x" * 257, "a-Token_1\n", "é"])
def test_what_is_no_token_is_not_even_looked_up(token):
    assert ask(f"/.well-known/acme-challenge/{token}", is_tls=False, challenge=lambda _: "secret").code == 404


def test_unknown_tokens_and_tls_get_nothing():
    assert ask("/.well-known/acme-challenge/other", is_tls=False).code == 404
    assert ask("/.well-known/acme-challenge/a-Token_1", is_tls=True).code == 404


# --- Thunderbird ------------------------------------------------------------------------------------------------------

CONFIG, WELL_KNOWN = "/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"


@pytest.mark.parametrize("is_tls", [True, False])
@pytest.mark.parametrize(
    ("host", "path", "address", "domain"),
    [
        ("autoconfig.example.org", CONFIG, "", "example.org"),
        ("autoconfig.example.net", CONFIG, "alice@example.net", "example.net"),
        ("example.org", WELL_KNOWN, "", "example.org"),
        ("example.org", WELL_KNOWN, "o'brien+x@example.org", "example.org"),
        ("mail.example.org", WELL_KNOWN, "alice@example.net", "example.net"),
    ],
)
def test_mail_programs_find_their_settings(host, path, address, domain, is_tls):
    answer = ask(path, host, address=address, is_tls=is_tls)
    assert answer.code == 200
    root = ElementTree.fromstring(answer.body)
    assert root.find("emailProvider").get("id") == root.findtext("emailProvider/domain") == domain
    servers = [
        (one.get("type"), one.findtext("hostname"), one.findtext("port"), one.findtext("socketType"))
        for one in root.iter()
        if one.tag in ("incomingServer", "outgoingServer")
    ]
    assert servers == [
        ("pop3", "mail.example.org", "995", "SSL"),
        ("pop3", "mail.example.org", "110", "STARTTLS"),
        ("smtp", "mail.example.org", "465", "SSL"),
        ("smtp", "mail.example.org", "587", "STARTTLS"),
    ]
    assert {one.text for one in root.iter("username")} == {"%EMAILADDRESS%"}


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("autoconfig.example.com", ""),
        ("autoconfig.example.org", "alice@example.net"),
        ("autoconfig.example.org", "alice@example.com"),
        ("autoconfig.example.org", "<script>"),
        ("autoconfig.example.org", "alice"),
        ("autoconfig.example.org", "postmaster"),
        ("autoconfig.example.org", "a" * 400 + "@example.org"),
        ("mail.example.org", ""),
        ("other.example.com", "alice@example.org"),
        ("", "alice@example.org"),
    ],
)
def test_settings_are_for_our_domains_only(host, address):
    assert ask(WELL_KNOWN, host, address=address).code == 404


def test_settings_name_what_is_served_and_nothing_else():
    settings = settings_of("mail.example.org", [("smtp", 25), ("pop3s", 2995), ("pop3s", 995), ("submission", 0)])
    answer = ask(CONFIG, "autoconfig.example.org", settings=settings)
    assert b"<port>2995</port>" in answer.body
    assert b"<port>587</port>" in answer.body, "a socket whose port only systemd knows"
    assert b"<port>465</port>" not in answer.body
    assert ask(CONFIG, "autoconfig.example.org", settings=settings_of("mail.example.org", [("smtp", 25)])).code == 404


# --- Outlook ----------------------------------------------------------------------------------------------------------

ASKING = b"""<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request>
<EMailAddress>%s</EMailAddress><AcceptableResponseSchema>x</AcceptableResponseSchema></Request></Autodiscover>"""
AUTODISCOVER = "/autodiscover/autodiscover.xml"


@pytest.mark.parametrize("path", [AUTODISCOVER, "/Autodiscover/Autodiscover.xml"])
@pytest.mark.parametrize("host", ["autodiscover.example.org", "example.org", "mail.example.org"])
def test_outlook_finds_its_settings(path, host):
    answer = ask(path, host, method="POST", body=ASKING % b"Alice@example.org")
    assert answer.code == 200
    text = answer.body.decode()
    names = {"": "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"}
    found = [
        [one.findtext(tag, namespaces=names) for tag in ("Type", "Server", "Port", "LoginName", "SSL", "Encryption")]
        for one in ElementTree.fromstring(text).iter(f"{{{names['']}}}Protocol")
    ]
    assert found == [
        ["POP3", "mail.example.org", "995", "Alice@example.org", "on", "SSL"],
        ["SMTP", "mail.example.org", "465", "Alice@example.org", "on", "SSL"],
    ]


def test_an_address_that_looks_like_markup_stays_text():
    answer = ask(AUTODISCOVER, method="POST", body=ASKING % b'"a\'b"@example.org')
    assert ElementTree.fromstring(answer.body.decode()) is not None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"method": "GET"}, 405),
        ({"is_tls": False}, 404),
        ({"host": "autodiscover.example.com"}, 404),
        ({"host": "autodiscover.example.net"}, 404),
        ({"body": b""}, 404),
        ({"body": ASKING % b"alice@example.com"}, 404),
        ({"body": ASKING % b"&lol9;@example.org"}, 404),
        ({"body": ASKING % (b"a" * 400 + b"@example.org")}, 404),
    ],
)
def test_outlook_asks_for_something_else(changes, code):
    request = {"host": "autodiscover.example.org", "method": "POST", "body": ASKING % b"alice@example.org"} | changes
    assert ask(AUTODISCOVER, **request).code == code


def test_entities_are_never_expanded():
    bomb = b'<!DOCTYPE x [<!ENTITY a "alice"><!ENTITY b "&a;@example.org">]><EMailAddress>&b;</EMailAddress>'
    assert asked_address(bomb) is None
    assert asked_address(b"<EMailAddress>" + b" " * 16000 + b"</EMailAddress>") is None
    assert str(asked_address(b"<o:EMailAddress>\r\n alice@example.org </o:EMailAddress>")) == "alice@example.org"
    assert read_address("alice") is None


# --- the status -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["mail.example.org", "localhost", "127.0.0.1", "[::1]"])
@pytest.mark.parametrize("peer", [HERE, peer_from("::1", 1), Peer(None)])
def test_the_status_is_shown_on_this_machine(host, peer):
    answer = ask("/status", host, peer=peer)
    assert answer.code == 200
    text = answer.body.decode()
    for words in ("1 d 2 h", ">3<", "12 min", "60 d", "Connections: smtp", ">mail.example.org<"):
        assert words in text
    assert any(name == "Content-Security-Policy" for name, _ in answer.headers)
    answer = ask("/metrics", host, peer=peer)
    assert b"\nmailserver_queue_messages 3\n" in answer.body
    assert b'mailserver_connections{service="pop3"} 1\n' in answer.body


@pytest.mark.parametrize("path", ["/status", "/metrics"])
@pytest.mark.parametrize(
    "changes",
    [
        {"peer": STRANGER},
        {"peer": peer_from("127.0.0.1", 1, is_proxied=True)},
        {"peer": HERE, "status": None},
        {"peer": HERE, "host": "evil.example"},
        {"peer": HERE, "host": ""},
    ],
)
def test_the_status_is_hidden_from_everybody_else(path, changes):
    assert ask(path, **changes).body == ask("/nothing").body


def test_an_empty_queue_and_an_expired_certificate_are_told_in_words():
    status = Status("<b>", 5.0, 0, None, (), (), -7200.0)
    text = ask("/status", peer=HERE, status=lambda: status).body.decode()
    assert "<td>-</td>" in text
    assert "expired for 2 h" in text
    assert "<b>" not in text
    assert [in_words(seconds) for seconds in (0.4, 59, 60, 3600, 3660, 86400)] == [
        "0 s",
        "59 s",
        "1 min",
        "1 h",
        "1 h 1 min",
        "1 d",
    ]


# --- the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "*", "", "/etc/passwd", "/../../etc/passwd", "/.well-known/", "/favicon.ico"])
def test_everything_else_is_not_there(path):
    answer = ask(path)
    assert (answer.code, answer.kind) == (404, "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("Example.ORG", "example.org"),
        ("example.org:8443", "example.org"),
        ("example.org.", "example.org"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("", ""),
        ("a b", ""),
        ("exa<mple.org", ""),
        ("x" * 300, ""),
        ("[" + "1" * 60 + "]", ""),
    ],
)
def test_hosts_have_one_form(written, host):
    assert host_of(written) == host
