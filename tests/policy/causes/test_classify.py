"""How evidence is weighed, what local facts change, and that nothing breaks it."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.mail.outcome import Bounced, Deferred, Stage
from mailserver.mail.reply import reply
from mailserver.policy.causes.classify import classify, classify_outcome
from mailserver.policy.causes.evidence import Evidence
from mailserver.policy.causes.facts import parse_fact
from mailserver.policy.causes.meaning import MEANINGS
from mailserver.policy.causes.names import Cause, Fact, FactKind, Who
from mailserver.policy.causes.rules_message import CONTENT_RULES, RECIPIENT_RULES, SHAPE_RULES
from mailserver.policy.causes.rules_moment import MOMENT_RULES, PATIENCE_RULES, WAY_RULES
from mailserver.policy.causes.rules_sender import ADDRESS_RULES, CONNECTING_RULES, PROOF_RULES
from mailserver.policy.causes.vocabulary import groups, stems

RULES = (
    *RECIPIENT_RULES,
    *SHAPE_RULES,
    *CONTENT_RULES,
    *ADDRESS_RULES,
    *PROOF_RULES,
    *CONNECTING_RULES,
    *MOMENT_RULES,
    *PATIENCE_RULES,
    *WAY_RULES,
)


def facts(*kinds: FactKind) -> frozenset[Fact]:
    return frozenset(Fact(kind) for kind in kinds)


# --- facts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "known", "cause", "who"),
    [
        # What we saw ourselves is the cause, whatever else is said.
        ("", (FactKind.DOMAIN_DOES_NOT_EXIST,), Cause.DOMAIN_NOT_FOUND, Who.SENDER),
        ("", (FactKind.NULL_MX,), Cause.NULL_MX, Who.SENDER),
        ("", (FactKind.CONNECTION_REFUSED, FactKind.ALL_HOSTS), Cause.CONNECTION_REFUSED, Who.NOBODY),
        ("", (FactKind.DNS_FAILED,), Cause.DNS_TEMPORARY, Who.NOBODY),
        # Nothing gets out anywhere: it is our side.
        ("", (FactKind.CONNECTION_TIMED_OUT, FactKind.ALL_DESTINATIONS), Cause.CONNECTION_TIMED_OUT, Who.SENDERS_ADMIN),
        ("", (FactKind.TLS_NOT_OFFERED,), Cause.TLS_REQUIRED, Who.RECIPIENTS_ADMIN),
        # What is always true of us explains a refusal without a reason ...
        ("554 5.7.1 rejected", (FactKind.NO_REVERSE_NAME,), Cause.NO_REVERSE_DNS, Who.SENDERS_ADMIN),
        ("554 rejected", (FactKind.NO_REVERSE_NAME, FactKind.IPV6_USED), Cause.REVERSE_DNS_IPV6, Who.SENDERS_ADMIN),
        ("554 5.7.1 rejected", (FactKind.ADDRESS_LISTED,), Cause.BLOCKLISTED_IP, Who.SENDERS_ADMIN),
        # ... and nothing about a refusal that has one.
        ("550 5.1.1 User unknown", (FactKind.NO_REVERSE_NAME,), Cause.MAILBOX_UNKNOWN, Who.SENDER),
        ("552 5.2.2 mailbox full", (FactKind.ADDRESS_LISTED,), Cause.MAILBOX_FULL, Who.RECIPIENT),
        ("550 no PTR for you", (FactKind.IPV6_USED,), Cause.REVERSE_DNS_IPV6, Who.SENDERS_ADMIN),
        ("550 rejected by DMARC policy", (FactKind.FORWARDED,), Cause.FORWARDING_DMARC, Who.SENDERS_ADMIN),
        ("554 Relay access denied", (FactKind.SMARTHOST_USED,), Cause.AUTH_REQUIRED_OR_RELAY_DENIED, Who.SENDERS_ADMIN),
        ("554 Relay access denied", (), Cause.AUTH_REQUIRED_OR_RELAY_DENIED, Who.RECIPIENTS_ADMIN),
    ],
)
def test_facts(said, known, cause, who):
    diagnosis = classify(Evidence(said, None, facts(*known)))
    assert (diagnosis.cause, diagnosis.who) == (cause, who)


@pytest.mark.parametrize(
    ("text", "kind"),
    [(kind.value, kind) for kind in FactKind]
    + [
        ("NXDOMAIN", FactKind.DOMAIN_DOES_NOT_EXIST),
        ("nullmx", FactKind.NULL_MX),
        ("no PTR", FactKind.NO_REVERSE_NAME),
        ("no-reverse-dns", FactKind.NO_REVERSE_NAME),
        ("listed: zen.spamhaus.org", FactKind.ADDRESS_LISTED),
        ("SERVFAIL", FactKind.DNS_FAILED),
        ("timeout: mx.example.net", FactKind.CONNECTION_TIMED_OUT),
        ("timed out", FactKind.CONNECTION_TIMED_OUT),
        ("ipv6", FactKind.IPV6_USED),
        ("the moon", None),
    ],
)
def test_spellings_of_facts(text, kind):
    fact = parse_fact(text)
    assert (fact.kind if fact else None) is kind


# --- weighing ---------------------------------------------------------------------------------------------------------


def test_the_innermost_text_counts_and_not_the_frame():
    frames = ("Recipient address rejected", "Sender address rejected", "Service unavailable", "mailbox unavailable")
    for frame in frames:
        assert classify(Evidence(f"550 5.7.1 <a@b.example>: {frame}: greylisted")).cause is Cause.GREYLISTED
        assert classify(Evidence(f"550 5.7.1 {frame}; no valid PTR record")).cause is Cause.NO_REVERSE_DNS


def test_strong_signals_that_disagree_are_told():
    diagnosis = classify(Evidence("550 5.7.1 User unknown; also your IP 192.0.2.4 is listed on our blacklist"))
    assert {diagnosis.cause, *diagnosis.also} == {Cause.MAILBOX_UNKNOWN, Cause.BLOCKLISTED_IP}
    assert {signal.cause for signal in diagnosis.evidence} >= {Cause.MAILBOX_UNKNOWN, Cause.BLOCKLISTED_IP}


def test_the_code_decides_only_without_words():
    assert classify(Evidence("550", Stage.RCPT)).cause is Cause.MAILBOX_UNKNOWN
    assert classify(Evidence("550 5.1.1")).cause is Cause.MAILBOX_UNKNOWN
    assert classify(Evidence("550 We shall see about that one day", Stage.RCPT)).cause is Cause.UNKNOWN
    assert classify(Evidence("552 5.5.0 Something odd has happened")).cause is Cause.UNKNOWN


def test_an_open_resolver_lists_nobody():
    diagnosis = classify(
        Evidence("554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org; Error: open resolver")
    )
    assert (diagnosis.cause, diagnosis.who) == (Cause.REMOTE_LOCAL_ERROR, Who.RECIPIENTS_ADMIN)
    assert not diagnosis.temporary
    assert Cause.BLOCKLISTED_IP is not diagnosis.cause


@pytest.mark.parametrize(
    ("said", "temporary"),
    [
        # Some 4yz never heal, some 5yz do.
        ("450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]", False),
        ("450 4.1.8 <a@b.example>: Sender address rejected: Domain not found", False),
        ("451 4.7.1 TLS is required", False),
        ("550 5.4.5 Daily sending quota exceeded", True),
        ("550 Connection frequency limited", True),
        ("450 Something else entirely", True),
        ("550 Something else entirely", False),
    ],
)
def test_temporary_is_not_the_basic_code(said, temporary):
    diagnosis = classify(Evidence(said))
    assert diagnosis.temporary is temporary
    assert (diagnosis.who is Who.NOBODY) is temporary


def test_waiting_has_a_limit_that_names_somebody():
    for said in ("450 4.2.0 Greylisted", "421 service not available", "550 daily sending quota exceeded", "450 x"):
        diagnosis = classify(Evidence(said))
        assert diagnosis.remedy.startswith("Wait")
        assert "administrator" in diagnosis.remedy


def test_an_outcome_is_diagnosed_by_its_reply_or_our_own_reason():
    bounced = Bounced("refused", Stage.RCPT, "5.1.1", reply(550, "5.1.1", "No such", "user"), "mx.example.net")
    assert classify_outcome(bounced).cause is Cause.MAILBOX_UNKNOWN
    deferred = Deferred("the connection was refused", Stage.CONNECT)
    assert classify_outcome(deferred, facts(FactKind.CONNECTION_REFUSED)).cause is Cause.CONNECTION_REFUSED
    assert classify_outcome(Bounced("no such domain", Stage.DNS, "5.1.2")).cause is Cause.DOMAIN_NOT_FOUND


# --- the rules themselves ---------------------------------------------------------------------------------------------


def test_rules_use_words_that_exist_and_every_word_is_used():
    used = {group for rule in RULES for group in (*rule.groups, *rule.unless)}
    assert used == groups()
    assert all(stems(group) for group in groups())
    assert all(rule.reason for rule in RULES)


def test_every_class_means_something():
    assert set(MEANINGS) == set(Cause)
    for meaning in MEANINGS.values():
        assert meaning.plain.endswith(".") and meaning.remedy.endswith(".")
        assert meaning.who is not Who.NOBODY


# --- robustness -------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=2000)
@given(st.text(max_size=400), st.sampled_from([None, *Stage]), st.sets(st.sampled_from(list(FactKind)), max_size=5))
def test_any_text_gets_an_answer(said, stage, known):
    diagnosis = classify(Evidence(said, stage, facts(*known)))
    assert diagnosis.evidence
    assert diagnosis.remedy
    assert diagnosis.words.isprintable()


WORDS = st.sampled_from(
    [
        *("550", "5.1.1", "550-5.7.1", "451", "host", "said:", "user", "unknown", "quota", "spam", "<a@b.c>", "not"),
        *("[192.0.2.1]", "2001:db8::1", "https://a.b/?p=x", "(", ")", "'", "\n", "\r\n", "found", "spf", "dkim"),
        *("Diagnostic-Code:", "smtp;", "Content-Type:", "multipart/report;", "boundary=b\n", "--b", "From:", "To:\n"),
    ]
)


@settings(max_examples=150, deadline=2000)
@given(st.lists(WORDS, max_size=60).map(" ".join))
def test_any_mixture_of_telling_words_gets_an_answer(said):
    assert classify(Evidence(said)).plain


@settings(max_examples=50, deadline=2000)
@given(st.binary(max_size=300))
def test_any_octets_behind_a_header_get_an_answer(octets):
    head = "From: a@b.example\nContent-Type: multipart/report; boundary=x\n\n--x\n"
    head += "Content-Type: message/delivery-status\n\n"
    assert classify(Evidence(head + octets.decode("utf-8", "replace"))).plain


@pytest.mark.parametrize(
    "said",
    [
        "550 " + "user unknown " * 80_000,
        "550 " + "a" * 1_000_000,
        "550-" * 250_000,
        " said: " * 150_000,
        "<" * 1_000_000,
        "1.2.3." * 170_000,
        "::" * 500_000,
        "a." * 500_000,
        "https://" * 120_000,
        "after " * 170_000,
        "in reply to " * 90_000,
        "to protect " * 90_000,
        "ユーザ" * 330_000,
        "From: a@b\nTo: c\n" + "Diagnostic-Code: smtp; x\n" * 40_000,
        "From: a@b\nTo: c\nContent-Type: multipart/mixed; boundary=x\n\n" + "--x\n" * 200_000,
        "From: a@b\nTo: c\nContent-Type: text/html\n\n" + "<p " * 300_000,
        "\x00\x1b[31m" * 100_000,
    ],
    ids=lambda said: said[:12],
)
def test_a_megabyte_of_anything_is_answered_in_time(said):
    began = time.process_time()
    assert classify(Evidence(said)).plain
    assert time.process_time() - began < 5


def test_parts_nested_deeper_than_anybody_means():
    said = "From: a@b.example\nTo: c@d.example\n"
    for number in range(400):
        said += f"Content-Type: multipart/mixed; boundary=b{number}\n\n--b{number}\n"
    assert classify(Evidence(said + "Content-Type: text/plain\n\n550 user unknown\n")).plain
