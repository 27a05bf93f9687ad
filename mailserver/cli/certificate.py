"""`mailserver certificate`: which certificate is in force and for how long, and a new one by ACME.

A running server orders for itself, over the control socket. Without it the order is made here, under the state lock.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from mailserver.cli.context import CliContext
from mailserver.cli.ownership import reading_hint
from mailserver.config import Config
from mailserver.config.acme import needed_names, wanted_names
from mailserver.mail.certificate import CertificateSummary, covers
from mailserver.policy.renewal import Order, Past, decide
from mailserver.store.acme_folder import AcmeFolder, AcmeRecord
from mailserver.store.certificates import Unusable, read_summary
from mailserver.store.control_socket import ControlFailed, ControlUnavailable, Request, ask

# Challenges, DNS that takes its time, and the authority's own work.
_TIMEOUT_S = 590.0


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print an object; times are seconds since the epoch.")
@click.pass_context
def certificate(click_context: click.Context, as_json: bool) -> None:
    """The certificate in force, and a new one.

    Alone it shows the one in force. What the server obtained by itself ([acme]) is renewed without being asked.
    """
    if click_context.invoked_subcommand is None:
        click_context.invoke(show, as_json=as_json)


@certificate.command()
@click.option("--json", "as_json", is_flag=True, help="Print an object; times are seconds since the epoch.")
@click.pass_obj
def show(context: CliContext, as_json: bool) -> None:
    """Names, issuer, days left, where it is from, when it is renewed. Exit status 1 when something is wrong with it."""
    config, now = context.config, time.time()
    source = _source(config)
    found: CertificateSummary | None = None
    trouble = ""
    try:
        found = read_summary(source.path)
    except FileNotFoundError:
        trouble = "there is none yet; the server makes or obtains one when it runs"
    except OSError as error:
        context.refuse(f"{source.path}: {error.strerror}{reading_hint(config, source.path)}")
    except Unusable as fault:
        trouble = str(fault)
    record = _record(config)
    wrong = [trouble] if trouble else _remarks(config, found, record, now)
    if as_json:
        context.say_json(_object(config, source, found, record, wrong, now))
    else:
        for line in _lines(config, source, found, record, now):
            context.say(line)
        for one in wrong:
            context.warn(one)
    if wrong:
        raise click.exceptions.Exit(1)


@certificate.command()
@click.option("--force", is_flag=True, help="Although the one in force is good for long.")
@click.pass_obj
def renew(context: CliContext, force: bool) -> None:
    """Order a certificate now. It is in force at once, and nobody is disconnected."""
    config = context.config
    if not config.acme.is_on:
        context.refuse(
            f"{config.path}: acme.directory is empty, so certificates come from elsewhere; after renewing one there, "
            "send SIGHUP to the server (systemctl reload mailserver)"
        )
    context.become_owner()
    request = Request("certificate-renew", by=context.operator, about={"force": "yes"} if force else {})
    try:
        about = ask(config.storage.state, request, _TIMEOUT_S).about
        names, issuer, ends = str(about["names"]), str(about["issuer"]), float(about["not_after"])
    except (ControlFailed, ValueError) as error:
        context.refuse(str(error))
    except ControlUnavailable:
        from mailserver.cli.certificate_alone import order_alone

        found = order_alone(context, is_forced=force)
        names, issuer, ends = ", ".join(found.names), found.issuer, found.not_after
    context.say(f"a certificate for {names} from {issuer}, good until {_day(ends)}, is in force")


# --- parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the certificate in force comes from: `files`, `acme` or `self-signed`."""

    kind: str
    path: Path
    text: str


