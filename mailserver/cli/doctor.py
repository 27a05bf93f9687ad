"""`mailserver doctor`: everything that can rot, each with a verdict, the finding and the remedy."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mailserver.cli.context import CliContext, Refusal
from mailserver.store.account_tables import AccountsError, AccountTables
from mailserver.store.accounts import AccountsFile
from mailserver.store.control_socket import ControlFailed, ControlUnavailable, Request, ask

if TYPE_CHECKING:
    from mailserver.doctor.check import Check
    from mailserver.doctor.server import ServerFacts

HEADINGS = ("VERDICT", "CHECK", "FINDING", "REMEDY")
_ASK_S = 10.0
_MANY = 8


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.option("--only", metavar="NAME", multiple=True, help="Make this check only; may be given several times.")
@click.pass_obj
def doctor(context: CliContext, as_json: bool, only: tuple[str, ...]) -> None:
    """Look after everything that can rot.

    That is: records in DNS, names, block lists, certificate, ports, queue, disks, keys and more. Works whether the
    server runs or not. Each line has a verdict, what was found, and what to do about it; docs/doctor.md tells more. A
    running server looks by itself each day and writes to the postmaster when something has changed. Exit status 1 when
    a check fails.
    """
    names = _names()
    wrong = [one for one in only if one not in names]
    if wrong:
        raise click.UsageError(f"there is no check {wrong[0]!r}; there are {', '.join(names)}")
    _ = context.config  # a wrong one is refused before anything else
    try:
        context.become_owner()
    except Refusal as refusal:
        # Much can be seen by anybody; what cannot be says so.
        context.warn(str(refusal))
    found = _looked(context, only)
    if as_json:
        context.say_json([_object(one) for one in found])
    else:
        shown = _shortened(found)
        context.say_table(HEADINGS, ((one.verdict.value, one.name, one.finding, one.remedy) for one in shown))
        context.say(_sentence(found))
    if any(one.verdict.value == "fail" for one in found):
        raise click.exceptions.Exit(1)


def _names() -> Sequence[str]:
    from mailserver.doctor.examine import NAMES

    return NAMES


def _looked(context: CliContext, only: Sequence[str]) -> "list[Check]":
    """Run the checks under a reactor of their own."""
    from twisted.internet import task
    from twisted.internet.defer import Deferred

    from mailserver.doctor.examine import examine
    from mailserver.doctor.system import make_case
    from mailserver.net.blocking import BlockingLanes
    from mailserver.net.clock import ReactorClock

    found: list[Check] = []
    server, tables = _server(context), _tables(context)

    async def look(reactor: Any) -> None:
        lanes = BlockingLanes(reactor)
        case = make_case(
            context.config,
            reactor,
            blocking=lanes,
            clock=ReactorClock(reactor),
            server=server,
            tables=tables,
            tries_port25=True,
            only=only,
        )
        found.extend(await examine(case))
        await lanes.close()

    try:
        task.react(lambda reactor: Deferred.fromCoroutine(look(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    return found


def _server(context: CliContext) -> "ServerFacts | None":
    """What a running server says of itself; None when none runs."""
    from mailserver.doctor.server import ServerFacts
    from mailserver.foundation import running_server

    state = context.config.storage.state
    if state.exists() and not os.access(state, os.R_OK | os.X_OK):
        return ServerFacts("")
    process = running_server(state)
    try:
        about = ask(state, Request("doctor-facts"), _ASK_S).about
    except (ControlUnavailable, ControlFailed, ValueError):
        return ServerFacts(process) if "(server)" in process else None
    try:
        facts = json.loads(str(about["facts"]))
        return ServerFacts(process or "a process", int(facts["open_files"]), float(facts["certificate_until"]))
    except (KeyError, TypeError, ValueError):
        return ServerFacts(process or "a process")


def _tables(context: CliContext) -> AccountTables | str:
    config = context.config
    accounts = AccountsFile(config.accounts.file, config.domains, config.postmaster)
    try:
        accounts.load()
    except AccountsError as error:
        return error.errors[0]
    return accounts.tables


def _object(one: "Check") -> dict[str, str]:
    return {
        "name": one.name,
        "about": one.about,
        "verdict": one.verdict.value,
        "finding": one.finding,
        "remedy": one.remedy,
    }


def _shortened(found: "list[Check]") -> "list[Check]":
    """What is well with many parts of one check is one line: nobody reads twenty records that are right."""
    from mailserver.doctor.check import Verdict, passed

    well = Counter(one.name for one in found if one.verdict is Verdict.PASS)
    shown: list[Check] = []
    for one in found:
        if one.verdict is not Verdict.PASS or well[one.name] <= _MANY:
            shown.append(one)
        elif one.name not in {other.name for other in shown if other.about == "all"}:
            shown.append(passed(one.name, f"{well[one.name]} are as they should be", "all"))
    return shown


def _sentence(found: "list[Check]") -> str:
    counts = dict.fromkeys(("pass", "warn", "fail", "unknown", "skip"), 0)
    for one in found:
        counts[one.verdict.value] += 1
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)
