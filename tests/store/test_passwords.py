"""Hashes of our own, and those that other programs made."""

import re
import time

import pytest

from mailserver.mail.address import Mailbox
from mailserver.store.passwords import (
    MAX_PASSWORD_OCTETS,
    Passwords,
    Verdict,
    generate_password,
    is_known_hash,
    weakness,
)

# As cheap as argon2 lets us.
QUICK = Passwords(memory_kib=8, passes=1)
HORSE = "correct horse"
# A password that the shell gave to mkpasswd in UTF-8.
GRUESSE = "grüße €"

# Where it comes from, stored hash, password.
FOREIGN = [
    (
        "argon2 -id",
        "$argon2id$v=19$m=4096,t=2,p=1$c29tZXNhbHQxMjM0$cvEazogelEb60VCJP01gP23apDs0bsO4NQBlpChXn9U",
        HORSE,
    ),
    (
        "argon2 -id, with Dovecot's prefix",
        "{ARGON2ID}$argon2id$v=19$m=4096,t=2,p=1$c29tZXNhbHQxMjM0$cvEazogelEb60VCJP01gP23apDs0bsO4NQBlpChXn9U",
        HORSE,
    ),
    (
        "doveadm pw -s ARGON2I",
        "{ARGON2I}$argon2i$v=19$m=32768,t=5,p=1$bOYSLwkDFEAGzrJvzHufiQ$DcyT450Gdwy7rPsWwxqmKlMwK1flAxdRdvXYBVlOLHo",
        HORSE,
    ),
    ("htpasswd -B", "$2y$04$R9XsE6zmo1gn6oUVtJN4eupXtHFsuD/gmkCg5AOHBINkE7XK6qA6m", HORSE),
    ("htpasswd -B, 80 octets", "$2y$04$Vh7iaRS8a77p6ZDFZhLoZOCnGieLFkCBOC.zfLKlo1esBJqPapCxi", "x" * 80),
    ("htpasswd -B, the first 72 of them", "$2y$04$Vh7iaRS8a77p6ZDFZhLoZOCnGieLFkCBOC.zfLKlo1esBJqPapCxi", "x" * 72),
    ("mkpasswd -m bcrypt-a", "$2a$05$UiSDioUl4Sp69jWfqslVCOqGspevRtSRJtAQi8Rxo8Z3n70Y9RMrq", HORSE),
    (
        "doveadm pw -s BLF-CRYPT",
        "{BLF-CRYPT}$2y$05$rHXN3medr/.vx130LQez3uJdAyk/7AvgQFTVd55Jf3747CqzHoIC2",
        HORSE,
    ),
    (
        "the same as bcrypt's own",
        "$2b$05$rHXN3medr/.vx130LQez3uJdAyk/7AvgQFTVd55Jf3747CqzHoIC2",
        HORSE,
    ),
    (
        "openssl passwd -6",
        "$6$abcdefgh$yIZAF3gQPvtKZO/9qOJKffAKKbtS3ef3qmwyugk4uWVjX8YZf/GV3A8SkFxEPY0T56CcilGrHKLffBsp6dLMG.",
        HORSE,
    ),
    ("openssl passwd -5", "$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB", HORSE),
    ("openssl passwd -1", "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80", HORSE),
    (
        "mkpasswd -m sha512crypt -R 1000",
        "$6$rounds=1000$YzlVuditzQe9bXf1$b8luDFxmyVzrN46PgIqUfeI/eIOKs4xNkTMxQmtFlJ8ap9yzmpul1gXlR27SxLzDhC0nkHhg8ZC0"
        "23udM8DUK0",
        HORSE,
    ),
    (
        "mkpasswd, not ASCII",
        "$6$3JbZeT3akhPFblG/$nigqFSWMH0koIo/xpbHE8f6ZmxlFAG./Y8GcpNGhXXKhuRsWP.XhCudrH9gl/JgwcfLb1Q2RwbkLvq4LlMxoH.",
        GRUESSE,
    ),
    (
        "the same typed where letters and accents come apart",
        "$6$3JbZeT3akhPFblG/$nigqFSWMH0koIo/xpbHE8f6ZmxlFAG./Y8GcpNGhXXKhuRsWP.XhCudrH9gl/JgwcfLb1Q2RwbkLvq4LlMxoH.",
        "gru\u0308ße €",
    ),
    (
        "doveadm pw -s SHA512-CRYPT",
        "{SHA512-CRYPT}$6$rounds=1000$pplbNSpnw0hgdHDf$rdqh3yPHGEt/FZopfRXQGztpXvu/ic2Qb.1XH.RNVqcfIffDZWIx5JgAcr9WeYiC"
        "3wjWNQqIMIwsJA4l6Veu10",
        HORSE,
    ),
    (
        "doveadm pw -s SHA256-CRYPT",
        "{SHA256-CRYPT}$5$rounds=1000$/Ns1..Sk1ChhstES$vP4e0B2yikVWVskVooJS8szAYx9DzsfwBxJ/K4Yr5e1",
        HORSE,
    ),
    ("slapd's {CRYPT}", "{CRYPT}$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB", HORSE),
    ("doveadm pw -s MD5-CRYPT", "{MD5-CRYPT}$1$wBp2OaWF$FSXO8PIssjv.hB1S6wuut0", HORSE),
    ("doveadm pw -s SSHA", "{SSHA}sCnNfl1NhyQr9y8/cf0e1ubJtkVkt/iS", HORSE),
    ("the same in lower case", "{ssha}sCnNfl1NhyQr9y8/cf0e1ubJtkVkt/iS", HORSE),
    ("doveadm pw -s SSHA.hex", "{SSHA.HEX}7c150716f5e9988360df3c61051203204161a7de1f7da985", HORSE),
    ("doveadm pw -s SSHA256", "{SSHA256}OXod6/n0uAuCULicVx3M+aD3Dgvg+k+Y3WQk3UG91UdFyR9u", HORSE),
    ("doveadm pw -s SSHA256.b64", "{SSHA256.B64}lGDylwGJS1LrddJ8Zr6Ntr00XFMu/eL398nH4hvkv9zsOlL1", HORSE),
    (
        "doveadm pw -s SSHA512",
        "{SSHA512}nR/1X7jcGFezAHvZIgOIS9P6gZdMN/0L41Y+GkHJn3lWYTU3jPrILl31W/X82rfKpGHfkTN2/QycXBpj4qjCGtCkNd0=",
        HORSE,
    ),
    (
        "doveadm pw -s SSHA512.hex",
        "{SSHA512.HEX}9ce80f446821b8918b7ae5b3b0d72ceb1dbc8e40499f288310d934098504afd4f01895ca45e428c7328da2673a45b90c"
        "455d3c2f17b4dd5d3ec5e312d7a9afd6fc9d034a",
        HORSE,
    ),
    ("doveadm pw -s PBKDF2", "{PBKDF2}$1$Zcta1KI80Gjwd6EV$5$8c791d71ef7951175d8771be3827049555670e4d", HORSE),
]


