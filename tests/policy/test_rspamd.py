"""What rspamd may answer, and what nobody would expect of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.policy.rspamd import MAX_ANSWER_OCTETS, NoAnswer, read_answer
from mailserver.ports.scanning import ScanAction

# As rspamd 3.4 said it.
REAL = (
    b'{"is_skipped":true,"score":15.0,"required_score":15.0,"action":"reject","symbols":{"GTUBE":{"name":"GTUBE",'
    b'"score":0.0,"metric_score":0.0}},"messages":{"smtp_message":"Gtube pattern"},"message-id":"undef",'
    b'"time_real":0.105350}'
)


def answer(**told):
    return read_answer(json.dumps(told).encode())


def test_a_real_answer():
    scan = read_answer(REAL)
    assert (scan.action, scan.message, scan.score) == (ScanAction.REFUSE, "Gtube pattern", 15.0)
    assert str(scan) == "reject 15.00/15.00"


@pytest.mark.parametrize(
    ("word", "action"),
    [
        ("no action", ScanAction.TAKE),
        ("greylist", ScanAction.TAKE),
        ("add header", ScanAction.JUNK),
        ("rewrite subject", ScanAction.JUNK),
        ("quarantine", ScanAction.JUNK),
        ("discard", ScanAction.JUNK),
        ("soft reject", ScanAction.DEFER),
        ("reject", ScanAction.REFUSE),
    ],
)
def test_each_action(word, action):
    assert answer(action=word).action is action


def test_symbols_are_told_by_weight():
    symbols = {
        "GOOD": {"score": -3.0},
        "BAD": {"score": 5.1},
        "NOTHING": {"score": 0},
        "ODD": [],
        "WORSE": {"score": "9"},
    }
    scan = answer(action="add header", score=8.1, required_score=15, symbols=symbols)
    assert str(scan) == "add header 8.10/15.00 BAD(5.10) GOOD(-3.00)"


def test_fields_are_taken_in_all_their_shapes_and_only_harmless_ones():
    added = {
        "X-Spam-Level": {"value": "*****", "order": 0},
        "X-Spam-A": "plain",
        "X-Spam-B": [{"value": "first"}, {"value": "second"}],
        "X-Spam-C": 5,
        "X-Spam-D": [],
        "X-Spam-Status": "No",
        "X-Spam-E": "a\r\nBcc: everybody@b.example",
        "Subject": "changed",
    }
    scan = answer(action="add header", milter={"add_headers": added})
    assert scan.fields == (
        ("X-Spam-Level", "*****"),
        ("X-Spam-A", "plain"),
        ("X-Spam-B", "first"),
        ("X-Spam-E", "a??Bcc: everybody@b.example"),
    )


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b"{}", "no known action"),
        (b'{"action": 5}', "no known action"),
        (b'{"action": ["reject"]}', "no known action"),
        (b'{"action": "explode"}', "no known action"),
        (b'{"error": "Cannot process\\r\\n250 task"}', "it says: Cannot process 250 task"),
        (b" " * (MAX_ANSWER_OCTETS + 1), "too long"),
        (b'{"action": "reject", "score": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
def test_what_is_no_answer(octets, reason):
    with pytest.raises(NoAnswer, match=reason):
        read_answer(octets)


@pytest.mark.parametrize("value", ["nan", "Infinity", True, None, [], {}, "5", 10**400])
def test_scores_that_are_none(value):
    octets = (
        json.dumps({"action": "no action", "score": value}).replace('"nan"', "NaN").replace('"Infinity"', "Infinity")
    )
    try:
        assert read_answer(octets.encode()).score == 0.0
    except NoAnswer:
        assert value == 10**400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(
    told=st.dictionaries(st.sampled_from(["action", "score", "required_score", "symbols", "messages", "milter"]), JSON)
)
def test_any_types_give_a_bounded_verdict_or_none(told):
    scan = answer(**{**told, "action": "add header"})
    assert scan.action is ScanAction.JUNK
    assert len(str(scan)) < 1000 and str(scan).isprintable() and str(scan).isascii()
    assert len(scan.message) <= 200 and scan.message.isprintable()


def test_thousands_of_symbols_and_fields_cost_little():
    symbols = {f"S{number}": {"score": number} for number in range(50_000)}
    added = {f"X-Spam-{number}": "x" for number in range(20_000)}
    octets = json.dumps({"action": "reject", "symbols": symbols}).encode()[:MAX_ANSWER_OCTETS]
    with pytest.raises(NoAnswer):
        read_answer(octets)
    scan = answer(action="add header", symbols=dict(list(symbols.items())[:9000]), milter={"add_headers": added})
    assert len(scan.symbols) == 20 and len(scan.fields) == 8


def test_the_senders_words():
    assert answer(action="reject", messages={"smtp_message": "a\nb"}).message == "a b"
    assert answer(action="reject", messages={"other": "x"}).message == "x"
    assert answer(action="reject", messages=["x"]).message == ""
    assert answer(action="reject", messages={"smtp_message": 5}).message == ""
