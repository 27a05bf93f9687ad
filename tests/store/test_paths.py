"""From an address to a folder name: plain ones unchanged, ugly ones escaped, none outside the root."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.store.paths import MAX_NAME_OCTETS, maildir_path

ROOT = Path("/srv/maildirs")

# local-part, folder name, why
TABLE = [
    ("alice", "alice", "plain addresses keep their spelling"),
    ("Alice", "alice", "folded"),
    ("alice.b", "alice.b", "a dot inside is harmless"),
    ("alice+shop", "alice+shop", ""),
    ("o'brien", "o'brien", "atext"),
    ("{a}|b~", "{a}|b~", "atext"),
    ("alice.", "alice.", "a trailing dot is harmless on Unix"),
    ("-rf", "-rf", "always below a folder, so never an option"),
    ("jörg", "jörg", "UTF-8 as it is"),
    ("JÖRG", "jörg", "folded"),
    ("jo\u0308rg", "jörg", "NFC"),
    ("用户", "用户", "UTF-8 as it is"),
    ("..", "%2e.", "the parent folder"),
    (".", "%2e", "the folder itself"),
    ("...", "%2e..", ""),
    (".hidden", "%2ehidden", "a leading dot hides, and is a sub-folder in Maildir++"),
    ("../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd", ""),
    ("/etc/passwd", "%2fetc%2fpasswd", "an absolute path would replace the root"),
    ("a/b", "a%2fb", ""),
    ("a%2fb", "a%252fb", "the escape itself is escaped"),
    ("50%off", "50%25off", ""),
    ("a\0b", "a%00b", "NUL"),
    ("a\nb", "a%0ab", "a line end"),
    ("a\x1b[2Jb", "a%1b%5b2jb", "what a terminal would obey"),
    ("a b", "a%20b", "a quoted local-part"),
    ('a"b', "a%22b", ""),
    ("a\\b", "a%5cb", ""),
    ("a:b", "a%3ab", "ends the path in other programs' mail_location"),
    ("a@b", "a%40b", "a quoted local-part"),
    ("", "%", 'the local-part of `""@example.org`'),
    ("%", "%25", "not the empty one"),
    ("a\u2028b", "a%e2%80%a8b", "line separator"),
    ("a\u200bb", "a%e2%80%8bb", "zero width: two look alike"),
    ("a\u202eb", "a%e2%80%aeb", "right-to-left override"),
    ("a\x85b", "a%c2%85b", "C1 control"),
    ("a\udc80b", "a%ed%b2%80b", "a lone surrogate cannot be encoded"),
    ("a\uff0fb", "a\uff0fb", "full-width solidus is a letter like others to the file system"),
    ("tmp", "tmp", "beside, not inside, a Maildir"),
    ("|cmd", "|cmd", "no shell ever sees it"),
]


@pytest.mark.parametrize(("local_part", "name", "why"), TABLE, ids=[ascii(row[0]) for row in TABLE])
def test_local_part_becomes_this_folder(local_part, name, why):
    assert maildir_path(ROOT, Mailbox(local_part, "example.org")) == ROOT / "example.org" / name


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("example.org", "example.org"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_dmarc.example", "_dmarc.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        # No parser gives these; a path must not depend on that.
        ("..", "%2e."),
        ("../x", "%2e.%2fx"),
        ("/", "%2f"),
        (".example", "%2eexample"),
        ("a\0", "a%00"),
    ],
)
def test_domain_becomes_this_folder(domain, name):
    assert maildir_path(ROOT, Mailbox("alice", domain)) == ROOT / name / "alice"


def test_bare_postmaster_has_no_maildir():
    with pytest.raises(ValueError, match="postmaster has no domain"):
        maildir_path(ROOT, Mailbox("postmaster", ""))


def test_longest_plain_name_is_kept():
    assert maildir_path(ROOT, Mailbox("a" * 255, "example.org")).name == "a" * 255


def test_over_long_names_are_cut_and_stay_different():
    first = maildir_path(ROOT, Mailbox("a" * 256, "example.org")).name
    second = maildir_path(ROOT, Mailbox("a" * 257, "example.org")).name
    assert first != second
    assert {len(first), len(second)} == {MAX_NAME_OCTETS}
    assert first.startswith("a" * 200)


def test_cut_does_not_go_through_a_character():
    name = maildir_path(ROOT, Mailbox("a" + "é" * 200, "example.org")).name
    assert len(name.encode()) <= MAX_NAME_OCTETS
    assert "\ufffd" not in name


texts = st.text(max_size=300) | st.text(alphabet="./%2e\0a:~", max_size=12)


@given(texts, texts)
def test_path_is_two_levels_below_the_root_for_any_text(local_part, domain):
    path = maildir_path(ROOT, Mailbox(local_part, domain or "x"))
    assert path.parts[: len(ROOT.parts)] == ROOT.parts
    assert len(path.parts) == len(ROOT.parts) + 2
    for name in path.parts[-2:]:
        assert name not in (".", "..") and not name.startswith(".")
        assert "/" not in name and "\0" not in name
        assert 0 < len(name.encode("utf-8")) <= MAX_NAME_OCTETS


@given(texts, texts)
def test_different_mailboxes_have_different_paths(one, other):
    first, second = Mailbox(one, "example.org"), Mailbox(other, "example.org")
    assert (first.folded == second.folded) == (maildir_path(ROOT, first) == maildir_path(ROOT, second))


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789+_-=", min_size=1, max_size=64))
def test_plain_addresses_are_unchanged(local_part):
    mailbox = parse_mailbox(f"{local_part}@example.org")
    assert isinstance(mailbox, Mailbox)
    assert maildir_path(ROOT, mailbox) == ROOT / "example.org" / local_part
