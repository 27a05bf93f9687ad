"""What a client says about an authority that is not as it should be. How it works with a real one: tests/peers."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from acme import messages
from cryptography import x509

from mailserver.config import load_config
from mailserver.net import acme_client, acme_order
from mailserver.net.acme_client import AcmeClient
from mailserver.net.acme_order import order, settings_stamp, showing_for, suggested_renewal
from mailserver.net.acme_values import AcmeTrouble, Authority
from mailserver.store.acme_folder import AcmeFolder, AcmeRecord
from mailserver.store.certificates import make_key
from tests.fakes.authority import FakeAuthority

NOW = 1_750_000_000.0
KEY = make_key("p256")


class Strange(BaseHTTPRequestHandler):
    """Answers everything with `server.answer`: status, header fields, body."""

    def do_GET(self):
        status, fields, body = self.server.answer
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def authority():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Strange)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def trouble_of(authority):
    client = AcmeClient(Authority(f"http://127.0.0.1:{authority.server_port}/dir"), KEY, now=lambda: NOW)
    with pytest.raises(AcmeTrouble) as caught:
        client.obtain(("mail.example.org",), KEY, None)
    return caught.value


def problem(code, detail, **more):
    return json.dumps({"type": f"urn:ietf:params:acme:error:{code}", "detail": detail, **more}).encode()


PROBLEM = {"Content-Type": "application/problem+json"}


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ({"Retry-After": "86400"}, 86400.0),
        ({"Retry-After": "Sun, 15 Jun 2025 16:06:40 GMT"}, 3600.0),
        ({"Retry-After": "Sun, 15 Jun 2014 16:06:40 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_asked_too_often(authority, retry_after, wait_s):
    authority.answer = (429, PROBLEM | retry_after, problem("rateLimited", "too many certificates for example.org"))
    trouble = trouble_of(authority)
    assert str(trouble) == "the authority refused: too many certificates for example.org (rateLimited)"
    assert (trouble.wait_s, trouble.is_limited) == (wait_s, True)


@pytest.mark.parametrize(
    ("answer", "reason", "remedy"),
    [
        (
            (503, {"Retry-After": "120"}, b"down for maintenance"),
            "127.0.0.1:PORT answered with HTTP status 503 and no reason",
            "certificate renew",
        ),
        ((404, {}, b"nothing here"), "127.0.0.1:PORT answered with HTTP status 404 and no reason", "acme.directory"),
        (
            (200, {"Content-Type": "application/json"}, b'{"hello": "world"}'),
            "127.0.0.1:PORT does not answer as an ACME server does",
            "acme.directory",
        ),
        ((200, {}, b"<html>"), "127.0.0.1:PORT does not answer as an ACME server does", "acme.directory"),
        (
            (403, PROBLEM, problem("userActionRequired", "terms \x1b[31mhave\nchanged")),
            "the authority refused: terms ?[31mhave changed (userActionRequired)",
            "its terms have changed",
        ),
        (
            (403, PROBLEM, problem("unauthorized", "account is deactivated")),
            "the authority refused: account is deactivated (unauthorized)",
            "remove account.pem",
        ),
        (
            (
                400,
                PROBLEM,
                problem(
                    "compound",
                    "see below",
                    subproblems=[
                        {
                            "type": "urn:ietf:params:acme:error:caa",
                            "detail": "CAA forbids",
                            "identifier": {"type": "dns", "value": "a.example"},
                        }
                    ],
                ),
            ),
            "the authority refused: see below (compound); a.example: CAA forbids",
            "the CAA records of a.example allow other authorities",
        ),
    ],
)
def test_strange_answers(authority, answer, reason, remedy):
    authority.answer = answer
    trouble = trouble_of(authority)
    assert str(trouble).startswith(reason.replace("PORT", str(authority.server_port)))
    assert remedy in trouble.remedy
    assert len(str(trouble)) < 700


class Endless(BaseHTTPRequestHandler):
    """An answer that does not end soon: as fast as it can be read, or in drips."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        try:
            # The client goes long before.
            for _ in range(100):
                self.wfile.write(self.server.block)
                self.server.pausing.wait(self.server.pause_s)
        except OSError:
            return

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize(
    ("block", "pause_s", "reason"),
    [(b" " * 100_000, 0.0, "its answer is too long"), (b" ", 0.05, "its answer takes too long")],
)
def test_an_answer_without_end_is_not_read_to_it(authority, monkeypatch, block, pause_s, reason):
    authority.RequestHandlerClass = Endless
    authority.block, authority.pause_s, authority.pausing = block, pause_s, threading.Event()
    monkeypatch.setattr(acme_client, "_ANSWER_S", 0.4)
    assert reason in str(trouble_of(authority))


