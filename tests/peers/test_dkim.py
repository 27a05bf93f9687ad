"""DKIM with opendkim: it verifies what we sign, and we what it signs, over odd messages."""

import time

import pytest

from mailserver.mail.headers import fields
from mailserver.policy.dkim.result import DkimVerdict
from tests.peers.opendkim import OpenDkimSigner, verify
from tests.policy.dkim.keys import DOMAIN, RSA, answers, checked, rsa_pem, signed, split
from tests.policy.dkim.messages import message

_MESSAGES = 500
_RECORDS = {name: texts[0] for name, texts in answers().items()}


def test_opendkim_verifies_what_we_sign(tmp_path):
    """The first signature: opendkim of Debian does not know Ed25519, and must not stumble over it."""
    now = time.time()
    said = verify(tmp_path, (signed(message(number), now) for number in range(_MESSAGES)), _RECORDS)
    expected = f"verification (s={RSA}, d={DOMAIN}, 2048-bit key) succeeded"
    assert [line for line in said if not line.endswith(expected)] == []
    assert len(said) == _MESSAGES


def test_opendkim_verifies_it_as_a_maildir_has_it(tmp_path):
    """With LF line ends."""
    now = time.time()
    said = verify(tmp_path, (signed(message(number), now).replace(b"\r\n", b"\n") for number in range(50)), _RECORDS)
    assert len([line for line in said if line.endswith("succeeded")]) == 50


def test_opendkim_sees_what_was_changed(tmp_path):
    now = time.time()
    changed = [
        signed(message(number), now).replace(b"alice@", b"mallory@") + b"x\r\n" * (number % 2) for number in range(20)
    ]
    assert all("succeeded" not in line for line in verify(tmp_path, changed, _RECORDS))


@pytest.mark.parametrize("form", ["simple/simple", "relaxed/relaxed", "relaxed/simple", "simple/relaxed"])
def test_we_verify_what_opendkim_signs(tmp_path, form):
    signer = OpenDkimSigner(tmp_path / "signer", DOMAIN, RSA, rsa_pem(2048), form).start()
    try:
        contents = [message(number) for number in range(_MESSAGES // 2)]
        parts = []
        for content in contents:
            section, body = split(content)
            parts.append(([tuple(_name_and_value(field.raw)) for field in fields(section)], body))
        for number, field in enumerate(signer.signed(parts)):
            (result,) = checked(field + contents[number], now=time.time()).dkim
            assert result.verdict is DkimVerdict.PASS, (number, str(result), field)
    finally:
        signer.stop()


def _name_and_value(raw: bytes) -> list[bytes]:
    name, _, value = raw.partition(b":")
    return [name, value]
