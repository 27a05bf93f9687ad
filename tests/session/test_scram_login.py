"""Logins by SCRAM over SMTP and POP3, with a client that is not ours (scramp)."""

import base64
from dataclasses import replace

import pytest
from scramp import ScramClient as ForeignClient
from scramp import ScramException
from scramp.core import CbName

from mailserver.config import AuthWithoutTls
from mailserver.mail.reply import AUTH_TOO_OFTEN
from mailserver.maillog import LoginRefused, LoginSucceeded
from mailserver.ports import TlsDetails, Use
from mailserver.session.smtp_profile import SMTP, SUBMISSION, SUBMISSIONS
from tests.fakes import smtp
from tests.session import pop3_dialogue

ALICE = "alice@example.test"
PASSWORD = "correct horse"
CHANNELS = {"tls-exporter": b"exported", "tls-server-end-point": b"end point"}
BOUND = TlsDetails("TLSv1.3", "TLS_AES_256_GCM_SHA384", channel_binding=CHANNELS.get)


class SmtpDoor:
    """AUTH over SMTP, port 465."""

    service = "submissions"
    fault = "501"
    wrong = "535"

    def __init__(self, tls=BOUND, **guesses):
        self.world = smtp.World(**guesses)
        self.directory = self.world.directory
        self.directory.has_scram = True
        self.client = self.world.connect(SUBMISSIONS, tls=tls)

    @property
    def events(self):
        return self.world.events

    def lists(self):
        return [line[9:].split() for line in self.say("EHLO x").splitlines() if line[4:9] == "AUTH "]

    def offered(self):
        return self.lists()[0]

    def say(self, line):
        return self.client.say(line + "\r\n").rstrip("\r\n")

    def challenge(self, said):
        """The octets of a challenge; None for a last word."""
        return base64.b64decode(said[4:]) if said.startswith("334 ") else None

    def is_in(self, said):
        return said.startswith("235 ")


class Pop3Door(SmtpDoor):
    """AUTH over POP3."""

    service = "pop3"
    fault = "-ERR"
    wrong = "-ERR [AUTH]"

    def __init__(self, tls=BOUND):
        self.world = pop3_dialogue.World()
        self.directory = self.world.directory
        self.directory.has_scram = True
        self.client = self.world.connect()
        if tls is not None:
            self.client.session.tls_started(tls)

    def lists(self):
        return [line[5:].split() for line in self.say("CAPA").splitlines() if line[:5] == "SASL "]

    def say(self, line):
        return self.client.line(line).decode().rstrip("\r\n")

    def challenge(self, said):
        return base64.b64decode(said[2:]) if said.startswith("+ ") else None

    def is_in(self, said):
        return said.startswith("+OK")


@pytest.fixture(params=[SmtpDoor, Pop3Door])
def make_door(request):
    return request.param