@pytest.mark.parametrize(("origin", "stored", "password"), FOREIGN, ids=[row[0] for row in FOREIGN])
def test_hash_from_elsewhere_fits_its_password_only_and_is_to_be_upgraded(origin, stored, password):
    assert is_known_hash(stored)
    assert QUICK.check(stored, password) == Verdict(True, should_upgrade=True)
    assert QUICK.check(stored, "y" + password) == Verdict(False)
    assert QUICK.check(stored, "") == Verdict(False)


@pytest.mark.parametrize("password", ["secret", " with spaces ", "pässwörd", "日本語", "x" * MAX_PASSWORD_OCTETS])
def test_own_hash_fits_and_needs_no_upgrade(password):
    stored = QUICK.hash(password)
    assert stored.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert QUICK.check(stored, password) == Verdict(True)
    assert QUICK.check(stored, password + "x") == Verdict(False)


def test_hash_with_other_costs_is_to_be_upgraded():
    assert Passwords(memory_kib=16, passes=1).check(QUICK.hash("secret"), "secret").should_upgrade


@pytest.mark.parametrize("password", ["", "x" * (MAX_PASSWORD_OCTETS + 1), "a\0b", "\udc80"])
def test_what_cannot_be_a_password_is_neither_hashed_nor_fits(password):
    with pytest.raises(ValueError, match="octets"):
        QUICK.hash(password)
    assert QUICK.check(QUICK.hash("secret"), password) == Verdict(False)


