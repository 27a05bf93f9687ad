"""One transaction against replies of every kind: who gets which outcome, and what is said next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Stage
from mailserver.mail.reply import Reply
from mailserver.wire.smtp_client import Await, Finished, GiveContent, Say, Terms, Transaction
from mailserver.wire.smtp_extensions import Extensions

A, B, X = (Recipient(Mailbox(name, "example.net")) for name in "abx")
ENVELOPE = Envelope(Mailbox("s", "example.org"), (A, B))
MAIL, RCPT_A, RCPT_B = b"MAIL FROM:<s@example.org>\r\n", b"RCPT TO:<a@example.net>\r\n", b"RCPT TO:<b@example.net>\r\n"


def reply(text):
    code, _, rest = text.partition(" ")
    enhanced, _, words = rest.partition(" ") if rest[:1].isdigit() else ("", "", rest)
    return Reply(int(code), enhanced, (words,))


def play(*texts, pipelining=True, recipients=(A, B), must_reset=False):
    """Feed replies until the transaction ends; the words of what was said, and the transaction."""
    extensions = Extensions(pipelining=pipelining, dsn=True)
    transaction = Transaction(ENVELOPE, recipients, Terms(extensions, "mx", "TLSv1.3"), 7, must_reset=must_reset)
    said = [transaction.start()]
    step = Await()
    for text in texts:
        step = transaction.take(reply(text))
        if isinstance(step, Say):
            said.append(step.octets)
        elif isinstance(step, GiveContent):
            said.append(b"CONTENT")
    return said, step, transaction


def kinds(transaction):
    names = {Delivered: "delivered", Deferred: "deferred", Bounced: "bounced"}
    return "".join(
        "left " if who in transaction.leftover else names[type(transaction.outcomes[who])] + " " for who in (A, B)
    ).strip()


def test_with_pipelining_everything_up_to_data_is_one_write():
    said, step, transaction = play("250 ok", "250 ok", "250 ok", "354 go", "250 2.0.0 taken")
    assert said == [MAIL + RCPT_A + RCPT_B + b"DATA\r\n", b"CONTENT"]
    assert step == Finished(is_usable=True)
    assert transaction.outcomes[A] == Delivered(Reply(250, "2.0.0", ("taken",)), "mx", True, "TLSv1.3")
    assert not transaction.leaves_state


def test_without_pipelining_each_command_waits_for_its_reply():
    said, _, transaction = play("250 ok", "250 ok", "250 ok", "354 go", "250 ok", pipelining=False)
    assert said == [MAIL, RCPT_A, RCPT_B, b"DATA\r\n", b"CONTENT"]
    assert kinds(transaction) == "delivered delivered"


@pytest.mark.parametrize(
    ("texts", "expected", "usable"),
    [
        (("250", "550 5.1.1 no", "250", "354", "250"), "bounced delivered", True),
        (("250", "450 4.2.0 wait", "250", "354", "250"), "deferred delivered", True),
        (("250", "250", "550 no", "354", "451 later"), "deferred bounced", True),
        (("250", "250", "250", "354", "554 5.6.0 spam"), "bounced bounced", True),
        (("250", "250", "250", "451 busy"), "deferred deferred", True),
        (("250", "250", "250", "554 no"), "bounced bounced", True),
        (("250", "550 no", "450 wait", "503 no recipients"), "bounced deferred", True),
        (("250", "550 no", "550 no", "354 go", "554 no recipients"), "bounced bounced", True),
        (("250", "550 no", "550 no", "354 go", "250 thanks for nothing"), "bounced bounced", True),
        (("451 later", "503 mail first", "503 mail first", "503 rcpt first"), "deferred deferred", True),
        (("550 no", "503 mail first", "503 mail first", "503 rcpt first"), "bounced bounced", True),
        # A dot here might file an empty message.
        (("550 no", "250 ok", "250 ok", "354 go"), "bounced bounced", False),
        # 421 at each step: whoever is undecided waits, the connection is over.
        (("421 bye",), "deferred deferred", False),
        (("250", "421 bye"), "deferred deferred", False),
        (("250", "550 no", "421 bye"), "bounced deferred", False),
        (("250", "250", "250", "421 bye"), "deferred deferred", False),
        (("250", "250", "250", "354", "421 bye"), "deferred deferred", False),
        # Answers that do not fit are temporary and end the connection.
        (("354 go",), "deferred deferred", False),
        (("250", "354 go"), "deferred deferred", False),
        (("250", "250", "250", "250 ok"), "deferred deferred", False),
        (("250", "250", "250", "354", "354 more"), "deferred deferred", False),
        (("250", "250", "550 no", "354", "354 more"), "deferred deferred", False),
        (("250", "550 no", "550 no", "354", "354 more"), "deferred deferred", False),
        # 452 and its relatives after others were taken: the rest goes into another transaction.
        (("250", "250", "452 too many", "354", "250"), "delivered left", True),
        (("250", "250", "452 4.5.3 too many", "354", "250"), "delivered left", True),
        (("250", "250", "552 too many", "354", "250"), "delivered left", True),
        (("250", "250", "452 4.2.2 mailbox full", "354", "250"), "delivered deferred", True),
        (("250", "452 too many", "250", "354", "250"), "deferred delivered", True),
        # RFC 5321 4.5.3.1.10: 552 to RCPT is temporary.
        (("250", "552 5.2.2 full", "250", "354", "250"), "deferred delivered", True),
        # A 251 is taken like a 250, a 252 too.
        (("250", "251 will forward", "252 will try", "354", "250"), "delivered delivered", True),
    ],
)  # fmt: skip
def test_who_gets_which_outcome(texts, expected, usable):
    _, step, transaction = play(*texts)
    assert kinds(transaction) == expected
    assert step == Finished(usable)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("250", "550 no", "550 no"), [MAIL, RCPT_A, RCPT_B]),
        (("550 no",), [MAIL]),
        (("250", "250", "550 no", "354"), [MAIL, RCPT_A, RCPT_B, b"DATA\r\n", b"CONTENT"]),
    ],
)
def test_without_pipelining_nothing_useless_is_said(texts, said):
    assert play(*texts, pipelining=False)[0] == said


def test_data_taken_without_a_recipient_is_ended_by_a_lone_dot():
    """RFC 2920 3.1."""
    said, step, _ = play("250", "550 no", "550 no", "354 go", "554 nothing")
    assert said[1:] == [b".\r\n"]
    assert step == Finished(is_usable=True)


@pytest.mark.parametrize(
    ("texts", "pipelining"),
    [
        (("250", "550 no", "550 no"), False),
        (("250", "550 no", "550 no", "503 no recipients"), True),
        (("250", "250", "250", "451 no room"), True),
    ],
)
def test_a_transaction_that_did_not_end_is_reset_before_the_next(texts, pipelining):
    assert play(*texts, pipelining=pipelining)[2].leaves_state
    said, _, transaction = play("250 reset", "250", "250", "250", "354", "250", must_reset=True)
    assert said[0].startswith(b"RSET\r\nMAIL ")
    assert kinds(transaction) == "delivered delivered"


def test_a_refused_reset_bounces_nobody():
    _, step, transaction = play("502 what", must_reset=True)
    assert kinds(transaction) == "deferred deferred"
    assert step == Finished(is_usable=False)


@pytest.mark.parametrize(
    ("texts", "stage"),
    [
        ((), Stage.MAIL),
        (("250",), Stage.RCPT),
        (("250", "250", "250"), Stage.DATA),
        (("250", "250", "250", "354"), Stage.EOD),
    ],
)
def test_a_drop_is_temporary_and_knows_its_stage(texts, stage):
    _, _, transaction = play(*texts)
    transaction.lost("the connection was lost")
    assert transaction.outcomes[A].stage is stage
    assert ("may repeat" in transaction.outcomes[A].reason) == (stage is Stage.EOD)


def test_a_bounce_has_the_status_of_the_reply_or_an_honest_general_one():
    _, _, transaction = play("250", "550 5.1.1 no", "550 no", "503 x")
    assert [transaction.outcomes[who].enhanced for who in (A, B)] == ["5.1.1", "5.0.0"]


CODES = st.sampled_from([220, 221, 250, 251, 252, 334, 354, 421, 450, 451, 452, 500, 503, 550, 552, 554])


@given(st.lists(CODES, max_size=12), st.booleans())
def test_whatever_is_answered_nobody_is_lost_and_nobody_bounces_without_a_5yz(codes, pipelining):
    transaction = Transaction(ENVELOPE, (A, B), Terms(Extensions(pipelining=pipelining)), 7)
    transaction.start()
    step, heard = Await(), []
    for code in codes:
        step = transaction.take(Reply(code, "", ("words",)))
        heard.append(code)
        if isinstance(step, Finished):
            break
    if not isinstance(step, Finished):
        transaction.lost("gone")
    assert set(transaction.outcomes) | set(transaction.leftover) == {A, B}
    for outcome in transaction.outcomes.values():
        assert not isinstance(outcome, Bounced) or outcome.reply.code >= 500
        assert not isinstance(outcome, Delivered) or ((354 in heard or 334 in heard) and 200 <= heard[-1] < 300)