def _source(config: Config) -> _Source:
    if config.tls.certificate is not None:
        return _Source("files", config.tls.certificate, f"{config.tls.certificate} ([tls] certificate)")
    own = config.storage.state / "tls" / "certificate.pem"
    if not config.acme.is_on:
        return _Source("self-signed", own, "made by the server itself; mail programs ask whether to trust it")
    obtained = AcmeFolder(config.storage.state).certificate
    # Not Path.exists, which raises where a folder on the way may not be searched.
    if os.path.exists(obtained):  # noqa: PTH110 - see above
        known = AcmeFolder(config.storage.state).remembered().obtained_from
        return _Source("acme", obtained, f"obtained from {known or config.acme.directory}")
    return _Source("self-signed", own, f"made by the server itself until one comes from {config.acme.directory}")


def _record(config: Config) -> AcmeRecord | None:
    """What the server remembers of its orders; it is about nothing when ACME is off."""
    if not config.acme.is_on:
        return None
    from mailserver.net.acme_order import record_for

    return record_for(config, AcmeFolder(config.storage.state))


def next_order(config: Config, found: CertificateSummary | None, record: AcmeRecord, now: float) -> float:
    """When the server will order next; `now` when it is due."""
    from mailserver.net.acme_order import in_force

    pair = in_force(AcmeFolder(config.storage.state)) if found is not None else None
    standing = None if pair is None else pair.standing(config.acme, record)
    past = Past(record.failures, record.next_attempt_at, record.suggested_at)
    decision = decide(standing, needed_names(config), past, now, config.acme.renew_before)
    return now if isinstance(decision, Order) else decision.until


def _remarks(config: Config, found: CertificateSummary | None, record: AcmeRecord | None, now: float) -> list[str]:
    wrong = []
    if found is not None:
        if found.not_after <= now:
            wrong.append(f"it expired on {_day(found.not_after)}")
        missing = _not_covered(found, needed_names(config) if config.acme.is_on else (config.hostname,))
        if missing and not (config.acme.is_on and found.is_self_signed):
            wrong.append(f"it does not cover {', '.join(missing)}")
    if record is not None and record.failures:
        wrong.append(f"the last order failed ({_moment(record.failed_at)}): {record.reason}: {record.remedy}")
    return wrong


def _not_covered(found: CertificateSummary, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if not any(covers(one, name) for one in found.names)]


def _lines(
    config: Config, source: _Source, found: CertificateSummary | None, record: AcmeRecord | None, now: float
) -> list[str]:
    lines = [f"from: {source.text}"]
    if found is not None:
        lines += [
            f"names: {', '.join(found.names)}",
            f"issuer: {found.issuer}",
            f"good until: {_day(found.not_after)} ({found.days_left(now)} days)",
            f"key (TLSA 3 1 1): {found.spki_sha256}",
        ]
    if found is not None and source.kind == "acme":
        later = [name for name in _not_covered(found, wanted_names(config)) if name not in needed_names(config)]
        if later:
            lines.append(f"not in it: {', '.join(later)} (each needs an A or AAAA record that leads here)")
    if record is not None:
        next_at = next_order(config, found if source.kind == "acme" else None, record, now)
        lines.append(f"next order: {'now, when the server runs' if next_at <= now else _moment(next_at)}")
    return lines


def _object(
    config: Config,
    source: _Source,
    found: CertificateSummary | None,
    record: AcmeRecord | None,
    wrong: list[str],
    now: float,
) -> dict[str, object]:
    is_acme = source.kind == "acme"
    return {
        "source": source.kind,
        "file": str(source.path),
        "directory": config.acme.directory or None,
        "names": list(found.names) if found else [],
        "issuer": found.issuer if found else None,
        "not_before": round(found.not_before) if found else None,
        "not_after": round(found.not_after) if found else None,
        "days_left": found.days_left(now) if found else None,
        "serial": found.serial if found else None,
        "spki_sha256": found.spki_sha256 if found else None,
        "next_order": round(next_order(config, found if is_acme else None, record, now)) if record else None,
        "failures": record.failures if record else 0,
        "last_failure": record.reason or None if record else None,
        "remedy": record.remedy or None if record else None,
        "wrong": wrong,
    }


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def _moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