DAMAGED = [
    "$argon2id$v=19$m=4096,t=2,p=1$c29tZXNhbHQxMjM0",
    "$argon2id$",
    "$2b$05$short",
    "$2b$99$rHXN3medr/.vx130LQez3uJdAyk/7AvgQFTVd55Jf3747CqzHoIC2",
    "$2b$05$ü",
    "$6$",
    "$5$abcdefgh$tooshort",
    "$6$rounds=x$abc$def",
    "{SSHA}",
    "{SSHA}!!!!",
    "{SSHA256}AAAA",
    "{SSHA.hex}zz",
    "{PBKDF2}$1$salt$five$8c79",
    "{PBKDF2}$1$salt$5",
    "{PBKDF2}$1$salt$0$8c79",
    "{PBKDF2-SHA256}nonsense",
    "$pbkdf2-sha256$1",
]


@pytest.mark.parametrize("stored", DAMAGED)
def test_damaged_hash_is_a_wrong_password_and_told(stored):
    assert is_known_hash(stored)
    verdict = QUICK.check(stored, HORSE)
    assert not verdict.is_right
    assert verdict.trouble.startswith("the stored password hash cannot be checked: ")


@pytest.mark.parametrize("stored", ["", "secret", "{PLAIN}secret", "{MD5}x", "$y$j9T$x$y", "$apr1$x$y", "!", "*", "{}"])
def test_unknown_kind_is_a_wrong_password_and_told(stored):
    assert not is_known_hash(stored)
    verdict = QUICK.check(stored, "secret")
    assert not verdict.is_right
    assert verdict.trouble == "this kind of password hash is not known here"


def test_decoy_is_a_hash_of_our_kind_that_nothing_fits():
    decoy = QUICK.decoy()
    assert QUICK.check(decoy, "secret") == Verdict(False)
    assert QUICK.check(decoy, "") == Verdict(False)
    assert decoy != QUICK.decoy()
    assert len(decoy) == len(QUICK.hash("secret"))


def test_impossible_password_takes_as_long_as_a_wrong_one():
    passwords = Passwords()
    stored = passwords.hash("secret")
    times = []
    for password in ("wrong", "x" * 5000):
        began = time.process_time()
        for _ in range(3):
            passwords.check(stored, password)
        times.append(time.process_time() - began)
    assert times[1] > times[0] / 3


def test_generated_passwords_can_be_read_aloud():
    one, other = generate_password(), generate_password()
    assert one != other
    assert re.fullmatch("[a-hjkmnp-z2-9]{5}(-[a-hjkmnp-z2-9]{5}){3}", one)
    assert weakness(one, Mailbox("alice", "example.org")) is None


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "it is short: 5 characters; 10 or more are better"),
        ("password123", "it is one of the first that are tried"),
        ("PASSWORD123", "it is one of the first that are tried"),
        ("aaaaaaaaaaaa", "it is one of the first that are tried"),
        ("abababababab", "it is one of the first that are tried"),
        ("alice-2024-!", "it is little more than the address"),
        ("example1234", "it is little more than the address"),
        ("correct horse battery staple", None),
        ("alice-in-wonderland-went-home", None),
        ("Xk2!mmw9QzP", None),
    ],
)
def test_weak_passwords_are_told(password, why):
    assert weakness(password, Mailbox("alice", "example.org")) == why
