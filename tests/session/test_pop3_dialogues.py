"""Every POP3 transcript in tests/dialogues, in memory."""

from pathlib import Path

import pytest

from tests.session.pop3_dialogue import play

FILES = sorted((Path(__file__).parent.parent / "dialogues").glob("pop3-*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dialogue(path):
    play(path)


def test_there_are_dialogues():
    assert len(FILES) >= 6
