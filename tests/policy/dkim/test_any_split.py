"""However a body is cut into pieces, its hash is that of its canonical form, made in the plainest way."""

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from mailserver.policy.dkim.canonical import BodyHash, Form, canonical_field

_BODIES = st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"a", b"bc", b"\xff", b"  \r\n", b"x" * 99])).map(b"".join)


def plainly(body: bytes, form: Form) -> bytes:
    """RFC 6376 3.4.3 and 3.4.4, word by word. A body without a line end at its end gets one first."""
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    lines = body.split(b"\r\n")[:-1]
    if form is Form.RELAXED:
        lines = [re.sub(rb"[ \t]+", b" ", line).removesuffix(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if form is Form.RELAXED else b"\r\n"
    return b"".join(line + b"\r\n" for line in lines)


@given(st.sampled_from(Form), _BODIES, st.lists(st.integers(0, 400)), st.integers(0, 60))
def test_any_cut_gives_the_hash_of_the_plain_form(form, body, cuts, limit):
    hashed = BodyHash(form, [limit])
    place = 0
    for cut in [*sorted(cuts), len(body)]:
        hashed.update(body[place : max(place, cut)])
        place = max(place, min(cut, len(body)))
    hashed.finish()
    expected = plainly(body, form)
    assert hashed.digest() == hashlib.sha256(expected).digest()
    assert hashed.digest(limit) == hashlib.sha256(expected[:limit]).digest()
    assert hashed.octets == len(expected)


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b"a", b":", b"\xe9"])).map(b"".join))
def test_a_relaxed_field_is_as_the_rule_says(value):
    """RFC 6376 3.4.2."""
    unfolded = re.sub(rb"\r\n(?=[ \t])", b"", value)
    expected = b"subject:" + re.sub(rb"[ \t]+", b" ", unfolded).strip(b" ") + b"\r\n"
    assert canonical_field(b"SubJect \t:" + value + b"\r\n", Form.RELAXED) == expected
