"""The verdict of DMARC: which record counts, what is in alignment, what is asked for, what is done."""

import pytest

from mailserver.policy.dmarc.evaluation import Identifiers, check_dmarc
from mailserver.policy.dmarc.fields import method_result
from mailserver.policy.dmarc.record import Policy
from mailserver.policy.dmarc.result import Authors, Disposition, DmarcResult, DmarcVerdict, disposition, strictest
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.policy.spf.zone import ZoneResolver


def check(zone, *authors, spf=(), dkim=(), undecided_spf=(), undecided_dkim=()):
    """`zone` maps domains to the tags of their records; `=name` is a name with all its records."""
    entries = {name[1:]: records for name, records in zone.items() if name.startswith("=")}
    for name, tags in zone.items():
        if not name.startswith("="):
            entries[f"_dmarc.{name}"] = ["TIMEOUT"] if tags is None else [("TXT", f"v=DMARC1; {tags}")]
    identifiers = Identifiers(*map(frozenset, (spf, dkim, undecided_spf, undecided_dkim)))
    return run(check_dmarc(Authors(authors), identifiers, ZoneResolver(entries), FakeClock()))


def verdict(*arguments, **identifiers):
    (result,) = check(*arguments, **identifiers)
    return str(result)


# The domains of the examples in RFC 9989 4.4 and appendix B, and their relatives.
ALIGNMENT = [
    # author, record's tags, identifiers by method, whether one is in alignment
    ("example.com", "", {"spf": ["example.com"]}, True),
    ("example.com", "", {"spf": ["news.example.com"]}, True),
    ("example.com", "aspf=s", {"spf": ["news.example.com"]}, False),
    ("example.com", "aspf=s", {"spf": ["example.com"]}, True),
    ("example.com", "aspf=s", {"dkim": ["news.example.com"]}, True),
    ("example.com", "adkim=s", {"dkim": ["news.example.com"]}, False),
    ("example.com", "adkim=s", {"dkim": ["example.com"]}, True),
    ("example.com", "adkim=s; aspf=s", {"dkim": ["news.example.com"], "spf": ["example.com"]}, True),
    ("news.example.com", "", {"dkim": ["example.com"]}, True),
    ("news.example.com", "", {"dkim": ["other.example.com"]}, True),
    ("news.example.com", "adkim=s", {"dkim": ["example.com"]}, False),
    ("example.com", "", {"dkim": ["com"]}, False),
    ("example.com", "", {"dkim": ["notexample.com", "example.com.evil.example", "example.net"]}, False),
    ("example.com", "", {"dkim": ["evil.example", "a.example.com"]}, True),
    ("example.com", "", {}, False),
]


@pytest.mark.parametrize(("author", "tags", "identifiers", "is_aligned"), ALIGNMENT)
def test_alignment(author, tags, identifiers, is_aligned):
    found = verdict({"example.com": f"p=reject; {tags}"}, author, **identifiers)
    assert found == f"{'pass' if is_aligned else 'fail'} {author} reject"


@pytest.mark.parametrize(
    ("zone", "author", "dkim", "expected"),
    [
        # A department that is an organization of its own.
        ({"example.com": "p=none", "dept.example.com": "p=reject; psd=n"}, "dept.example.com", "example.com", "fail"),
        ({"example.com": "p=none", "dept.example.com": "p=reject; psd=n"}, "example.com", "dept.example.com", "fail"),
        (
            {"example.com": "p=none", "dept.example.com": "p=reject; psd=n"},
            "a.dept.example.com",
            "dept.example.com",
            "pass",
        ),
        ({"example.com": "p=none", "dept.example.com": "p=reject"}, "dept.example.com", "example.com", "pass"),
        # Two who registered below the same public suffix.
        ({"suffix": "p=reject; psd=y"}, "one.suffix", "two.suffix", "fail"),
        ({"suffix": "p=reject; psd=y"}, "one.suffix", "suffix", "fail"),
        ({"suffix": "p=reject; psd=y"}, "one.suffix", "a.one.suffix", "pass"),
        ({"suffix": "p=reject; psd=y"}, "suffix", "one.suffix", "fail"),
        ({"suffix": "p=reject; psd=y"}, "suffix", "suffix", "pass"),
    ],
)
def test_organizations(zone, author, dkim, expected):
    assert verdict(zone, author, dkim=[dkim]).split()[0] == expected


EXISTS = {"=gone.example.com": []}


