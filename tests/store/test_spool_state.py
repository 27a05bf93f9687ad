"""The queue's state files: any text in any field, strict reading, versions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.spool_state import RecipientProgress, RecipientState, bounded_reply, decode_state, encode_state

ID = QueueId("0000000000001")
ANY_TEXT = st.text(max_size=40) | st.text(st.characters(codec=None, categories=None), max_size=10)
REPLIES = st.builds(Reply, st.integers(200, 599), ANY_TEXT, st.lists(ANY_TEXT, min_size=1, max_size=3).map(tuple))
TIMES = st.floats(0, 1e11)
PROGRESS = st.lists(
    st.builds(
        RecipientProgress,
        st.sampled_from(RecipientState),
        st.integers(0, 1000),
        TIMES,
        TIMES,
        TIMES,
        st.booleans(),
        ANY_TEXT,
        st.none() | st.sampled_from(Stage),
        ANY_TEXT,
        st.none() | REPLIES,
        ANY_TEXT,
        ANY_TEXT,
        st.booleans(),
    ),
    max_size=4,
).map(tuple)


@given(progress=PROGRESS)
def test_state_is_read_back_whatever_the_fields_hold(progress):
    assert decode_state(encode_state(ID, progress), ID, len(progress)) == progress


@given(octets=st.binary(max_size=300))
def test_noise_is_damage_and_nothing_else(octets):
    with pytest.raises((Damaged, NewerFormat)):
        decode_state(octets, ID, 1)


def test_a_newer_state_is_refused_with_a_text_that_says_what_to_do():
    state = json.dumps({"version": 3, "recipients": "another shape", "held": True}).encode()
    with pytest.raises(NewerFormat, match=r"format 3.*up to format 2.*start the release that wrote it"):
        decode_state(state, ID, 1)


def test_version_1_of_a_state_is_read_and_written_where_it_suffices():
    state = {"version": 1, "id": ID, "recipients": [{"state": "waiting", "attempts": 2, "next_attempt": 5.0}]}
    (one,) = decode_state(json.dumps(state).encode(), ID, 1)
    assert (one.attempts, one.is_held, one.may_be_tried, one.held_s) == (2, False, True, 0.0)
    assert json.loads(encode_state(ID, (one,))) == state


def test_a_held_recipient_needs_version_2():
    one = RecipientProgress(held_by="eva", held_reason="asked the sender", held_since=7.5, held_s=3.0)
    octets = encode_state(ID, (one,))
    assert json.loads(octets)["version"] == 2
    assert decode_state(octets, ID, 1) == (one,)
    assert (one.is_held, one.may_be_tried, one.shown_state) == (True, False, "held")
    with pytest.raises(Damaged, match="unknown parts"):
        decode_state(octets.replace(b'"version": 2', b'"version": 1'), ID, 1)


@pytest.mark.parametrize(
    "state",
    [
        {"version": 1, "id": "0000000000002", "recipients": [{"state": "waiting"}]},
        {"version": 1, "id": ID, "recipients": []},
        {"version": 1, "id": ID, "recipients": [{"state": "asleep"}]},
        {"version": 1, "id": ID, "recipients": [{"state": "waiting", "mood": 1}]},
        {"version": 1, "id": ID, "recipients": [{"state": "waiting", "reply": [250, "x"]}]},
        {"version": 1, "id": ID, "recipients": [{"state": "waiting", "attempts": -1}]},
        {"version": 1, "id": ID, "recipients": [{"state": "waiting"}], "more": 1},
        {"version": "1", "id": ID, "recipients": [{"state": "waiting"}]},
    ],
)
def test_a_state_with_a_wrong_field_is_damage(state):
    with pytest.raises(Damaged):
        decode_state(json.dumps(state).encode(), ID, 1)


def test_what_is_kept_of_a_hostile_reply_is_bounded():
    kept = bounded_reply(Reply(550, "5.7.1", tuple("x" * 3000 for _ in range(1000))))
    assert kept is not None
    assert len(kept.lines) <= 32
    assert sum(len(line) for line in kept.lines) <= 2000
    assert bounded_reply(Reply(250, "2.0.0", ("ok", ""))) == Reply(250, "2.0.0", ("ok", ""))