def encoded(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def foreign(password=PASSWORD, user=ALICE, channel=None, mechanism="SCRAM-SHA-256"):
    return ForeignClient([mechanism], user, password, channel_binding=channel)


def log_in(door, client, mechanism="SCRAM-SHA-256", *, change=lambda text: text):
    """The last word of the server. `change` may spoil the client's messages."""
    challenge = door.challenge(door.say(f"AUTH {mechanism} {encoded(change(client.get_client_first()))}"))
    if challenge is None:
        return "no challenge"
    client.set_server_first(challenge.decode())
    said = door.say(encoded(change(client.get_client_final())))
    challenge = door.challenge(said)
    if challenge is None:
        return said
    client.set_server_final(challenge.decode())  # raises when the server does not know the password
    return door.say("")


def test_a_foreign_client_logs_in_and_knows_that_the_server_knows_it(make_door):
    door = make_door()
    assert door.is_in(log_in(door, foreign()))
    (event,) = [one for one in door.events if isinstance(one, LoginSucceeded)]
    assert (event.service, event.login, event.mechanism) == (door.service, ALICE, "SCRAM-SHA-256")
    assert [use[:2] for use in door.directory.uses] == [(ALICE, "")]


@pytest.mark.parametrize("name", list(CHANNELS))
def test_channel_binding(make_door, name, monkeypatch):
    # scramp knows the form and gives it no octets, because Python's own TLS has none to give.
    monkeypatch.setattr(CbName, "UNSUPPORTED_TYPES", frozenset())
    monkeypatch.setattr(CbName, "SUPPORTED_TYPES", frozenset(CHANNELS))
    door = make_door()
    client = foreign(channel=(name, CHANNELS[name]), mechanism="SCRAM-SHA-256-PLUS")
    assert door.is_in(log_in(door, client, "SCRAM-SHA-256-PLUS"))
    assert door.events[-1].mechanism == "SCRAM-SHA-256-PLUS"


def test_another_channel_is_refused(make_door):
    """Somebody sits between: the client has another TLS connection than we."""
    door = make_door()
    client = foreign(channel=("tls-server-end-point", b"another"), mechanism="SCRAM-SHA-256-PLUS")
    assert log_in(door, client, "SCRAM-SHA-256-PLUS").startswith(door.wrong)


def test_a_wrong_password_is_refused(make_door):
    door = make_door()
    assert log_in(door, foreign("wrong")).startswith(door.wrong)
    assert door.events[-1] == LoginRefused(
        str(door.client.session._peer), door.service, ALICE, "SCRAM-SHA-256", door.events[-1].reason
    )
    assert door.directory.uses == []


def test_an_unknown_user_is_challenged_and_refused_like_a_known_one(make_door):
    door = make_door()
    assert log_in(door, foreign(user="nobody@example.test")) == log_in(make_door(), foreign("wrong"))


def _begun(door, first, mechanism="SCRAM-SHA-256"):
    return door.say(f"AUTH {mechanism} {encoded(first)}")


@pytest.mark.parametrize(
    ("mechanism", "first", "reason"),
    [
        ("SCRAM-SHA-256", "y,,n=alice,r=abc", "the client was kept from seeing -PLUS"),
        ("SCRAM-SHA-256", "p=tls-exporter,,n=alice,r=abc", "channel binding goes with -PLUS"),
        ("SCRAM-SHA-256-PLUS", "n,,n=alice,r=abc", "channel binding goes with -PLUS"),
        ("SCRAM-SHA-256-PLUS", "y,,n=alice,r=abc", "channel binding goes with -PLUS"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=alice,r=abc", "channel binding tls-unique is not to be had"),
        ("SCRAM-SHA-256", "n,a=bob,n=alice,r=abc", "for another"),
    ],
)
def test_what_cannot_succeed_is_refused_at_once(make_door, mechanism, first, reason):
    """RFC 5802 6 and 7."""
    door = make_door()
    said = _begun(door, first, mechanism)
    assert door.challenge(said) is None and not door.is_in(said)
    assert reason in door.events[-1].reason


def test_a_client_that_could_bind_may_say_so_where_we_cannot(make_door):
    door = make_door(tls=replace(BOUND, channel_binding=None))
    assert door.challenge(_begun(door, "y,,n=alice,r=abc")) is not None


def test_authorization_as_oneself(make_door):
    door = make_door()
    assert door.challenge(_begun(door, f"n,a={ALICE},n={ALICE},r=abc")) is not None


def test_offered_in_the_order_of_preference_and_only_when_all_can_use_it(make_door):
    door = make_door()
    assert door.offered() == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]
    door = make_door(tls=replace(BOUND, channel_binding=None))
    assert door.offered() == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    door.directory.has_scram = False
    assert door.offered() == ["PLAIN", "LOGIN"]
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
        said = _begun(door, "n,,n=alice,r=abc", mechanism)
        assert "not offered" in said and door.challenge(said) is None


def test_a_client_that_believes_the_last_list_sees_none_with_plus(make_door):
    """mutt and neomutt with GNU SASL choose -PLUS when they see it, and cannot do it."""
    everything, last = make_door().lists()
    assert everything == ["SCRAM-SHA-256-PLUS", *last]
    assert last == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    assert len(make_door(tls=replace(BOUND, channel_binding=None)).lists()) == 1


def test_plus_without_channel_binding_is_not_offered(make_door):
    door = make_door(tls=replace(BOUND, channel_binding=None))
    assert "not offered" in _begun(door, "p=tls-exporter,,n=alice,r=abc", "SCRAM-SHA-256-PLUS")


@pytest.mark.parametrize("at", ["first", "final", "end"])
def test_an_exchange_can_be_cancelled_or_spoiled_at_each_step(make_door, at):
    for line in ("*", "not base64!", encoded("garbage")):
        door = make_door()
        client = foreign()
        said = door.say("AUTH SCRAM-SHA-256")
        if at != "first":
            client_first = client.get_client_first()
            client.set_server_first(door.challenge(door.say(encoded(client_first))).decode())
        if at == "end":
            said = door.say(encoded(client.get_client_final()))
            assert door.challenge(said).startswith(b"v=")
        said = door.say(line)
        assert said.startswith(door.fault), said
        assert not door.directory.uses and door.client.session.is_stranger
        # The next one is a new exchange.
        assert door.is_in(log_in(door, foreign()))


def test_nobody_is_logged_in_before_the_signature_was_taken(make_door):
    door = make_door()
    client = foreign()
    client.set_server_first(door.challenge(_begun(door, client.get_client_first())).decode())
    door.say(encoded(client.get_client_final()))
    assert door.client.session.is_stranger and door.events == []


def test_an_old_proof_is_worth_nothing(make_door):
    """Somebody who has seen an exchange cannot repeat it: the nonce is another one."""
    door = make_door()
    client = foreign()
    first = client.get_client_first()
    client.set_server_first(door.challenge(_begun(door, first)).decode())
    final = client.get_client_final()
    door.say(encoded(final))
    door.say("*")
    assert door.challenge(_begun(door, first)) is not None
    assert door.say(encoded(final)).startswith(door.fault)


def test_a_password_that_changes_between_challenge_and_proof_is_refused(make_door):
    door = make_door()
    client = foreign()
    client.set_server_first(door.challenge(_begun(door, client.get_client_first())).decode())
    door.directory.passwords[ALICE] = "another"
    assert door.say(encoded(client.get_client_final())).startswith(door.wrong)


def test_a_client_sees_a_server_that_does_not_know_the_password():
    client = foreign()
    client.get_client_first()
    nonce = client.c_nonce
    client.set_server_first(f"r={nonce}abc,s={encoded('salt of anybody')},i=4096")
    client.get_client_final()
    with pytest.raises(ScramException):
        client.set_server_final(f"v={encoded(b'x' * 32)}")


def test_failures_are_counted_and_slowed_as_those_of_passwords():
    door = SmtpDoor(max_failures=2)
    assert log_in(door, foreign("wrong")).startswith("535")
    assert log_in(door, foreign("wrong")) == str(AUTH_TOO_OFTEN)
    assert door.client.is_closed


def test_a_failure_is_answered_at_the_time_of_any_other():
    """What was wrong, and whether anybody has this name, does not show."""
    times = {}
    for name, client in {
        "wrong password": foreign("wrong"),
        "unknown user": foreign(user="nobody@example.test"),
    }.items():
        door = SmtpDoor(answered_after_s=(0.3, 0.3))
        client.set_server_first(door.challenge(_begun(door, client.get_client_first())).decode())
        waiting = door.client.begin(encoded(client.get_client_final()) + "\r\n")
        assert not waiting.called and door.client.session.is_waiting
        began = door.world.clock.monotonic()
        while not waiting.called:
            door.world.clock.advance(0.01)
        times[name] = round(door.world.clock.monotonic() - began, 6)
    assert len(set(times.values())) == 1, times


def test_without_tls_it_is_refused_like_any_password():
    world = smtp.World()
    world.directory.has_scram = True
    client = world.connect(SUBMISSION)
    assert "AUTH" not in client.say("EHLO x\r\n")
    assert client.say(f"AUTH SCRAM-SHA-256 {encoded('n,,n=alice,r=abc')}\r\n").startswith("538")
    pop3 = pop3_dialogue.World(auth=AuthWithoutTls.NEVER)
    pop3.directory.has_scram = True
    assert pop3.connect().line("AUTH SCRAM-SHA-256").startswith(b"-ERR use STLS")


def test_without_tls_where_that_is_allowed_there_is_no_plus():
    world = smtp.World()
    world.directory.has_scram = True
    settings = replace(smtp.SETTINGS, auth_without_tls=AuthWithoutTls.ALWAYS)
    assert "AUTH SCRAM-SHA-256 PLAIN LOGIN" in world.connect(SUBMISSION, settings=settings).say("EHLO x\r\n")


def test_port_25_offers_it_when_it_offers_auth():
    world = smtp.World()
    world.directory.has_scram = True
    client = world.connect(replace(SMTP, offers_auth=True), tls=BOUND)
    assert "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN" in client.say("EHLO x\r\n")


def test_what_is_sent_after_a_login_with_an_app_password_names_the_device(make_door):
    door = make_door()
    door.directory.passwords[ALICE] = "app"
    door.directory.devices["app"] = "phone"
    if make_door is Pop3Door:
        door.say(f"USER {ALICE}")
        assert door.say("PASS app").startswith("+OK")
    else:
        door.client.login(ALICE, "app")
        door.client.send(sender=ALICE, to=("bob@example.test",))
        (accepted,) = [one for one in door.events if one.word == "accepted"]
        assert accepted.device == "phone" and accepted.login == ALICE
    (login,) = [one for one in door.events if isinstance(one, LoginSucceeded)]
    assert login.device == "phone"
    use = Use.POP3 if make_door is Pop3Door else Use.SUBMISSION
    assert door.directory.uses == [(ALICE, "phone", door.client.session._peer.host, use)]