def test_nobody_there_is_told_as_that():
    client = AcmeClient(Authority("https://127.0.0.1:1/dir"), KEY)
    with pytest.raises(AcmeTrouble, match=r"127\.0\.0\.1:1 cannot be reached: .*refused") as caught:
        client.obtain(("mail.example.org",), KEY, None)
    assert "https://127.0.0.1:1" in caught.value.remedy


def test_advice_that_cannot_be_had_is_none(authority):
    authority.answer = (500, {}, b"")
    client = AcmeClient(Authority(f"http://127.0.0.1:{authority.server_port}/dir"), KEY)
    assert client.suggested_renewal(b"") is None


# --- an authority that lies -------------------------------------------------------------------------------------------


class Liar:
    """Takes every account, and wants proofs for these names instead of those that were ordered."""

    def __init__(self, names, kind="dns-01"):
        self._asked = [
            messages.AuthorizationResource(
                uri="https://ca.example/authorization",
                body=messages.Authorization.from_json(
                    {
                        "identifier": {"type": "dns", "value": name},
                        "status": "pending",
                        "challenges": [
                            {"type": kind, "status": "pending", "token": "a" * 22, "url": "https://ca.example/1"}
                        ],
                    }
                ),
            )
            for name in names
        ]

    def new_account(self, wanted):
        pass

    def new_order(self, csr, profile):
        return messages.OrderResource(csr_pem=csr, authorizations=self._asked)


class Showed(Exception):
    pass


class Seen:
    kind = "dns-01"

    def show(self, proofs, wait):
        raise Showed([proof.name for proof in proofs])

    def take_away(self, proofs):
        return []


def obtain_from(monkeypatch, liar, names):
    monkeypatch.setattr(AcmeClient, "_client", lambda self: liar)
    AcmeClient(Authority("https://ca.example/dir"), KEY, now=lambda: NOW).obtain(names, KEY, Seen())


@pytest.mark.parametrize(
    "name",
    [
        "evil.example",
        "x.mail.example.org",
        "ail.example.org",
        "",
        "org\nupdate delete example.org.",
        "x\n.mail.example.org",
    ],
)
def test_a_name_that_was_not_ordered_never_reaches_a_hook(monkeypatch, name):
    with pytest.raises(AcmeTrouble, match="not ordered") as caught:
        obtain_from(monkeypatch, Liar(["mail.example.org", name]), ("mail.example.org", "example.net"))
    assert "\n" not in str(caught.value)


def test_no_more_proofs_are_shown_than_names_were_ordered(monkeypatch):
    with pytest.raises(AcmeTrouble, match="3 proofs"):
        obtain_from(monkeypatch, Liar(["mail.example.org"] * 3), ("mail.example.org", "example.net"))


def test_a_wildcard_and_a_domain_above_may_have_to_be_proven(monkeypatch):
    """RFC 8555 7.1.3: the authorizations need not be one to one with the names."""
    with pytest.raises(Showed) as caught:
        obtain_from(monkeypatch, Liar(["example.org", "Example.net"]), ("*.example.org", "mail.example.net"))
    assert caught.value.args == (["example.org", "example.net"],)


def test_what_the_authority_offers_is_told_on_one_line(monkeypatch):
    with pytest.raises(AcmeTrouble, match="it offers odd") as caught:
        obtain_from(monkeypatch, Liar(["mail.example.org"], "odd\n\x1b[2J"), ("mail.example.org",))
    assert str(caught.value).isprintable()


class Adviser:
    """Answers when it would renew; or the library breaks over its answer."""

    def __init__(self, answer):
        self._answer = answer

    def renewal_time(self, pem):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer, None


