"""SCRAM keys as lines, and passwords prepared as clients do."""

import base64

import pytest
from scramp import ScramMechanism

from mailserver.store.scram_keys import (
    ITERATIONS,
    SALT_OCTETS,
    is_keys_text,
    keys_text,
    make_keys,
    prepare,
    read_keys,
    scram_line,
)

KEYS = make_keys("pencil", b"0123456789abcdef")


def test_keys_are_those_of_another_program():
    salt, stored, server, iterations = ScramMechanism("SCRAM-SHA-256").make_auth_info(
        "pencil", iteration_count=ITERATIONS, salt=b"0123456789abcdef"
    )
    assert (KEYS.salt, KEYS.iterations, KEYS.stored_key, KEYS.server_key) == (salt, iterations, stored, server)


def test_iterations_are_what_rfc_7677_wants_at_least():
    assert ITERATIONS >= 4096


def test_a_line_is_read_as_it_was_written():
    assert read_keys(keys_text(KEYS)) == KEYS
    assert keys_text(KEYS).startswith("SCRAM-SHA-256$30000:MDEyMzQ1Njc4OWFiY2RlZg==$")


def test_keys_of_a_password_count_beside_its_hash_only():
    line = keys_text(KEYS, "$argon2id$one")
    assert read_keys(line, "$argon2id$one") == KEYS
    assert read_keys(line, "$argon2id$two") is None
    assert read_keys(line) is None and read_keys(keys_text(KEYS), "$argon2id$one") is None
    assert is_keys_text(line) and is_keys_text(keys_text(KEYS))


GOOD = keys_text(KEYS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "pencil",
        GOOD.replace("256$", "1$", 1),
        GOOD.replace("30000", "0"),
        GOOD.replace("30000", "-1"),
        GOOD.replace("30000", "3e4"),
        GOOD.replace("30000", "٣٠٠٠٠"),
        GOOD.replace("30000", "99999999"),
        GOOD.replace("30000", "9" * 30),
        GOOD.replace(base64.b64encode(KEYS.salt).decode(), ""),
        GOOD.replace(base64.b64encode(KEYS.stored_key).decode(), "YQ=="),
        GOOD.replace(base64.b64encode(KEYS.server_key).decode(), "!"),
        GOOD.replace(":", ""),
        GOOD + "$x$y",
    ],
)
def test_lines_that_are_none(line):
    assert read_keys(line) is None
    assert not is_keys_text(line)


def test_salts_are_random_and_may_be_given():
    assert len(make_keys("x").salt) == SALT_OCTETS
    assert make_keys("x").salt != make_keys("x").salt
    assert make_keys("x", b"salt").salt == b"salt"


@pytest.mark.parametrize(
    ("password", "octets"),
    [
        ("pencil", b"pencil"),
        ("two  words ", b"two  words "),
        # RFC 4013 3: the soft hyphen vanishes, the ordinal is a letter, the numeral is two letters.
        ("I\u00adX", b"IX"),
        ("\u00aa", b"a"),
        ("\u2168", b"IX"),
        ("a\u00a0b", b"a b"),
        ("pa\u0308sswort", "p\u00e4sswort".encode()),
        # What SASLprep forbids stays as it is: text of two directions, a private letter.
        ("\u0627\u0031", "\u0627\u0031".encode()),
        ("x\ue000", "x\ue000".encode()),
        ("a\tb", b"a\tb"),
    ],
)
def test_passwords_are_prepared_as_clients_prepare_them(password, octets):
    assert prepare(password) == octets


@pytest.mark.parametrize("password", ["", "a\0b", "\udc80"])
def test_what_no_client_can_send_has_no_keys(password):
    assert prepare(password) is None and make_keys(password) is None and scram_line(password, "x") == ""
