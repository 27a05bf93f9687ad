"""Every wrapping of a report is opened, and none of those that are made to do harm."""

import gzip
import io
import time
import zipfile
import zlib

import pytest

from mailserver.mail.fault import SyntaxFault
from mailserver.policy.reports import container
from mailserver.policy.reports.container import MAX_OCTETS, MAX_REPORTS, MAX_UNPACKED, reports_in
from tests.policy.reports.samples import GOOGLE, PACKED, alone, mail, zipped


@pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED)
def test_a_report_is_found_however_it_is_packed(packed):
    assert reports_in(packed) == [GOOGLE]


def test_a_report_in_latin_1_or_utf_16_is_found_too():
    assert reports_in(GOOGLE.decode().encode("utf-16")) == [GOOGLE.decode().encode("utf-16")]


def test_a_report_deep_within_a_forwarded_mail_is_found_and_deeper_ones_are_not():
    def within(entity: bytes, depth: int) -> bytes:
        for number in range(depth):
            head = f"Content-Type: multipart/mixed; boundary=b{number}\n\n--b{number}\n".encode()
            entity = head + entity + f"\n--b{number}--\n".encode()
        return entity

    assert reports_in(within(alone(gzip.compress(GOOGLE)), 3)) == [GOOGLE]
    assert reports_in(within(alone(gzip.compress(GOOGLE)), 400)) == []


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\n",
        b"Subject: hello\n\nIs there a report in it?\n",
        b"From nobody",
        mail(b"\x89PNG\r\n", "image/png"),
        mail(b"<html><body>Buy!</body></html>", "text/html"),
        b"Content-Type: multipart/mixed\n\n--b\n\n<?xml?>\n",
        b"Content-Type: multipart/mixed; boundary=" + b"b" * 5000 + b"\n\n--b\n\n<?xml?>\n",
    ],
)
def test_other_mail_is_no_report(octets):
    assert reports_in(octets) == []


def bomb(size: int) -> bytes:
    """`<?xml` and so many blanks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(b"<?xml ")]
    parts += [packer.compress(b" " * 1_000_000) for _ in range(size // 1_000_000)]
    return b"".join([*parts, packer.flush()])


def test_a_bomb_of_gzip_ends_at_the_limit():
    begun = time.process_time()
    [fault] = reports_in(bomb(60_000_000))
    assert isinstance(fault, SyntaxFault)
    assert "more than" in fault.reason
    assert time.process_time() - begun < 5


def test_a_bomb_of_zip_ends_at_the_limit():
    [fault] = reports_in(zipped(b"<?xml " + b" " * (MAX_UNPACKED + 1)))
    assert isinstance(fault, SyntaxFault)


def test_all_reports_of_a_mail_together_have_one_limit():
    half = gzip.compress(b"<?xml " + b" " * (MAX_UNPACKED * 2 // 3))
    two = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: 8bit\n\n"
        + half
        + b"\n--b\nContent-Transfer-Encoding: 8bit\n\n"
        + half
        + b"\n--b--\n"
    )
    found = reports_in(two)
    assert [isinstance(one, SyntaxFault) for one in found] == [False, True]


def test_a_mail_with_many_reports_gives_the_first():
    part = b"--b\n\n<?xml?>\n"
    assert len(reports_in(b"Content-Type: multipart/mixed; boundary=b\n\n" + part * 200 + b"--b--\n")) == MAX_REPORTS


def test_a_mail_of_parts_without_end_costs_little():
    begun = time.process_time()
    parts = b"--b\n\n" * 500_000
    assert reports_in(b"Content-Type: multipart/mixed; boundary=b\n\n" + parts) == []
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("octets", "word"),
    [
        (gzip.compress(GOOGLE)[:40], "cut off"),
        (zipped(GOOGLE)[:60], "cut off"),
        (b"PK\x03\x04", "cut off"),
        (zipped(GOOGLE, method=zipfile.ZIP_STORED)[:200], "cut off"),
        (b"\x1f\x8b" + b"\0" * 50, "cannot be unpacked"),
        (gzip.compress(gzip.compress(GOOGLE)), "no report"),
        (zipped(zipped(GOOGLE)), "no report"),
        (gzip.compress(b"hello"), "no report"),
        (zipped(GOOGLE)[:6] + b"\1\0" + zipped(GOOGLE)[8:], "encrypted"),
        (zipped(GOOGLE, method=zipfile.ZIP_BZIP2), "not known"),
        (b"<?xml" + b" " * MAX_OCTETS, "larger"),
    ],
)
def test_what_cannot_be_unpacked_says_why(octets, word):
    [fault] = reports_in(octets)
    assert isinstance(fault, SyntaxFault)
    assert word in fault.reason


def test_a_zip_that_claims_ten_gigabytes_is_what_it_is():
    """The sizes in its headers are not believed, nor is its directory."""
    octets = bytearray(zipped(GOOGLE))
    octets[18:26] = b"\xff" * 8
    assert reports_in(bytes(octets)) == [GOOGLE]
    several = io.BytesIO()
    with zipfile.ZipFile(several, "w") as archive:
        for number in range(1000):
            archive.writestr(f"{number}.xml", GOOGLE[:100] if number else GOOGLE)
    assert reports_in(several.getvalue()) == [GOOGLE]


def test_nothing_is_unpacked_beyond_a_piece_after_the_limit(monkeypatch):
    given = []
    real = zlib.decompressobj

    class Counting:
        def __init__(self, window):
            self._inner = real(window)

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def decompress(self, octets, most):
            piece = self._inner.decompress(octets, most)
            given.append(len(piece))
            return piece

    monkeypatch.setattr(container.zlib, "decompressobj", Counting)
    reports_in(bomb(40_000_000))
    assert sum(given) <= MAX_UNPACKED + 65536
