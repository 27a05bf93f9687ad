"""The targets without a fuzzer: their seeds, everything that was ever found, and inputs from hypothesis.

`make fuzz` and `make fuzz-short` run them with one; see docs/security.md.
"""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.table import TARGETS, Target, target_named

FINDINGS = sorted((Path(__file__).parent / "findings").iterdir())
targets = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


@targets
def test_seeds(target: Target):
    count = 0
    for seed in target.seeds():
        assert len(seed) <= 16_384
        target.run(seed)
        count += 1
    assert count


@pytest.mark.parametrize("path", FINDINGS, ids=[path.name for path in FINDINGS])
def test_what_was_found_once_stays_mended(path):
    """A file is named after its target and what it found; a new one is put here by whoever mends it."""
    target_named(path.name.partition("-")[0]).run(path.read_bytes())


@targets
def test_damaged_seeds(target: Target):
    """Not a search, but enough to notice a target that was broken by a change."""
    chance = random.Random(1)
    seeds = list(target.seeds())
    for _ in range(60):
        octets = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 5)):
            place = chance.randrange(len(octets) + 1)
            octets[place : place + chance.randrange(3)] = chance.choice(
                (b"\r\n", b"\0", b".", b"\xff", b'"', b"9", b"")
            )
        target.run(bytes(octets))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TARGETS), st.binary(max_size=60))
def test_any_octets(target: Target, octets: bytes):
    target.run(octets)


def test_there_are_ten_million_inputs():
    assert sum(target.count for target in TARGETS) >= 10_000_000
