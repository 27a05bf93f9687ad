"""docs/bounces.md prints three reports whole; they are those that the server makes."""

import time

import pytest

from mailserver.relay.bounce import MAX_FULL_OCTETS
from tests.relay import printed_reports
from tests.relay.printed_reports import DOCUMENT, blocks, printed


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_the_printed_reports_are_what_the_server_makes():
    assert blocks(DOCUMENT.read_text()) == printed(), f"run: python -m {printed_reports.__name__}"


def test_the_numbers_of_the_page_are_those_of_the_program():
    assert f"{MAX_FULL_OCTETS // 1024} KiB" in DOCUMENT.read_text()
