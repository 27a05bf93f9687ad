"""Sessions under random conversations: one answer a command, no message that nobody sent, the same at every cut."""

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.session.smtp_profile import SMTP, SUBMISSIONS
from tests.fakes.smtp import World, plain

GOOD = f"AUTH PLAIN {plain('alice@example.test', 'correct horse')}\r\n".encode()
WORDS = [
    b"EHLO x\r\n",
    b"HELO x\r\n",
    b"MAIL FROM:<far@outside.example>\r\n",
    b"MAIL FROM:<alice@example.test> SIZE=100\r\n",
    b"MAIL FROM:<> RET=HDRS\r\n",
    b"RCPT TO:<alice@example.test>\r\n",
    b"RCPT TO:<bob@example.test> NOTIFY=SUCCESS\r\n",
    b"RCPT TO:<friend@example.test>\r\n",
    b"RCPT TO:<nobody@example.test>\r\n",
    b"RCPT TO:<victim@far.example>\r\n",
    b"DATA\r\n",
    b"BDAT 7\r\n",
    b"BDAT 5 LAST\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT no\r\n",
    b"From: alice@example.test\r\n",
    b"Delivered-To: alice@example.test\r\n",
    b"\r\n",
    b"hello\r\n",
    b"..\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"a\nb\r\n",
    b"\0",
    b"\r",
    b"\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY x\r\n",
    b"QUIT\r\n",
    GOOD,
    b"AUTH LOGIN\r\n",
    b"*\r\n",
    b"AUTH PLAIN !\r\n",
    b"x" * 3000,
    b"X" * 300_000 + b"\r\n",
]

MAIL = b"MAIL FROM:<alice@example.test>\r\n"
# Whole transactions, so that random conversations get somewhere; words between them do the harm.
TRANSACTIONS = [
    MAIL + b"RCPT TO:<alice@example.test>\r\nDATA\r\nSubject: x\r\n\r\n..x\r\n.\r\n",
    MAIL + b"RCPT TO:<bob@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n.\r\n",
    MAIL + b"RCPT TO:<nobody@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n",
    MAIL + b"RCPT TO:<bob@example.test>\r\nBDAT 3\r\na\r\nBDAT 2 LAST\r\n.\r",
    MAIL + b"RCPT TO:<bob@example.test>\r\nBDAT 300000\r\n" + b"Subject: x\r\n\r\n" + b"X" * 299_986,
    MAIL + b"RCPT TO:<bob@example.test>\r\nDATA\r\n" + b"Subject: x\r\n\r\n" + b"X" * 299_986 + b"\r\n.\r\n",
    GOOD + MAIL + b"RCPT TO:<victim@far.example>\r\nDATA\r\nbcc: x\r\n\r\n.\r\n",
]


def play(profile, segments):
    """What was said, what was stored, and how it ended."""
    world = World(slow_after=99)
    client = world.connect(profile)
    said = "".join(client.say(segment) for segment in segments if not client.is_closed)
    stored = [(one.as_filed() if one.acceptance.local else one.content) for one in world.committer.stored]
    return said, stored, client.is_closed, [writer.is_discarded for writer in world.committer.writers]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([SMTP, SUBMISSIONS]),
    st.lists(st.sampled_from(WORDS) | st.sampled_from(TRANSACTIONS), max_size=20),
    st.lists(st.integers(0, 10**7), max_size=8),
)
def test_any_conversation_any_split(profile, words, cuts):
    octets = b"".join(words)
    whole = play(profile, [octets])
    places = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    assert play(profile, [octets[a:b] for a, b in itertools.pairwise(places)])[:3] == whole[:3]
    said, stored, _, _ = whole
    assert len(re.findall(r"(?m)^250 2\.0\.0 \d{13} accepted", said)) == len(stored)
    assert all(line[:3].isdigit() for line in said.splitlines())


COMMANDS = st.sampled_from(
    [word for word in WORDS if b"BDAT" not in word and word.endswith(b"\r\n") and word != b"DATA\r\n"]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(COMMANDS, max_size=15))
def test_one_answer_for_each_line(lines):
    """Without content every line is a command or a SASL response, and gets exactly one answer."""
    world = World(slow_after=99)
    client = world.connect()
    for line in lines:
        said = client.say(line) if not client.is_closed else None
        if said is not None:
            final = [one for one in said.splitlines() if one[3] == " "]
            assert len(final) == line.count(b"\r\n")
