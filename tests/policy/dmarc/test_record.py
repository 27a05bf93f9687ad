"""DMARC records: what is one, and what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.policy.dmarc.record import Alignment, DmarcRecord, Policy, PublicSuffix, is_dmarc, only_record
from mailserver.policy.dmarc.record import parse_record as parse

NONE, QUARANTINE, REJECT = Policy.NONE, Policy.QUARANTINE, Policy.REJECT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v=DMARC1", True),
        ("v=DMARC1;", True),
        ("v=DMARC1; p=none", True),
        ("v = DMARC1 ;p=none", True),
        ("V=DMARC1; p=none", True),
        ("v=dmarc1; p=none", False),  # the value is case-sensitive
        ("v=DMARC10; p=none", False),
        ("v=DMARC2; p=none", False),
        ("p=none; v=DMARC1", False),
        (" v=DMARC1; p=none", False),
        ("v=spf1 -all", False),
        ("", False),
    ],
)
def test_what_is_a_record(text, expected):
    assert is_dmarc(text) is expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", DmarcRecord()),
        ("p=reject", DmarcRecord(REJECT)),
        ("p=Quarantine", DmarcRecord(QUARANTINE)),
        ("P = reject", DmarcRecord(REJECT)),
        ("sp=reject", DmarcRecord(NONE, REJECT)),
        ("p=none; sp=quarantine; np=reject", DmarcRecord(NONE, QUARANTINE, REJECT)),
        ("p=reject; p=none", DmarcRecord(REJECT)),
        ("p=reject; pct=0", DmarcRecord(REJECT)),
        ("p=reject; rf=afrf; ri=3600; new=thing; ;; nonsense; =x; a-b=c", DmarcRecord(REJECT)),
        ("p=reject; adkim=s; aspf=S", DmarcRecord(REJECT, dkim=Alignment.STRICT, spf=Alignment.STRICT)),
        ("p=reject; adkim=x; aspf=", DmarcRecord(REJECT)),
        ("p=reject; psd=y", DmarcRecord(REJECT, public_suffix=PublicSuffix.YES)),
        ("p=reject; psd=N", DmarcRecord(REJECT, public_suffix=PublicSuffix.NO)),
        ("p=reject; psd=maybe", DmarcRecord(REJECT)),
        ("p=reject; t=y", DmarcRecord(REJECT, is_testing=True)),
        ("p=reject; t=n", DmarcRecord(REJECT)),
        ("p=reject; t=yes", DmarcRecord(REJECT)),
        ("p=none; fo=1:d:x", DmarcRecord(failure_options=("1", "d"))),
        ("p=none; ruf=mailto:f@a.example", DmarcRecord(failures_to=("mailto:f@a.example",))),
        # A policy that cannot be read: nothing is asked for, and without reports the record is none.
        ("p=refuse", DmarcRecord(is_void=True)),
        ("p=reject; sp=x", DmarcRecord(is_void=True)),
        ("p=reject; np=", DmarcRecord(is_void=True)),
        ("p=reject; np=x; psd=n; t=y", DmarcRecord(is_void=True, public_suffix=PublicSuffix.NO, is_testing=True)),
        ("p=reject; sp=x; rua=mailto:r@a.example", DmarcRecord(reports_to=("mailto:r@a.example",))),
        ("p=x; rua=r@a.example", DmarcRecord(is_void=True)),
    ],
)
def test_tags(tags, expected):
    assert parse(f"v=DMARC1; {tags}") == expected


@pytest.mark.parametrize(
    ("rua", "expected"),
    [
        ("mailto:a@b.example,mailto:c@d.example!10m", ("mailto:a@b.example", "mailto:c@d.example")),
        (" mailto:a@b.example , https://r.example/x?y=z ", ("mailto:a@b.example", "https://r.example/x?y=z")),
        ("mailto:a%2Cb@c.example", ("mailto:a%2Cb@c.example",)),
        ("MAILTO:a@b.example", ("MAILTO:a@b.example",)),
        ("a@b.example,mailto:,mailto:b.example,,:", ()),
        (",".join(f"mailto:a{n}@b.example" for n in range(50)), tuple(f"mailto:a{n}@b.example" for n in range(10))),
    ],
)
def test_report_addresses(rua, expected):
    assert parse(f"v=DMARC1; p=none; rua={rua}").reports_to == expected


def test_of_several_records_none_counts():
    assert only_record(["x", "v=DMARC1; p=reject", "v=spf1 -all"]) == DmarcRecord(REJECT)
    assert only_record(["v=DMARC1; p=reject", "v=DMARC1; p=reject"]) is None
    assert only_record(["v=spf1 -all"]) is None
    assert only_record([]) is None


def test_policies_for_names_below():
    assert [parse(f"v=DMARC1; {tags}").below for tags in ("p=reject", "p=reject; sp=none")] == [REJECT, NONE]
    for tags, expected in [
        ("p=reject", REJECT),
        ("p=none; sp=quarantine", QUARANTINE),
        ("p=none; np=reject", REJECT),
        ("p=reject; sp=reject; np=none", NONE),
    ]:
        assert parse(f"v=DMARC1; {tags}").below_nonexistent is expected


def test_trying_it_out_lowers_one_step():
    assert [one.lowered for one in (REJECT, QUARANTINE, NONE)] == [QUARANTINE, NONE, NONE]


@given(st.text(max_size=200))
def test_any_text_can_be_read(text):
    parse("v=DMARC1;" + text)
    only_record([text, "v=DMARC1;" + text])
