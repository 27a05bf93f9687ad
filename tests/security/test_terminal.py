"""What a stranger wrote reaches the operator's terminal without controls: a terminal obeys some of them (CWE-150)."""

import json

import pytest

from mailserver.cli.context import CliContext
from mailserver.cli.queue import _show_content

# Each as a next hop may say it in a reply, or a stranger in a header.
OBEYED = (
    "\x1b]0;title\x07",  # ESC: names the window, on some terminals types commands
    "\x9b2J",  # CSI as one C1 control: UTF-8 terminals obey it, and JSON does not escape it
    "\x9d0;t\x9c",
    "\x85next line",
    "\x7f\x7f\x7f",
    "\u202egnp.exe",  # turns the direction of what follows
    "\u2066x\u2069",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\U000e0041",
    "\udc9b",  # an octet that is no UTF-8
    "\r250 ok",
    "a\nb",
)


def is_harmless(text):
    return all(char.isprintable() or char in "\n\t" for char in text)


@pytest.mark.parametrize("text", OBEYED)
def test_json_holds_no_control_and_says_the_same(text, capsys):
    CliContext().say_json([{"reply": text, text: "é ü 漢"}])
    shown = capsys.readouterr().out
    assert is_harmless(shown) and "é ü 漢" in shown
    assert json.loads(shown) == [{"reply": text, text: "é ü 漢"}]


@pytest.mark.parametrize("text", OBEYED)
def test_a_table_holds_no_control(text, capsys):
    CliContext().say_table(("What", "Words"), [("reply", text)])
    shown = capsys.readouterr().out
    assert is_harmless(shown) and shown.count("\n") == shown.count("\t") == 1


@pytest.mark.parametrize("text", OBEYED)
def test_a_message_shown_on_a_terminal_holds_no_control(text, capsys, monkeypatch):
    octets = text.encode("utf-8", "surrogateescape")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _show_content(CliContext(), b"Subject: " + octets + b"\r\n\r\n" + octets + b"\r\n")
    shown = capsys.readouterr().out
    assert is_harmless(shown) and "Subject: " in shown
