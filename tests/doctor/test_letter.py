"""The mail to the postmaster."""

import pytest

from mailserver.doctor.changes import Changes
from mailserver.doctor.check import Check, Verdict
from mailserver.doctor.letter import subject, text

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
HOST = "mail.example.org"
BROKEN = Check("dkim", FAIL, "mail from example.org is not signed", "mailserver dkim create example.org")
DOUBTFUL = Check("clock", WARN, "no time service keeps it right", "apt-get install chrony")
MENDED = Check("disk", PASS, "77 GB free at /var")
LOST = Check("lists", UNKNOWN, "no list could be asked", "run a resolver")


def changes(worse=(), mended=(), lost=()):
    return Changes(tuple(worse), tuple(mended), tuple(lost), {})


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (changes([BROKEN]), "something does not work"),
        (changes([BROKEN, BROKEN]), "2 things do not work"),
        (changes([DOUBTFUL]), "something to look at"),
        (changes([], [MENDED]), "something is mended"),
        (changes([], [MENDED] * 3), "3 things are mended"),
        (changes(lost=[LOST]), "something cannot be checked"),
        (
            changes([BROKEN, DOUBTFUL], [MENDED], [LOST]),
            "something does not work, something to look at, something cannot be checked, something is mended",
        ),
    ],
)
def test_the_subject_tells_the_worst_first(about, words):
    assert subject(about, HOST) == f"{HOST}: {words}"


def test_the_text_is_readable():
    assert text(changes([DOUBTFUL, BROKEN], [MENDED], [LOST]), HOST, is_first=False) == (
        "The mail server mail.example.org has looked after itself as each day. This\n"
        "is what has changed.\n\n"
        "These do not work:\n\n"
        "* dkim: mail from example.org is not signed\n"
        "  -> mailserver dkim create example.org\n\n"
        "These work, and should be seen to:\n\n"
        "* clock: no time service keeps it right\n"
        "  -> apt-get install chrony\n\n"
        "These could not be checked for three days:\n\n"
        "* lists: no list could be asked\n"
        "  -> run a resolver\n\n"
        "These are mended, or better than they were:\n\n"
        "* disk: 77 GB free at /var\n\n"
        "See how everything stands:\n\n"
        "    mailserver doctor\n\n"
        "You get this mail only when something has changed. docs/doctor.md explains\n"
        "each check; [doctor] in the configuration turns the daily look off.\n"
    )


def test_lines_are_short_but_for_what_is_to_be_copied():
    record = "sel._domainkey.example.org. 3600 IN TXT " + '"' + "x" * 200 + '"'
    long = Check("dns", FAIL, "word " * 60, f"publish {record}")
    lines = text(changes([long]), HOST, is_first=True).splitlines()
    assert '"' + "x" * 200 + '"' in "\n".join(lines)
    assert all(len(line) <= 76 or "xxx" in line for line in lines)
    assert "for the first time" in lines[0]


def test_what_strangers_publish_cannot_break_lines():
    nasty = Check("names", FAIL, "called evil\r\nSubject: x\x1b[31m", "ask")
    told = text(changes([nasty]), HOST, is_first=False)
    assert "\x1b" not in told
    assert "\r" not in told
    assert not any(line.startswith("Subject") for line in told.splitlines())


def test_very_many_are_cut():
    many = [Check("dns", FAIL, f"record {number}", "publish it", str(number)) for number in range(60)]
    told = text(changes(many), HOST, is_first=False)
    assert "* and 20 more" in told
    assert "record 40" not in told
