"""Every real reply of the corpus gets its class, and says who can do what."""

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from mailserver.mail.outcome import Stage
from mailserver.policy.causes.classify import classify
from mailserver.policy.causes.evidence import Evidence
from mailserver.policy.causes.facts import parse_fact
from mailserver.policy.causes.names import Cause

HERE = Path(__file__).parent


def rows(*names: str) -> list[dict]:
    return [row for name in names for row in tomllib.loads((HERE / name).read_text("utf-8"))["reply"]]


CORPUS = rows(*sorted(f"corpus/{path.name}" for path in (HERE / "corpus").glob("*.toml")))
PARAPHRASES = rows("paraphrases.toml")


def diagnose(row: dict):
    facts = frozenset(parse_fact(text) for text in row.get("facts", []))
    assert None not in facts
    return classify(Evidence(row["text"], Stage(row["stage"]) if "stage" in row else None, facts))


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: f"{row['class']}: {row['text'][:60]}")
def test_real_reply(row):
    diagnosis = diagnose(row)
    assert (diagnosis.cause.value, diagnosis.temporary, diagnosis.who.value) == (
        row["class"],
        row["temporary"],
        row["who"],
    )
    assert diagnosis.evidence
    assert diagnosis.remedy and diagnosis.plain


@pytest.mark.parametrize("row", PARAPHRASES, ids=lambda row: f"{row['class']}: {row['text'][:60]}")
def test_paraphrase(row):
    assert diagnose(row).cause.value == row["class"]


def test_the_corpus_is_broad_enough():
    assert len(CORPUS) >= 150
    counted = Counter(row["class"] for row in CORPUS)
    assert {cause.value for cause in Cause} == set(counted)
    assert [name for name, count in counted.items() if count < 4] == []
    sources = {(row["class"], row["source"]) for row in CORPUS}
    assert [cause for cause in counted if sum(name == cause for name, _ in sources) < 2] == []
    assert all(row["source"] for row in CORPUS)
    assert len({row["text"] for row in CORPUS}) == len(CORPUS)