@pytest.mark.parametrize(
    ("zone", "author", "asked"),
    [
        ({"example.com": "p=reject; sp=none"}, "example.com", "reject"),
        ({"example.com": "p=reject; sp=none; np=none"}, "example.com", "reject"),
        ({"example.com": "p=reject"}, "a.example.com", "reject"),
        ({"example.com": "p=none; sp=quarantine"}, "a.example.com", "quarantine"),
        ({"example.com": "p=none; np=reject"}, "gone.example.com", "reject"),
        ({"example.com": "p=none; np=reject", **EXISTS}, "gone.example.com", "none"),
        ({"example.com": "p=none; sp=quarantine; np=reject", **EXISTS}, "gone.example.com", "quarantine"),
        ({"example.com": "sp=reject"}, "a.example.com", "reject"),
        ({"example.com": "sp=reject"}, "example.com", "none"),
        ({"example.com": "p=reject", "a.example.com": "p=quarantine"}, "a.example.com", "quarantine"),
        # The record between a name and its organization does not count.
        ({"example.com": "p=reject", "b.example.com": "p=none"}, "a.b.example.com", "reject"),
        ({"example.com": "p=reject", "b.example.com": "p=none; psd=n"}, "a.b.example.com", "none"),
        # A public suffix speaks for who says nothing.
        ({"com": "p=none; sp=reject; psd=y"}, "a.example.com", "reject"),
        ({"com": "p=none; np=reject; psd=y"}, "example.com", "reject"),
        ({"com": "p=none; sp=reject; psd=y"}, "com", "none"),
        ({"com": "p=none; sp=reject; psd=y", "example.com": "p=quarantine"}, "a.example.com", "quarantine"),
        # Who only tries it out.
        ({"example.com": "p=reject; t=y"}, "example.com", "quarantine"),
        ({"example.com": "p=quarantine; t=y"}, "example.com", "none"),
        ({"example.com": "p=none; np=reject; t=y"}, "gone.example.com", "quarantine"),
        ({"example.com": "p=reject; pct=0"}, "example.com", "reject"),
        # A policy that cannot be read, with and without somebody who wants reports.
        ({"example.com": "p=reject; sp=x; rua=mailto:a@example.com"}, "example.com", "none"),
    ],
)
def test_what_is_asked_for(zone, author, asked):
    assert verdict(zone, author) == f"fail {author} {asked}"


@pytest.mark.parametrize(
    "zone",
    [
        {},
        {"example.com": "p=x"},
        {"com": "p=y; psd=y"},
        {"=_dmarc.example.com": [("TXT", "v=DMARC1; p=reject"), ("TXT", "v=DMARC1; p=none")]},
        {"=_dmarc.example.com": [("TXT", "v=DMARC2; p=reject")]},
        {"other.com": "p=reject"},
    ],
)
def test_nobody_asks(zone):
    assert verdict(zone, "example.com", spf=["other.example"]) == "none example.com"


@pytest.mark.parametrize(
    ("zone", "identifiers", "expected"),
    [
        ({"example.com": None}, {"spf": ["example.com"]}, "temperror example.com (_dmarc.example.com: no answer)"),
        ({"com": None}, {}, "temperror example.com (_dmarc.com: no answer)"),
        # What needs no further question is known.
        ({"example.com": "p=reject", "com": None}, {"dkim": ["example.com"]}, "pass example.com reject"),
        ({"example.com": "p=reject", "com": None}, {}, "fail example.com reject"),
        (
            {"example.com": "p=reject", "com": None},
            {"dkim": ["a.example.com"]},
            "temperror example.com (_dmarc.com: no answer)",
        ),
        # Another one is in alignment, whatever this one is.
        (
            {"example.com": "p=reject", "a.example.com": None},
            {"dkim": ["a.example.com", "b.example.com"]},
            "pass example.com reject",
        ),
        (
            {"example.com": "p=reject", "a.example.com": None},
            {"dkim": ["a.example.com"]},
            "temperror example.com (_dmarc.a.example.com: no answer)",
        ),
        # SPF or DKIM could not be told.
        (
            {"example.com": "p=reject"},
            {"undecided_dkim": ["a.example.com"]},
            "temperror example.com (SPF or DKIM could not be checked now)",
        ),
        (
            {"example.com": "p=reject"},
            {"undecided_spf": ["example.com"]},
            "temperror example.com (SPF or DKIM could not be checked now)",
        ),
        ({"example.com": "p=reject"}, {"undecided_spf": ["other.example"]}, "fail example.com reject"),
        ({"example.com": "p=reject; adkim=s"}, {"undecided_dkim": ["a.example.com"]}, "fail example.com reject"),
    ],
)
def test_what_cannot_be_told_now(zone, identifiers, expected):
    assert verdict(zone, "example.com", **identifiers) == expected


