"""Whatever stands in the file, the answer is a Config or a list of printable lines; never anything else."""

import contextlib
import tomllib
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.config import Config, ConfigError, load_config
from mailserver.config.schema import DERIVED
from mailserver.config.structure import key_names, structure
from mailserver.config.syntax import syntax_error
from mailserver.net.listener_text import check_listener

SAMPLE = (Path(__file__).parents[2] / "etc" / "mailserver.toml").read_text("utf-8")

# Every key must survive each of these.
VALUES = [
    "true",
    "false",
    "0",
    "-1",
    "1",
    "10" + "0" * 300,
    "0x7f",
    "1e400",
    "-0.0",
    "nan",
    "inf",
    "-inf",
    '""',
    '" "',
    '"\\u0000"',
    '"\\u202e"',
    '"\\n"',
    '"' + "a" * 100_000 + '"',
    '"٣"',
    '"1_0"',
    '"5M"',
    '"+5s"',
    '"1e3s"',
    '"99999999999999999999s"',
    '"."',
    '".."',
    '"..."',
    '"@"',
    '"@@"',
    '"a@b@c"',
    '":"',
    '"::"',
    '"[]:25"',
    '"[::1"',
    '"::1%eth0"',
    '"[fe80::1%eth0]:25"',
    '"host:99999"',
    '"host:٢٥"',
    '"/"',
    '"//"',
    '"/dev/null"',
    '"1.2.3.4/33"',
    '"1.2.3"',
    '"tcp:"',
    '"tcp:-1"',
    '"tcp:25:interface="',
    '"tcp:25\\\\"',
    '"haproxy:haproxy:tcp:25"',
    '"systemd:"',
    '"xn--\\u00fc"',
    "[]",
    "[[]]",
    '[""]',
    "[true, 1, 1.5, 1979-05-27, 07:32:00, {}, []]",
    '["a", "a"]',
    "{}",
    "{ a = 1 }",
    '{ "" = "" }',
    '{ "example.net" = {} }',
    '{ "example.net" = "x:1", "EXAMPLE.NET" = "y:1" }',
    "1979-05-27T07:32:00Z",
    "07:32:00",
]


def _keys():
    for field in attrs.fields(Config):
        if field.name in DERIVED:
            continue
        yield (field.name,)
        if attrs.has(field.type):
            yield from ((field.name, name) for name in key_names(field.type))


@pytest.mark.parametrize("value", VALUES, ids=[value[:30] for value in VALUES])
def test_every_key_answers_every_value_with_a_value_or_a_text(value):
    parsed = tomllib.loads(f"x = {value}")["x"]
    for key in _keys():
        table = {"hostname": "mail.example.org", "domains": ["example.org"], "postmaster": "a@example.org"}
        if len(key) == 2:
            table[key[0]] = {key[1]: parsed}
        else:
            table[key[0]] = parsed
        config, errors = structure(table, Path("/etc/mailserver"))
        assert isinstance(config, Config)
        for error in errors:
            assert error.text.startswith(".".join(key)), error.text
            assert error.text.isprintable()
            assert len(error.text) < 500


def _answer(folder: Path, text: str) -> None:
    path = folder / "mailserver.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ConfigError):
        try:
            load_config(path, check_listener)
        except ConfigError as error:
            assert all(line.isprintable() for line in error.errors), error.errors
            raise


@given(at=st.integers(0, len(SAMPLE)), cut=st.integers(0, 40), put=st.text(max_size=5))
def test_damaged_sample_is_answered_in_printable_lines(tmp_path_factory, at, cut, put):
    _answer(tmp_path_factory.getbasetemp(), SAMPLE[:at] + put + SAMPLE[at + cut :])


@given(text=st.text(alphabet="[]{}=\"'.,#\\\n ab1:-_\x00\ud800", max_size=40))
def test_nonsense_is_answered_in_printable_lines(tmp_path_factory, text):
    _answer(tmp_path_factory.getbasetemp(), text)


@given(text=st.text(alphabet="[]{}=\"'.,#\\\n ab1:-_tfxu", max_size=40))
def test_syntax_errors_have_a_place_and_our_words(text):
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        told = syntax_error(error, text)
        assert told.startswith(("line ", "at the end of the file: "))
        assert ": not valid TOML: " in told
        for theirs in (
            "Expected",
            "Invalid",
            "Cannot",
            "Unterminated",
            "Unclosed",
            "Illegal",
            "Unescaped",
            "Duplicate",
        ):
            assert theirs not in told.partition("not valid TOML: ")[2].partition(": ")[0]