@pytest.mark.parametrize(
    ("answer", "moment"),
    [
        (datetime.fromtimestamp(NOW, UTC), NOW),
        (None, None),
        # The certificate of a small authority has no authority key identifier.
        (x509.ExtensionNotFound("no authorityKeyIdentifier", x509.AuthorityKeyIdentifier.oid), None),
        (TypeError("argument of type 'int' is not iterable"), None),
        (AttributeError("'str' object has no attribute 'start'"), None),
        (OverflowError("Python int too large to convert to C int"), None),
        # It cannot be remembered, and would take what is remembered of failures with it.
        (datetime(1, 1, 1, tzinfo=UTC), 1.0),
    ],
)
def test_whatever_is_wrong_with_advice_is_no_reason_to_break(monkeypatch, answer, moment):
    monkeypatch.setattr(AcmeClient, "_client", lambda self: Adviser(answer))
    client = AcmeClient(Authority("https://ca.example/dir"), KEY, now=lambda: NOW)
    assert client.suggested_renewal(b"") == moment


# --- from the configuration -------------------------------------------------------------------------------------------

CONFIG = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "a@example.org"\n[acme]\n'
ON = CONFIG + 'directory = "https://127.0.0.1:1/dir"\nagree_terms = true\nwebroot = "www"\n'


def configured(tmp_path, more=""):
    path = tmp_path / "mailserver.toml"
    path.write_text(ON + 'names = ["mail.example.org"]\n' + more)
    return load_config(path)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('ca_file = "ca.pem"', "ca.pem cannot be read"),
        ('eab_key_id = "kid"\neab_key_file = "kid.key"', "kid.key cannot be read: No such file"),
    ],
)
def test_files_that_are_missing_are_told(tmp_path, more, reason):
    config = configured(tmp_path, more)
    folder = AcmeFolder(tmp_path / "var")
    with pytest.raises(AcmeTrouble, match=reason) as caught:
        order(config, folder, ("mail.example.org",), showing_for(config.acme), no_sleep, lambda: NOW)
    assert caught.value.remedy.startswith("mend acme.")
    assert suggested_renewal(config, folder, lambda: NOW) is None


@pytest.mark.parametrize("octets", [b"damaged", make_key("rsa2048")])
def test_an_account_key_that_is_none_is_told(tmp_path, octets):
    config, folder = configured(tmp_path), AcmeFolder(tmp_path / "var")
    folder.account_key()
    (folder.path / "account.pem").write_bytes(octets)
    with pytest.raises(AcmeTrouble, match=r"account\.pem does not hold the key of an account") as caught:
        order(config, folder, ("mail.example.org",), showing_for(config.acme), no_sleep, lambda: NOW)
    assert caught.value.remedy == "remove it: a new account is made then"


def test_a_state_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "var").write_bytes(b"no folder")
    config = configured(tmp_path)
    with pytest.raises(AcmeTrouble, match="not a directory"):
        order(
            config, AcmeFolder(tmp_path / "var"), ("mail.example.org",), showing_for(config.acme), no_sleep, lambda: NOW
        )


def no_sleep(seconds):
    raise AssertionError("there is nothing to wait for")


def test_the_stamp_follows_what_an_order_depends_on(tmp_path):
    first = settings_stamp(configured(tmp_path))
    assert settings_stamp(configured(tmp_path)) == first
    assert settings_stamp(configured(tmp_path, 'contact = "a@example.org"')) != first
    # A longer wait is what a failed dns-01 is mended by.
    assert settings_stamp(configured(tmp_path, 'propagation_wait = "5m"')) != first
    first_key, other_key = (f'eab_key_id = "1"\neab_key_file = "{name}.key"' for name in "ab")
    assert settings_stamp(configured(tmp_path, first_key)) != settings_stamp(configured(tmp_path, other_key))
    assert settings_stamp(configured(tmp_path, 'renew_before = "10d"')) == first


@pytest.mark.parametrize(
    ("more", "before", "is_same"),
    [
        ("", "p256", True),
        ("reuse_key = false", "p256", False),
        ("", "rsa2048", False),
        ('key_type = "rsa2048"', "rsa2048", True),
    ],
)
def test_the_key_stays_unless_it_may_not(tmp_path, more, before, is_same):
    folder = AcmeFolder(tmp_path / "var")
    key = make_key(before)
    folder.install(key, FakeAuthority().issue(key, ("mail.example.org",), NOW))
    config = configured(tmp_path, more)
    found = acme_order.in_force(folder)
    assert (acme_order._key(config.acme, found) == key) is is_same
    assert found.standing(config.acme, AcmeRecord()).has_wanted_key is (before == config.acme.key_type.value)
