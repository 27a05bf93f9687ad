"""The documents say what the program does, where that can be checked."""

import re
from pathlib import Path

import pytest

from mailserver import maillog
from mailserver.cli.main import main
from mailserver.cli.why_life import Life
from mailserver.cli.why_text import as_object, event_object
from mailserver.maillog import MailEvent
from mailserver.store.journal_read import Entry
from mailserver.store.spool_format import FORMAT_VERSION
from mailserver.store.spool_state import STATE_VERSION, RecipientProgress
from mailserver.store.suppression import SUPPRESSION_VERSION

ROOT = Path(__file__).parents[1]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
README = (ROOT / "README.md").read_text()
WHY = (ROOT / "mailserver" / "cli" / "why.py").read_text()


def test_every_word_of_the_log_is_explained_and_no_other():
    words = {
        event.word
        for event in vars(maillog).values()
        if isinstance(event, type) and issubclass(event, MailEvent) and event.word and not event.is_history_only
    }
    table = OPERATING.partition("| word | meaning |")[2].partition("\n\n")[0]
    explained = {word for row in table.splitlines() for word in re.findall(r"`([a-z0-9-]+)`", row.split(" | ")[0])}
    assert explained == words


@pytest.mark.parametrize(
    "document",
    [
        "docs/operating.md",
        "docs/accounts.md",
        "docs/authentication.md",
        "docs/backup.md",
        "docs/flow.md",
        "docs/junk.md",
        "docs/bounces.md",
        "docs/certificates.md",
        "docs/dns.md",
        "docs/doctor.md",
        "docs/queue-format.md",
        "docs/reports.md",
        "docs/setup.md",
        "docs/transport-security.md",
        "docs/web.md",
        "docs/why.md",
        "bench/README.md",
    ],
)
def test_links_and_modules_that_are_named_exist(document):
    text = (ROOT / document).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    modules = re.findall(r"`((?:mail|wire|policy|store|relay|session|net|cli|config)/\w+\.py)`", text)
    modules += re.findall(r"`(tap\.py|service\.py|assembly\.py|foundation\.py)`", text)
    missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    missing += [module for module in modules if not (ROOT / "mailserver" / module).exists()]
    assert not missing


def test_every_command_that_is_named_exists():
    """`mailserver account add|list`, `mailserver queue list`, ...; what is not built is not told of."""
    context = main.make_context("mailserver", ["--config", "x", "account"], resilient_parsing=True)
    known = set()
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        known.add(name)
        known.update(f"{name} {one}" for one in getattr(command, "commands", {}))
    for text in (README, OPERATING):
        for named in re.findall(
            r"`?mailserver ((?:account|alias|queue|suppression) [a-z|-]+|route|check-config)", text
        ):
            group, _, rest = named.partition(" ")
            for one in rest.split("|"):
                assert f"{group} {one}".strip() in known


def test_the_queue_format_is_described_with_its_versions():
    text = (ROOT / "docs" / "queue-format.md").read_text()
    assert f"## Message file: version {FORMAT_VERSION}\n" in text
    assert f"## State file: version {STATE_VERSION}\n" in text
    assert f"## The suppression list: version {SUPPRESSION_VERSION}\n" in text
    for key in (*RecipientProgress.__slots__, "received_at", "source", "notify", "orcpt"):
        assert f"`{key}`" in text


def test_the_json_of_why_is_described_key_by_key():
    text = (ROOT / "docs" / "why.md").read_text().partition("## For programs")[2]
    told = set(re.findall(r"`([a-z_-]+)`", text))
    event = event_object(Entry(1, 1.0, "", "filed", {}), "")
    message = as_object(Life("0000000000001"), [])
    assert {*event, *message} <= told
    assert set(re.findall(r'^                "([a-z_]+)":', WHY, re.MULTILINE)) <= told


def test_every_check_of_the_doctor_is_explained_and_no_other():
    from mailserver.doctor.examine import NAMES

    text = (ROOT / "docs" / "doctor.md").read_text().partition("## The checks\n")[2]
    assert re.findall(r"^### ([a-z0-9-]+)$", text, re.MULTILINE) == list(NAMES)