def test_whether_a_name_exists_cannot_be_told_now():
    zone = {"example.com": "p=none; np=reject", "=a.example.com": ["TIMEOUT"]}
    assert verdict(zone, "a.example.com") == "temperror a.example.com (a.example.com: no answer)"


def test_an_address_literal_has_no_owner():
    assert verdict({}, "[192.0.2.1]").startswith("none [192.0.2.1]")


def test_questions_are_few():
    resolver = ZoneResolver({"_dmarc.example.com": [("TXT", "v=DMARC1; p=reject")]})
    own = Identifiers(dkim=frozenset(("example.com",)))
    run(check_dmarc(Authors(("example.com",)), own, resolver, FakeClock()))
    assert len(resolver.questions) == 1
    strangers = Identifiers(dkim=frozenset(f"s{n}.evil.example" for n in range(5)))
    run(check_dmarc(Authors(("example.com",)), strangers, resolver, FakeClock()))
    assert len(resolver.questions) == 3


# --- several authors, and what is done --------------------------------------------------------------------------------

TWO = {"a.example": "p=reject", "b.example": "p=none", "example": "psd=y"}


@pytest.mark.parametrize(
    ("authors", "passing", "expected"),
    [
        (["a.example", "b.example"], ["a.example", "b.example"], "pass"),
        (["b.example", "a.example"], ["b.example"], "fail a.example reject"),
        (["a.example", "b.example"], ["a.example"], "fail b.example none"),
        (["a.example", "x.test"], ["a.example"], "none x.test"),
    ],
)
def test_the_strictest_of_several_authors(authors, passing, expected):
    assert str(strictest(check(TWO, *authors, dkim=passing))).startswith(expected)


@pytest.mark.parametrize(
    ("authors", "policy"),
    [(Authors(problem="none"), Policy.NONE), (Authors(problem="bad", is_suspect=True), Policy.REJECT)],
)
def test_no_author(authors, policy):
    (found,) = run(check_dmarc(authors, Identifiers(), ZoneResolver({}), FakeClock()))
    assert found == DmarcResult(DmarcVerdict.PERMERROR, policy=policy, problem=authors.problem)


NOTHING = dict.fromkeys(DmarcVerdict, ("none", "none", "none"))
TRUTH = NOTHING | {
    DmarcVerdict.FAIL: ("none", "quarantine", "reject"),
    DmarcVerdict.PERMERROR: ("none", "quarantine", "reject"),
}


@pytest.mark.parametrize("found", list(DmarcVerdict))
@pytest.mark.parametrize("is_enforced", [True, False])
def test_what_is_done(found, is_enforced):
    done = tuple(
        disposition(DmarcResult(found, "a.example", policy), is_enforced=is_enforced).value for policy in Policy
    )
    assert done == (TRUTH if is_enforced else NOTHING)[found]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            DmarcResult(DmarcVerdict.FAIL, "a.b.example", Policy.REJECT, "b.example"),
            (
                "fail",
                (("header.from", "a.b.example"), ("policy.dmarc", "reject")),
                "b.example asks for reject, done: none",
            ),
        ),
        (
            DmarcResult(DmarcVerdict.FAIL, "b.example", Policy.QUARANTINE, "b.example", is_testing=True),
            (
                "fail",
                (("header.from", "b.example"), ("policy.dmarc", "quarantine")),
                "b.example asks for quarantine, and only tries DMARC out, done: none",
            ),
        ),
        (
            DmarcResult(DmarcVerdict.PASS, "b.example", Policy.NONE, "b.example", "a.b.example"),
            ("pass", (("header.from", "b.example"), ("policy.dmarc", "none")), "a.b.example answers for it"),
        ),
        (
            DmarcResult(DmarcVerdict.NONE, "b.example"),
            ("none", (("header.from", "b.example"),), "b.example publishes no DMARC record"),
        ),
        (
            DmarcResult(DmarcVerdict.PERMERROR, problem="there is no From field"),
            ("permerror", (("header.from", ""),), "there is no From field"),
        ),
    ],
)
def test_as_part_of_authentication_results(result, expected):
    found = method_result(result, Disposition.NONE)
    assert (found.result, found.properties, found.comment) == expected
    assert found.method == "dmarc"
