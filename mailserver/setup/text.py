"""What setup prints: decisions with reasons, what is left to do, the next commands. Pure."""

from collections.abc import Iterable, Iterator

from mailserver.policy.records.values import Record
from mailserver.setup.apply import Missing, useradd
from mailserver.setup.listening import ALL
from mailserver.setup.machine_files import UNIT, PlannedFile, Program, socket_name
from mailserver.setup.values import Errand, Layout, Plan

HEADINGS = ("NAME", "TYPE", "NEED", "WHAT IT IS FOR")


def decided(plan: Plan) -> Iterator[str]:
    """A line for each decision, and for what the owner has decided otherwise."""
    for one in plan.decisions:
        yield f"- {one.says}: {one.reason}"
    for line in plan.kept:
        yield f"- {line}"


def lacking(missing: Missing, layout: Layout) -> Iterator[str]:
    """What will be made beside files."""
    if missing.user:
        yield f"new: the system user {missing.user} ({' '.join(useradd(missing.user, layout.state))})"
    for domain in missing.domains:
        yield f"new: DKIM keys that sign the mail of {domain}"
    if missing.account is not None:
        yield f"new: the account {missing.account}"


def kept_files(kept: Iterable[PlannedFile]) -> Iterator[str]:
    """Files that the owner changed, or made."""
    for one in kept:
        yield f"{one.path} is not as setup left it, so it is yours and stays; move it away to get a new one"


def record_rows(records: Iterable[Record]) -> Iterator[tuple[str, str, str, str]]:
    """The table of records; their values are in the zone file."""
    for one in records:
        yield one.name, one.kind, one.need.value, one.purpose


def errands(found: Iterable[Errand]) -> Iterator[str]:
    """What is left to the owner, most urgent first."""
    for one in sorted(found, key=lambda one: not one.is_needed):
        yield f"- {one.text}"
        for command in one.commands:
            yield f"    {command}"


def starting(layout: Layout, program: Program, *, uses_sockets: bool, is_new: bool, runs: bool) -> Iterator[str]:
    """The commands that start it, and those that look whether all is well."""
    mailserver = "mailserver" if layout.user else f"mailserver --config {layout.config}"
    if layout.user:
        if is_new:
            yield f"ln -sf {program.twistd.with_name('mailserver')} /usr/local/bin/mailserver"
        yield "systemctl daemon-reload"
        if uses_sockets:
            yield f"systemctl enable --now {' '.join(socket_name(service) for service in ALL)}"
        yield f"systemctl restart {UNIT}" if runs else f"systemctl enable --now {UNIT}"
    else:
        yield f"{program.twistd} -n --pidfile= mailserver --config {layout.config}"
    yield f"{mailserver} dns --check"
    yield f"{mailserver} doctor"


def as_object(plan: Plan) -> dict[str, object]:
    """For `--json`."""
    return {
        "hostname": plan.hostname,
        "domains": list(plan.domains),
        "postmaster": str(plan.postmaster),
        "decisions": [
            {"topic": one.topic, "says": one.says, "reason": one.reason, "settings": _plain(one.settings)}
            for one in plan.decisions
        ],
        "settings": _plain(plan.settings),
        "kept": list(plan.kept),
        "errands": [
            {"text": one.text, "commands": list(one.commands), "is_needed": one.is_needed} for one in plan.errands
        ],
        "needs_smarthost": plan.needs_smarthost,
        "addresses": [str(one) for one in plan.addresses],
    }


def _plain(settings: object) -> dict[str, object]:
    assert hasattr(settings, "items")
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def record_object(one: Record) -> dict[str, object]:
    """One record for `--json`."""
    return {
        "name": one.name,
        "type": one.kind,
        "value": one.value,
        "need": one.need.value,
        "purpose": one.purpose,
        "zone_line": one.zone_line,
    }
