"""The queue's message files: any text in any field, strict reading, versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Notify, OriginalRecipient, Recipient, Ret
from mailserver.mail.ids import QueueId
from mailserver.ports import LocalCopy
from mailserver.store.spool_format import decode_head, encode_head, head_end, waiting_recipient
from mailserver.store.spool_json import Damaged, NewerFormat

ID = QueueId("0000000000001")
ANY_TEXT = st.text(max_size=40) | st.text(st.characters(codec=None, categories=None), max_size=10)
MAILBOXES = st.builds(Mailbox, ANY_TEXT, ANY_TEXT.filter(lambda text: "@" not in text))
RECIPIENTS = st.builds(
    Recipient,
    MAILBOXES,
    st.frozensets(st.sampled_from(Notify)),
    st.none() | st.builds(OriginalRecipient, ANY_TEXT, ANY_TEXT),
)
ENVELOPES = st.builds(
    Envelope,
    reverse_path=st.none() | MAILBOXES,
    recipients=st.lists(RECIPIENTS, min_size=1, max_size=5).map(tuple),
    ret=st.none() | st.sampled_from(Ret),
    envid=st.none() | ANY_TEXT,
    body=st.sampled_from(Body),
    smtputf8=st.booleans(),
    size_octets=st.none() | st.integers(0, 10**12),
    is_disowned=st.booleans(),
    require_tls=st.booleans(),
    is_junk=st.booleans(),
)
TIMES = st.floats(0, 1e11)


@given(envelope=ENVELOPES, received_at=TIMES, source=ANY_TEXT, content=st.binary(max_size=60))
def test_head_is_read_back_whatever_the_fields_hold(envelope, received_at, source, content):
    """Line breaks hidden in xtext wrote lines into other servers' spool files (CVE-2020-28021)."""
    octets = encode_head(ID, received_at, envelope, source)
    head = decode_head(octets + content)
    assert (head.queue_id, head.received_at, head.envelope, head.source) == (ID, received_at, envelope, source)
    assert head.length == len(octets) == head_end(octets + content)
    assert octets.count(b"\n") == 3 + len(envelope.recipients)


@given(envelope=ENVELOPES, cut=st.integers(0, 200))
def test_a_head_that_was_cut_short_is_damage(envelope, cut):
    octets = encode_head(ID, 1.0, envelope)
    with pytest.raises(Damaged):
        decode_head(octets[: min(cut, len(octets) - 1)])


@given(octets=st.binary(max_size=300), has_magic=st.booleans())
def test_noise_is_damage_and_nothing_else(octets, has_magic):
    with pytest.raises((Damaged, NewerFormat)):
        decode_head((b"mailserver-queue 1\n" if has_magic else b"") + octets)


ABOUT = '{"id": "0000000000001", "received_at": 1, "sender": null, "body": "7BIT", "smtputf8": false, "source": ""%s}'
TO = '{"recipient": "a@b.example"}'


@pytest.mark.parametrize(
    ("about", "recipients"),
    [
        (ABOUT % ', "surprise": 1', [TO]),  # a key of nobody's
        (ABOUT % "", []),  # nobody to send to
        (ABOUT % ', "ret": "SOME"', [TO]),
        (ABOUT % ', "size": -1', [TO]),
        (ABOUT % ', "size": true', [TO]),
        (ABOUT % ', "envid": 5', [TO]),
        (ABOUT.replace("1, ", "NaN, ") % "", [TO]),
        (ABOUT.replace("1, ", "-3, ") % "", [TO]),
        (ABOUT.replace("1, ", "1" + "0" * 400 + ", ") % "", [TO]),
        (ABOUT.replace("0000000000001", "../../etc/pwd") % "", [TO]),  # never a path
        (ABOUT % "", ['{"recipient": "nobody"}']),
        (ABOUT % "", ['{"recipient": "a@b", "notify": ["MAYBE"]}']),
        (ABOUT % "", ['{"recipient": "a@b", "notify": [[]]}']),
        (ABOUT % "", ['{"recipient": "a@b", "orcpt": ["rfc822"]}']),
        (ABOUT % "", ["[" * 5000]),
        ("[]", [TO]),
    ],
)
def test_a_head_with_a_wrong_field_is_damage(about, recipients):
    octets = "\n".join(["mailserver-queue 1", about, *recipients]) + "\n\n"
    with pytest.raises(Damaged):
        decode_head(octets.encode())


