"""Names of files in a Maildir: ours and everybody's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.store.maildir_names import (
    MAX_HOST_OCTETS,
    base_of,
    build_name,
    delivery_order,
    host_part,
    parse_name,
    unique_of,
    with_flag,
)


def test_a_name_says_when_who_where_and_how_large():
    name = build_name(1750000000, 42, 4711, 9, "mail.example.org", 100, 104)
    assert name == "1750000000.M000042P4711Q9.mail.example.org,S=100,W=104"
    parsed = parse_name(name)
    assert parsed.unique == "1750000000.M000042P4711Q9.mail.example.org"
    assert (parsed.stored_octets, parsed.wire_octets, parsed.flags) == (100, 104, "")


@given(st.text(max_size=300))
def test_no_host_name_makes_a_name_other_programs_cannot_read(host):
    part = host_part(host)
    assert 0 < len(part) <= MAX_HOST_OCTETS
    assert part.isascii() and part.isprintable()
    assert not set(part) & set("/:, \0")
    name = build_name(2**33, 999999, 4194304, 10**15, host, 10**12, 10**12)
    assert len(unique_of(name)) <= 70 and len(name) <= 110 and not name.startswith(".")


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("a/b:c", r"a\057b\072c"),  # as D. J. Bernstein's page asks
        ("a,b", r"a\054b"),  # a comma would end the unique part
        ("x" * 40, "x" * 24),
        ("x" * 22 + "/y", "x" * 22),  # an escape is never cut in two
        ("", "localhost"),
    ],
)
def test_host_part(host, part):
    assert host_part(host) == part


@pytest.mark.parametrize(
    ("name", "unique", "stored", "wire", "flags"),
    [
        ("1700000000.M123P45.host,S=10,W=12:2,FS", "1700000000.M123P45.host", 10, 12, "FS"),  # Dovecot
        ("1700000000.M123P45.host,W=12,S=10", "1700000000.M123P45.host", 10, 12, ""),
        ("1700000000.R1234567890.host:2,S", "1700000000.R1234567890.host", None, None, "S"),  # neomutt
        ("1700000000.4711_3.host:2,", "1700000000.4711_3.host", None, None, ""),  # mutt
        ("1700000000.Vfd01I2aM99.host", "1700000000.Vfd01I2aM99.host", None, None, ""),  # Postfix
        ("1700000000.H1P2.host,S=5:1,x", "1700000000.H1P2.host", 5, None, ""),  # experimental info
        ("letter", "letter", None, None, ""),
        ("a,W=1_0,S=+5", "a", None, None, ""),  # int() would take these
        ("a,W=\uff11\uff12", "a", None, None, ""),
        ("a,W=", "a", None, None, ""),
        ("a,W=9999999999999999999", "a", None, None, ""),
        ("a:2,S,W=5", "a", None, None, "S,W=5"),  # a size behind the colon is a flag of Dovecot's, not a size
    ],
)
def test_names_of_all_kinds(name, unique, stored, wire, flags):
    parsed = parse_name(name)
    assert (parsed.unique, parsed.stored_octets, parsed.wire_octets, parsed.flags) == (unique, stored, wire, flags)
    assert unique_of(name) == unique
    assert base_of(name) == name.partition(":")[0]


def test_delivery_order_is_time_then_counter_not_text():
    ordered = [
        "letter",
        "999.1.host",
        "1700000000.M5P1Q1.h",
        "1700000000.M000006P1Q9.h",
        "1700000000.M6P1Q10.h:2,S",
        "1700000000.M123456P1.h",
        "1700000001.4711_2.h",
        "1700000001.4711_10.h",
        "1700000002.1.h",
    ]
    assert sorted(ordered[4:] + ordered[:4], key=delivery_order) == ordered


def test_flags_change_the_name_only_behind_the_colon():
    assert with_flag("a,S=1,W=2", "S") == "a,S=1,W=2:2,S"
    assert with_flag("a:2,RF", "S") == "a:2,FRS"
    assert with_flag("a:2,S", "S") == "a:2,S"
    assert with_flag("a:2,Sab", "S") == "a:2,Sab"
