"""What we saw ourselves, derived from what the spool keeps; and trouble of our own, which is nobody else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.envelope import Recipient
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply
from mailserver.policy.causes.names import Cause, FactKind
from mailserver.relay.diagnosis import explain, facts_of
from mailserver.relay.dsn_fields import Action, RecipientReport
from tests.fakes.directory import box

BOB = Recipient(box("bob@example.net"))
WORDS = Reply(550, "5.7.1", ("no",))


def failed(stage, reason="", enhanced="", reply=None, host="mx.example.net[192.0.2.1]", **more):
    return RecipientReport(BOB, Action.FAILED, enhanced, reason, reply, host, stage, **more)


# Our own sentences and codes as `mx`, `attempt`, `net.dialer` and `session` make them.
SEEN = [
    (failed(Stage.DNS, "the domain x.example does not exist", "5.1.2"), FactKind.DOMAIN_DOES_NOT_EXIST),
    (failed(Stage.DNS, "the domain x.example does not take mail (null MX)", "5.1.10"), FactKind.NULL_MX),
    (failed(Stage.DNS, "no mail host of x.example has an address", "5.4.4"), FactKind.NO_MAIL_HOST),
    (failed(Stage.DNS, "the best mail host of x.example is this server", "5.4.6"), FactKind.LOOPS_BACK),
    (failed(Stage.DNS, "DNS could not tell the mail hosts of x.example: SERVFAIL", "4.4.7"), FactKind.DNS_FAILED),
    (failed(Stage.CONNECT, "the connection was refused", "4.4.7"), FactKind.CONNECTION_REFUSED),
    (failed(Stage.CONNECT, "no connection within 30 s", "4.4.7"), FactKind.CONNECTION_TIMED_OUT),
    (failed(Stage.CONNECT, "there is no route to the host", "4.4.7"), FactKind.CONNECTION_TIMED_OUT),
    (failed(Stage.BANNER, "no progress within 300 s while waiting for x", "4.4.7"), FactKind.CONNECTION_LOST),
    (failed(Stage.EOD, "the connection broke while waiting for x: lost", "4.4.7"), FactKind.CONNECTION_LOST),
    (failed(Stage.STARTTLS, "the host offers no STARTTLS", "4.4.7"), FactKind.TLS_NOT_OFFERED),
    (failed(Stage.STARTTLS, "the TLS handshake did not succeed: old", "4.4.7"), FactKind.TLS_HANDSHAKE_FAILED),
    (failed(Stage.EHLO, "the message is too large for the host", "5.3.4"), FactKind.OVER_SIZE_LIMIT),
    (failed(Stage.EHLO, "the host does not know SMTPUTF8", "5.6.7"), FactKind.SMTPUTF8_NOT_OFFERED),
]


@pytest.mark.parametrize(("one", "kind"), SEEN)
def test_what_we_saw_ourselves_is_known(one, kind):
    assert kind in {fact.kind for fact in facts_of(one)}


@pytest.mark.parametrize(
    ("one", "there", "absent"),
    [
        (failed(Stage.CONNECT, "refused"), FactKind.ALL_HOSTS, FactKind.ONE_HOST),
        (failed(Stage.RCPT, reply=WORDS), FactKind.ONE_HOST, FactKind.ALL_HOSTS),
        (failed(Stage.RCPT, reply=WORDS, host="mx[2001:db8::1]"), FactKind.IPV6_USED, FactKind.SMARTHOST_USED),
        (failed(Stage.RCPT, reply=WORDS, is_smarthost=True), FactKind.SMARTHOST_USED, FactKind.IPV6_USED),
        (failed(Stage.EOD, reply=WORDS, is_forwarded=True), FactKind.FORWARDED, FactKind.IPV6_USED),
        # The server spoke: what our own sentence says is no fact beside it.
        (failed(Stage.RCPT, "connection refused", reply=WORDS), FactKind.ONE_HOST, FactKind.CONNECTION_REFUSED),
    ],
)
def test_surroundings_are_known(one, there, absent):
    kinds = {fact.kind for fact in facts_of(one)}
    assert there in kinds and absent not in kinds


@pytest.mark.parametrize(
    "one",
    [
        failed(Stage.DNS, "the mail hosts of x.example have no ipv6 address", "4.4.7", is_expired=True),
        failed(Stage.CONNECT, "the configured source address cannot be used", "4.4.7", is_expired=True),
        failed(Stage.CONNECT, "this server has too many files open", "4.4.7", is_expired=True),
        failed(
            Stage.AUTH, "the host did not accept our user name", "4.4.7", Reply(535, "5.7.8", ("no",)), is_expired=True
        ),
        failed(Stage.CONNECT, "the connection was refused", "4.4.7", is_expired=True, is_smarthost=True),
        failed(Stage.LOCAL, "the mailbox cannot be written", "4.4.7", is_expired=True),
        failed(Stage.LOCAL, "the mailbox has no room", "4.4.7", is_expired=True),
        failed(Stage.LOCAL, "the administrator of this mail server stopped the delivery: spam", "5.0.0"),
        failed(None, "This login may send as alice@example.org", "5.7.1"),
    ],
)
def test_our_own_trouble_is_for_our_own_administrator(one):
    found = explain(one)
    assert found.who.startswith(("your mail administrator", "the administrator of this mail server"))
    assert "recipient's" not in found.means


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("5.1.1", Cause.MAILBOX_UNKNOWN),
        ("5.2.1", Cause.MAILBOX_DISABLED),
        ("5.3.4", Cause.MESSAGE_TOO_LARGE),
        ("5.4.6", Cause.LOOP_DETECTED),
    ],
)
def test_what_this_server_itself_refused_has_the_class_of_its_code(code, cause):
    assert explain(failed(Stage.LOCAL, "the mailbox is not there", code, host="")).cause is cause


def test_an_address_on_our_suppression_list_is_not_said_to_be_ours():
    reason = "this address has been on our own mail server's suppression list since 2026-01-01"
    found = explain(failed(Stage.LOCAL, reason, "5.1.1", host=""))
    assert "has seen that the address takes no mail" in found.means
    assert "from the list" in found.remedy


def test_a_stranger_is_not_sent_to_an_administrator_of_their_own_for_what_is_ours():
    listed = Reply(554, "5.7.1", ("Client host [192.0.2.9] blocked using zen.spamhaus.org",))
    found = explain(failed(Stage.RCPT, "no", "5.7.1", listed, is_forwarded=True))
    assert found.cause is Cause.BLOCKLISTED_IP
    assert found.who.startswith("the administrator of this mail server")
    assert "this server is meant" in found.means


def test_a_silent_server_is_honestly_unknown():
    found = explain(failed(Stage.RCPT, "the host gave an answer that does not fit (rcpt)", "4.4.7", is_expired=True))
    assert found.cause is Cause.UNKNOWN
    assert "said nothing" in found.means


@given(
    stage=st.none() | st.sampled_from(Stage),
    action=st.sampled_from([Action.FAILED, Action.DELAYED]),
    reason=st.text(max_size=200),
    enhanced=st.sampled_from(["", "5.0.0", "4.4.7", "5.1.1", "garbage"]),
    reply=st.none()
    | st.builds(Reply, st.sampled_from([421, 450, 550]), st.just(""), st.lists(st.text(), min_size=1).map(tuple)),
    is_expired=st.booleans(),
    is_smarthost=st.booleans(),
)
def test_everything_has_an_explanation(stage, action, reason, enhanced, reply, is_expired, is_smarthost):
    one = RecipientReport(BOB, action, enhanced, reason, reply, "mx", stage, is_expired, is_smarthost=is_smarthost)
    found = explain(one)
    assert found.means and found.remedy and found.who
    if action is Action.FAILED:
        assert "by itself" not in found.remedy and "Wait" not in found.remedy