def test_the_table_above_begins_with_a_right_one():
    octets = "\n".join(["mailserver-queue 1", ABOUT % "", TO]) + "\n\n"
    assert decode_head(octets.encode()).envelope.recipients[0].mailbox == Mailbox("a", "b.example")


def test_a_newer_format_is_refused_with_a_text_that_says_what_to_do():
    with pytest.raises(NewerFormat, match=r"format 5.*up to format 4.*start the release that wrote it"):
        decode_head(b"mailserver-queue 5\nwhatever comes then")


def test_a_message_of_version_1_is_written_as_long_as_it_can_say_it():
    octets = encode_head(ID, 1.0, Envelope(None, (Recipient(Mailbox("a", "b.example")),)))
    assert octets.startswith(b"mailserver-queue 1\n") and b"disowned" not in octets


def test_requiretls_is_known_since_version_3():
    recipients = (Recipient(Mailbox("a", "b.example")),)
    octets = encode_head(ID, 1.0, Envelope(None, recipients, require_tls=True))
    assert octets.startswith(b"mailserver-queue 3\n")
    assert decode_head(octets).envelope.require_tls
    for older in (b"1", b"2"):
        with pytest.raises(Damaged):
            decode_head(octets.replace(b"mailserver-queue 3", b"mailserver-queue " + older))
    both = encode_head(ID, 1.0, Envelope(None, recipients, is_disowned=True, require_tls=True))
    assert decode_head(both).envelope.is_disowned and decode_head(both).envelope.require_tls


def test_a_disowned_sender_is_known_since_version_2():
    envelope = Envelope(None, (Recipient(Mailbox("a", "b.example")),), is_disowned=True)
    octets = encode_head(ID, 1.0, envelope)
    assert octets.startswith(b"mailserver-queue 2\n")
    assert decode_head(octets).envelope.is_disowned
    with pytest.raises(Damaged):
        decode_head(octets.replace(b"mailserver-queue 2", b"mailserver-queue 1"))
    assert not decode_head(octets.replace(b', "disowned": true', b"")).envelope.is_disowned


def test_a_copy_that_waits_is_for_the_mailbox_not_for_the_alias():
    alias = Recipient(Mailbox("sales", "example.org"), frozenset({Notify.SUCCESS}))
    waiting = waiting_recipient(LocalCopy(Mailbox("bob", "example.org"), (alias,), b""))
    assert waiting.mailbox == Mailbox("bob", "example.org")
    assert waiting.notify == alias.notify
    assert waiting.orcpt == OriginalRecipient("rfc822", "sales@example.org")


def test_a_mailbox_that_waits_for_several_recipients_keeps_what_was_asked_for_any_of_them():
    plain = Recipient(Mailbox("bob", "example.org"))
    success = Recipient(Mailbox("bob+x", "example.org"), frozenset({Notify.SUCCESS}))
    never = Recipient(Mailbox("bob+y", "example.org"), frozenset({Notify.NEVER}))

    def asked(*recipients: Recipient) -> frozenset[Notify]:
        return waiting_recipient(LocalCopy(Mailbox("bob", "example.org"), recipients, b"")).notify

    assert asked(plain) == frozenset()
    assert asked(plain, success) == {Notify.SUCCESS, Notify.FAILURE, Notify.DELAY}
    assert asked(never, success) == {Notify.SUCCESS}
    assert asked(never, never) == {Notify.NEVER}
