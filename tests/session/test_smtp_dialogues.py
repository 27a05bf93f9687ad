"""The transcripts in `tests/dialogues`, in memory: whole, and octet by octet."""

from dataclasses import replace

import pytest

from mailserver.session.smtp_profile import SMTP, SUBMISSION, SUBMISSIONS
from tests.fakes.dialogue import Closed, Expect, Handshake, Send, dialogues
from tests.fakes.smtp import TLS, World

PROFILES = {"smtp": SMTP, "submission": SUBMISSION, "submissions": SUBMISSIONS}
ALL = dialogues()


class MemoryRun:
    """Plays one transcript against a session in memory."""

    def __init__(self, dialogue, *, octet_by_octet):
        self._octet_by_octet = octet_by_octet
        self._dialogue = dialogue
        world = World()
        world.directory.has_scram = True  # as with accounts that the command line has made
        profile = PROFILES[dialogue.listener]
        tls = replace(TLS, channel_binding={}.get) if profile.is_implicit_tls else None
        self._client = world.connect(profile, tls=tls)
        self._lines = [self._client.banner.removesuffix("\r\n")]

    def play(self):
        for step in self._dialogue.steps:
            match step:
                case Send(where, octets):
                    assert not self._lines, f"{where}: the server said too much: {self._lines}"
                    for part in [bytes([octet]) for octet in octets] if self._octet_by_octet else [octets]:
                        self._lines += self._client.say(part).splitlines()
                case Expect(where, text):
                    assert self._lines, f"{where}: the server says nothing, expected {text!r}"
                    line = self._lines.pop(0)
                    assert step.fits(line), f"{where}: expected {text!r}, got {line!r}"
                case Handshake():
                    assert not self._lines
                case Closed(where):
                    assert self._client.is_closed, f"{where}: still open"
        assert not self._lines, f"{self._dialogue.name}: the server said too much: {self._lines}"


@pytest.mark.parametrize("dialogue", ALL, ids=lambda dialogue: dialogue.name)
def test_dialogue(dialogue):
    MemoryRun(dialogue, octet_by_octet=False).play()


@pytest.mark.parametrize(
    "dialogue", [one for one in ALL if "whole-segments" not in one.name], ids=lambda dialogue: dialogue.name
)
def test_dialogue_octet_by_octet(dialogue):
    MemoryRun(dialogue, octet_by_octet=True).play()


def test_there_are_dialogues():
    assert len(ALL) >= 10
