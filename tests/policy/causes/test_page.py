"""The page about the causes says what the code says."""

from pathlib import Path

from mailserver.policy.causes.meaning import MEANINGS
from mailserver.policy.causes.names import Cause, FactKind

PAGE = (Path(__file__).parents[3] / "docs" / "causes.md").read_text("utf-8")


def test_every_class_is_on_the_page_in_the_words_of_the_program():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) == len(Cause)
    for cause, row in zip(Cause, rows, strict=True):
        meaning = MEANINGS[cause]
        assert row.startswith(f"| `{cause.value}` | {meaning.plain} | {meaning.remedy} | the {meaning.who.value} | ")


def test_every_fact_is_on_the_page():
    assert [line for line in PAGE.splitlines() if line.startswith("- `")] == [f"- `{kind.value}`" for kind in FactKind]
