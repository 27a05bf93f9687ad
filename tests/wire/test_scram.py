"""SCRAM-SHA-256 as a machine: RFC 7677's example, the grammar of RFC 5802 7, and messages that were tampered with."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.mail.scram import salted_keys
from mailserver.wire.sasl import Challenge, Exchange, Mechanism, SaslFault, ScramDone, ScramHello, ScramProof
from mailserver.wire.scram import MAX_MESSAGE_OCTETS, Binding, ClientHello, ScramFault, ScramMachine, parse_client_first

# RFC 7677 3: user `user`, password `pencil`.
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SIGNATURE = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
KEYS = salted_keys(b"pencil", SALT, 4096)


def challenged(first=FIRST):
    machine = ScramMachine()
    hello = machine.hello(first)
    assert isinstance(hello, ClientHello), hello
    machine.challenge(SALT, 4096, NONCE)
    return machine


def test_the_example_of_rfc_7677():
    machine = ScramMachine()
    assert machine.hello(FIRST) == ClientHello(
        "", "user", Binding.NOT_SUPPORTED, "", "rOprNGfwEbeRWgbNEkqO", b"n,,", FIRST[3:]
    )
    assert machine.challenge(SALT, 4096, NONCE) == SERVER_FIRST
    assert machine.proof(FINAL) is None
    assert machine.binds_to(b"")
    assert machine.is_proved_by(KEYS)
    assert machine.signature(KEYS) == SIGNATURE


def test_the_example_as_an_exchange_with_and_without_an_initial_response():
    for begin in (lambda it: it.start(FIRST), lambda it: (it.start(None), it.respond(FIRST))[1]):
        exchange = Exchange(Mechanism.SCRAM_SHA_256)
        step = begin(exchange)
        assert isinstance(step, ScramHello) and not step.acts_for_another
        step.machine.challenge(SALT, 4096, NONCE)
        proof = exchange.respond(FINAL)
        assert isinstance(proof, ScramProof) and proof.machine.is_proved_by(KEYS)
        assert exchange.respond(b"") == ScramDone()
    assert Exchange(Mechanism.SCRAM_SHA_256_PLUS).start(None) == Challenge(b"")


def test_the_last_response_is_empty():
    """RFC 4954 4."""
    exchange = Exchange(Mechanism.SCRAM_SHA_256)
    exchange.start(FIRST).machine.challenge(SALT, 4096, NONCE)
    exchange.respond(FINAL)
    assert exchange.respond(b"x") == SaslFault("an empty response is expected")


@pytest.mark.parametrize(
    ("message", "authzid", "login", "binding", "name"),
    [
        (b"n,,n=user,r=abc", "", "user", Binding.NOT_SUPPORTED, ""),
        (b"y,,n=user,r=abc", "", "user", Binding.NOT_OFFERED, ""),
        (b"p=tls-exporter,,n=user,r=abc", "", "user", Binding.USED, "tls-exporter"),
        (b"n,a=alice,n=alice,r=abc", "alice", "alice", Binding.NOT_SUPPORTED, ""),
        (b"n,a=a=2Cb,n=x=3Dy=2Cz,r=abc", "a,b", "x=y,z", Binding.NOT_SUPPORTED, ""),
        ("n,,n=jürgen,r=abc".encode(), "", "jürgen", Binding.NOT_SUPPORTED, ""),
        (b"n,,n=user,r=a=b,x=ignored,y=too", "", "user", Binding.NOT_SUPPORTED, ""),
    ],
)
def test_first_messages(message, authzid, login, binding, name):
    hello = parse_client_first(message)
    assert isinstance(hello, ClientHello)
    assert (hello.authzid, hello.login, hello.binding, hello.binding_name) == (authzid, login, binding, name)
    assert hello.gs2_header + hello.bare == message


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"N,,n=user,r=abc",
        b"p,,n=user,r=abc",
        b"p=,,n=user,r=abc",
        b"p=tls unique,,n=user,r=abc",
        "p=tls-ünique,,n=user,r=abc".encode(),
        b"n,alice,n=user,r=abc",
        b"n,a=,n=user,r=abc",
        b"n,,n=,r=abc",
        b"n,,user,r=abc",
        b"n,,m=x,n=user,r=abc",
        b"n,,n=user,r=abc,m=x",  # RFC 5802 5.1: wherever it stands
        b"n,,r=abc,n=user",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2c,r=abc",
        b"n,,n=us=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        "n,,n=user,r=ä".encode(),
        b"n,,n=user,r=" + b"x" * 513,
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc,1=x",
        b"n,,n=user,r=abc,x",
        b"n,,n=us\0er,r=abc",
        b"n,,n=us\xffer,r=abc",
        b"n,,n=" + b"u" * MAX_MESSAGE_OCTETS + b",r=abc",
    ],
)
def test_first_messages_that_are_none(message):
    assert isinstance(parse_client_first(message), ScramFault)


PROOF = FINAL[FINAL.index(b",p=") + 3 :]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"c=biws",
        FINAL[: FINAL.index(b",p=")],
        FINAL.replace(b",p=", b",m=x,p="),
        FINAL.replace(b"c=biws", b"c=biw"),
        FINAL.replace(b"c=biws", b"c=bi ws"),
        FINAL.replace(b"c=biws,", b""),
        FINAL.replace(b"c=biws,r", b"r"),
        FINAL.replace(b"hNlF$k0", b"hNlF$k1"),
        FINAL.replace(NONCE.encode(), b""),
        FINAL[:-1],
        FINAL + b"=",
        FINAL + b",x=y",
        FINAL.replace(PROOF, base64.b64encode(b"short")),
        FINAL.replace(PROOF, base64.b64encode(b"x" * 33)),
        FINAL.replace(b",p=", b",q,p="),
        b"\xff" + FINAL,
        FINAL + b"\0",
        FINAL.replace(b",p=", b",x=" + b"y" * MAX_MESSAGE_OCTETS + b",p="),
    ],
)
def test_final_messages_that_are_none(message):
    assert isinstance(challenged().proof(message), ScramFault)


def test_a_proof_for_other_keys_proves_nothing():
    machine = challenged()
    assert machine.proof(FINAL) is None
    assert not machine.is_proved_by(salted_keys(b"pencils", SALT, 4096))
    assert not machine.is_proved_by(salted_keys(b"pencil", SALT, 4097))


@pytest.mark.parametrize("first", [b"y,,", b"p=tls-exporter,,", b"n,a=user,"])
def test_what_a_client_said_first_is_bound(first):
    """A header that was changed on the way does not fit what the client binds itself to (RFC 5802 6)."""
    machine = challenged(FIRST.replace(b"n,,", first, 1))
    assert machine.proof(FINAL) is None
    assert not machine.binds_to(b"")


def test_the_channel_is_part_of_the_proof():
    machine = challenged(b"p=tls-exporter,," + FIRST[3:])
    channel = base64.b64encode(b"p=tls-exporter,,octets of the channel")
    assert machine.proof(FINAL.replace(b"biws", channel)) is None
    assert machine.binds_to(b"octets of the channel")
    assert not machine.binds_to(b"octets of another")
    assert not machine.is_proved_by(KEYS), "the proof was over other words"


def test_a_proof_shows_nowhere():
    assert "stored" not in repr(KEYS) and repr(KEYS.stored_key) not in repr(KEYS)


@settings(max_examples=200)
@given(st.integers(0, len(FIRST) - 1), st.integers(0, len(FINAL) - 1), st.integers(0, 255), st.booleans())
def test_one_octet_that_was_changed_on_the_way_never_logs_in(first_at, final_at, octet, in_first):
    first, final = bytearray(FIRST), bytearray(FINAL)
    changed, at = (first, first_at) if in_first else (final, final_at)
    if changed[at] == octet:
        return
    changed[at] = octet
    machine = ScramMachine()
    if isinstance(machine.hello(bytes(first)), ScramFault):
        return
    machine.challenge(SALT, 4096, NONCE)
    if machine.proof(bytes(final)) is None:
        assert not (machine.binds_to(b"") and machine.is_proved_by(KEYS))


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_octets_break_an_exchange(messages):
    exchange = Exchange(Mechanism.SCRAM_SHA_256)
    step = exchange.start(None)
    for message in messages:
        step = exchange.respond(message)
        if not isinstance(step, ScramHello):
            break
        step.machine.challenge(SALT, 4096, NONCE)
    assert not isinstance(step, ScramDone)
