"""Records and macro strings as values (RFC 7208 4.6, 7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.fault import SyntaxFault
from mailserver.policy.spf.macros import (
    DOMAIN_LETTERS,
    TEXT_LETTERS,
    Macro,
    as_name,
    expand,
    parse_domain_spec,
    parse_macro_string,
)
from mailserver.policy.spf.record import MAX_RECORD_OCTETS, Kind, is_spf, parse_record
from mailserver.policy.spf.result import SpfVerdict


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("v=spf1", True),
        ("V=SPF1 -all", True),
        ("v=spf10 -all", False),
        ("v=spf1-all", False),
        (" v=spf1", False),
        ("v=spf2.0/pra", False),
        ("", False),
    ],
)
def test_what_is_an_spf_record(text, is_one):
    assert is_spf(text) is is_one


def test_a_record_is_read_whole():
    record = parse_record(
        "v=spf1  a:%{d}/24//64 -ip4:192.0.2.9/24 ~include:x.example redirect=y.example exp=z.example. "
    )
    a, ip4, include = record.directives
    assert (a.kind, a.verdict, a.length4, a.length6) == (Kind.A, SpfVerdict.PASS, 24, 64)
    assert a.domain == (Macro("d"),)
    assert str(ip4.network) == "192.0.2.0/24"
    assert (include.verdict, include.text) == (SpfVerdict.SOFTFAIL, "~include:x.example")
    assert record.redirect == ("y.example",)
    assert record.explanation == ("z.example.",)


@pytest.mark.parametrize(
    "term",
    [
        "moo",  # unknown mechanism
        "all.",
        "all/8",
        "a:",
        "a/33",
        "a/032",
        "a//129",
        "a:example.org/24/64",
        "a:localhost",  # no top-level domain
        "a:example.123",
        "a:example.com:8080",
        "mx:/24",
        "ptr:",
        "ptr/0",
        "ip4",
        "ip4:192.0.2",
        "ip4:192.0.2.1//32",
        "ip4:192.0.02.1",
        "ip4:2001:db8::1",
        "ip6:192.0.2.1",
        "ip6:fe80::1%eth0",
        "ip6:2001:db8::/129",
        "include",
        "include:%{x}.example",
        "exists:%",
        "exists:%{d0}.example",
        "exists:%{c}.example",  # only in explanations
        "redirect:example.org",
        "redirect=",
        "exp=-all",
        "1up=x",
        "other=%",
        "+",
        "--all",
        "a:ex\u00e4mple.org",
        "a\tmx",
    ],
)
def test_a_fault_anywhere_spoils_the_record(term):
    """RFC 7208 4.6."""
    fault = parse_record(f"v=spf1 ip4:192.0.2.1 {term} -all")
    assert isinstance(fault, SyntaxFault)
    assert fault.reason.isascii() and fault.reason.isprintable() and len(fault.reason) < 200


@pytest.mark.parametrize("modifier", ["exp=a.example exp=b.example", "redirect=a.example REDIRECT=b.example"])
def test_a_known_modifier_is_there_once(modifier):
    assert isinstance(parse_record(f"v=spf1 {modifier}"), SyntaxFault)


def test_a_record_without_end_is_refused():
    assert isinstance(parse_record("v=spf1 " + "ip4:192.0.2.1 " * (MAX_RECORD_OCTETS // 14 + 1)), SyntaxFault)


VALUES = {"s": "strong-bad@email.example.com", "o": "email.example.com", "d": "email.example.com", "l": "strong-bad"}
VALUES |= {"i": "192.0.2.3", "v": "in-addr", "h": "mx", "p": "mx.example.org", "c": "192.0.2.3", "r": "us", "t": "17"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # RFC 7208 7.4
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("%%%_%-", "% %20"),
        ("%{d99999999999999999999}", "email.example.com"),
    ],
)
def test_macros_expand_as_in_the_standard(text, wanted):
    assert expand(parse_macro_string(text, TEXT_LETTERS), VALUES) == wanted


@given(st.text(alphabet="%{}sldrtc0129rR-.+,/_= ab", max_size=40))
def test_any_text_is_read_or_refused(text):
    parts = parse_macro_string(text, TEXT_LETTERS)
    if not isinstance(parts, SyntaxFault):
        assert isinstance(expand(parts, VALUES), str)
    parse_domain_spec(text)


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=80))
def test_any_record_is_read_or_refused(text):
    parse_record("v=spf1 " + text)


def test_letters_of_explanations_are_not_for_domains():
    assert isinstance(parse_macro_string("%{T}", DOMAIN_LETTERS), SyntaxFault)


def test_a_long_name_loses_its_left_labels():
    """RFC 7208 7.3."""
    name = as_name("a" * 60 + "." + ("b" * 61 + ".") * 4 + "Example.")
    assert len(name) <= 253 and name.endswith("b.example") and not name.startswith("a")
