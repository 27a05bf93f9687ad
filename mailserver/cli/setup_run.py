"""The course of `mailserver setup`: look, decide, ask, show, write, tell what is next."""

import os
import pwd
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailserver.cli import setup_ask
from mailserver.cli.check_config import troubles_with_files
from mailserver.cli.context import CliContext, Refusal
from mailserver.cli.dkim import make_keys
from mailserver.config import Config, ConfigError, load_config
from mailserver.identity import acting_as
from mailserver.mail.dns import IpAddress
from mailserver.net.listener_text import check_listener
from mailserver.setup import apply as doing
from mailserver.setup import text as words
from mailserver.setup.changes import Changes, as_objects, changes, existing, shown_diffs
from mailserver.setup.decide import decide, recalled
from mailserver.setup.document import Unreadable
from mailserver.setup.layout import lab_layout, system_layout
from mailserver.setup.listening import Ports
from mailserver.setup.look import here, laid_out, survey_now, survey_offline, wishes
from mailserver.setup.machine_files import PlannedFile, Program, machine_files
from mailserver.setup.values import Answers, Existing, Here, Layout, Plan
from mailserver.setup.write import put
from mailserver.survey.values import Survey, Wishes

Look = Callable[[Wishes, Config | None], Survey]


@dataclass(frozen=True, slots=True)
class Request:
    """The command line."""

    domain: str
    user: str = ""
    hostname: str = ""
    smarthost: str = ""
    smarthost_username: str = ""
    smarthost_password_stdin: bool = False
    agree_terms: bool = False
    webroot: Path | None = None
    dns_hook: Path | None = None
    addresses: tuple[IpAddress, ...] = ()
    directory: Path | None = None
    port_offset: int = 0
    sockets: bool = False
    offline: bool = False
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False

    @property
    def answers(self) -> Answers:
        """What the owner has said so far."""
        return Answers(
            domain=self.domain,
            user=self.user,
            hostname=self.hostname,
            smarthost=self.smarthost,
            smarthost_username=self.smarthost_username,
            has_agreed=self.agree_terms,
            webroot=self.webroot,
            dns_hook=self.dns_hook,
            addresses=self.addresses,
            port_offset=self.port_offset,
            uses_sockets=self.sockets,
        )

    @property
    def writes(self) -> bool:
        """Whether anything may be written at all."""
        return not self.dry_run and (self.yes or not self.as_json)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is there before anything is decided."""

    layout: Layout
    program: Program
    config: Config | None
    before: Existing
    here: Here


def run(context: CliContext, request: Request, look: Look | None = None) -> None:
    """All of it. Raises `Refusal`; ends with status 1 when something would change and nobody could be asked."""
    try:
        _run(context, request, look or (survey_offline if request.offline else survey_now))
    except (doing.SetupTrouble, Unreadable) as trouble:
        raise Refusal(str(trouble)) from None


def _run(context: CliContext, request: Request, look: Look) -> None:
    scene = _scene(request)
    _may_write(request, scene.layout)
    if not request.as_json:
        context.say("looking around ..." if request.offline else "looking around (a minute at most) ...")
    whole = recalled(request.answers, scene.before)
    survey = look(wishes(whole, scene.before, scene.config), scene.config)
    asks = setup_ask.can_ask() and not (request.yes or request.as_json or request.dry_run)
    answers, plan = _decided(request.answers, survey, scene, asks=asks)
    ports = Ports(survey.taken, scene.here, whole.port_offset, whole.uses_sockets)
    files = machine_files(scene.layout, scene.program, ports, str(plan.settings.get("acme.webroot", "")))
    found = changes(scene.layout, plan, scene.before, files)
    config = doing.checked(found, scene.layout)
    missing = doing.missing(scene.layout, config, plan.first)
    is_due = bool(found.made or missing or answers.smarthost)
    if not request.as_json:
        _show(context, plan, survey, found, missing, scene.layout)
    secrets = doing.Secrets()
    is_agreed = is_due and request.writes and (request.yes or (asks and setup_ask.agrees()))
    if is_agreed:
        secrets = setup_ask.secrets(context, request, answers, missing, scene.layout, asks=asks)
        doing.apply(found, missing, config, scene.layout, secrets, _troubles, make_keys)
    records = _Records(context, config, plan, scene.layout)
    if is_agreed or (request.yes and request.writes):
        records.write()
    if is_agreed:
        doing.make_account(missing, config, scene.layout, secrets)
    if request.as_json:
        _say_json(context, plan, found, records, missing, secrets, is_agreed=is_agreed)
    elif is_agreed or not is_due or request.dry_run:
        _tell(context, plan, records, missing if is_agreed else doing.Missing(), secrets)
    if is_agreed and not request.as_json:
        context.say("\nthen:")
        is_new, runs = scene.config is None, bool(scene.here.server)
        program = scene.program
        for line in words.starting(scene.layout, program, uses_sockets=whole.uses_sockets, is_new=is_new, runs=runs):
            context.say(f"  {line}")
    if is_due and not is_agreed and request.writes:
        context.refuse("nothing was written; --yes writes it without asking")


def _decided(answers: Answers, survey: Survey, scene: Scene, *, asks: bool) -> tuple[Answers, Plan]:
    """The plan, once more with the answers to what could not be found out."""
    plan = decide(survey, answers, scene.before, scene.layout, scene.here)
    if not asks:
        return answers, plan
    answers = setup_ask.questions(answers, plan, is_new=scene.config is None)
    return answers, decide(survey, answers, scene.before, scene.layout, scene.here)


def _say_json(
    context: CliContext,
    plan: Plan,
    found: Changes,
    records: "_Records",
    missing: doing.Missing,
    secrets: doing.Secrets,
    *,
    is_agreed: bool,
) -> None:
    account = {"account": str(missing.account), "password": secrets.account} if secrets.is_made else {}
    made = {"changes": as_objects(found), "records": records.objects(), "written": is_agreed}
    context.say_json(words.as_object(plan) | made | account)


def _scene(request: Request) -> Scene:
    layout = lab_layout(request.directory.absolute()) if request.directory else system_layout()
    config = None
    if layout.config.exists():
        try:
            config = load_config(layout.config, check_listener)
        except ConfigError as error:
            raise Refusal(
                f"the configuration that is there has errors; mend it first, or move it away:\n{error}"
            ) from None
    try:
        before = existing(layout)
    except OSError as error:
        raise Refusal(f"{error.filename} cannot be read: {(error.strerror or str(error)).lower()}") from None
    layout = laid_out(layout, config)
    program = Program(Path(sys.executable).with_name("twistd"), _who())
    return Scene(layout, program, config, before, here(layout, program.twistd, is_offline=request.offline))


def _who() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _may_write(request: Request, layout: Layout) -> None:
    """Before somebody waits a minute for nothing."""
    if request.writes and layout.user and os.geteuid() != 0:
        raise Refusal(
            f"setting up {layout.config.parent} takes root: sudo mailserver setup {request.domain} ...; or look first, "
            "with --dry-run, or try it in a folder of your own, with --directory"
        )


def _show(
    context: CliContext, plan: Plan, survey: Survey, found: Changes, missing: doing.Missing, layout: Layout
) -> None:
    context.say("\ndecided:")
    for line in (*words.decided(plan), *(f"- {note}" for note in survey.notes)):
        context.say(line)
    if not (found.made or missing):
        context.say("\nnothing is to be changed")
    else:
        context.say("\nto be written:")
        for line in (*words.lacking(missing, layout), *shown_diffs(found)):
            context.say(line)
    for line in words.kept_files(found.kept):
        context.say(line)


def _tell(context: CliContext, plan: Plan, records: "_Records", made: doing.Missing, secrets: doing.Secrets) -> None:
    """What the owner needs now: records, password, errands."""
    also = f" (also in {records.path})" if records.is_written else ""
    context.say(f"\nthe DNS records to publish, as a zone file has them{also}:\n")
    context.say(records.zone)
    context.say_table(words.HEADINGS, words.record_rows(records.records))
    if made.account is not None:
        shown = f"; its password, shown only now: {secrets.account}" if secrets.is_made else ""
        context.say(f"\n{made.account} logs in with this address{shown}")
    if plan.errands:
        context.say("\nleft to you:")
        for line in words.errands(plan.errands):
            context.say(line)


def _troubles(config: Config) -> list[str]:
    return list(troubles_with_files(config))


class _Records:
    """The records that follow from what is in force now, and their file."""

    def __init__(self, context: CliContext, config: Config, plan: Plan, layout: Layout) -> None:
        from mailserver.own_records import own_facts
        from mailserver.policy.records.publish import records_for, remarks_for
        from mailserver.policy.records.values import zone_text

        with acting_as(doing.identity(layout)):
            facts = own_facts(config, plan.addresses, time.time())
        for trouble in facts.troubles:
            context.warn(trouble)
        self.path = layout.zone
        self.records = records_for(facts.site)
        self.zone = zone_text(self.records, remarks_for(facts.site))

    @property
    def is_written(self) -> bool:
        """Whether the file has these records."""
        try:
            return self.path.read_text("utf-8") == self.zone
        except (OSError, UnicodeDecodeError):
            return False

    def write(self) -> None:
        """Beside the configuration; they follow from what is in force, so nobody is asked."""
        if not self.is_written:
            put(PlannedFile(self.path, self.zone, "the DNS records to publish"), None)

    def objects(self) -> list[dict[str, object]]:
        """For `--json`."""
        return [words.record_object(one) for one in self.records]
