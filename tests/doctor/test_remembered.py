"""<state>/doctor.json."""

import json

import pytest

from mailserver.doctor.changes import Known
from mailserver.doctor.check import Check, Verdict
from mailserver.doctor.remembered import LastLook, ResultsFile, decode, encode
from mailserver.store.spool_json import Damaged, NewerFormat

LAST = LastLook(
    1_750_000_000.125,
    {
        "disk": Known(Check("disk", Verdict.PASS, 'all "well"')),
        "dns MX example.org": Known(
            Check("dns", Verdict.FAIL, "there is none", "publish ü", "MX example.org"), 2, True
        ),
    },
)


def test_what_is_written_is_read_again(tmp_path):
    file = ResultsFile(tmp_path)
    assert file.read() is None
    file.write(LAST)
    assert file.read() == LAST
    (tmp_path / "doctor.json.new").write_text("left by a crash")
    file.write(LastLook(1.0, {}))
    assert file.read() == LastLook(1.0, {})
    assert [path.name for path in tmp_path.iterdir()] == ["doctor.json"]
    assert (tmp_path / "doctor.json").stat().st_mode & 0o777 == 0o600


def changed(**keys):
    about = json.loads(encode(LAST))
    return json.dumps({**about, **keys}).encode()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b"{}",
        changed(version=0),
        changed(more=1),
        changed(findings={}),
        changed(findings=[1]),
        changed(findings=[{"name": "disk", "verdict": "fine"}]),
        changed(findings=[{"name": 7, "verdict": "pass"}]),
        changed(findings=[{"name": "disk", "verdict": "pass", "more": 1}]),
        changed(looked_at=-1),
        b" " * (5 << 20),
    ],
)
def test_damage_is_told(octets):
    with pytest.raises(Damaged):
        decode(octets)


def test_a_newer_format_is_left_alone():
    with pytest.raises(NewerFormat):
        decode(changed(version=2, findings="something else"))
