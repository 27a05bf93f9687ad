"""An order without the server: the command line does what the server would, under the state lock."""

import time
from dataclasses import replace

from mailserver.cli.context import CliContext
from mailserver.config.acme import wanted_names
from mailserver.mail.certificate import CertificateSummary
from mailserver.net.acme_order import in_force, order, record_for, showing_for
from mailserver.net.acme_values import AcmeTrouble
from mailserver.policy.renewal import Order, Past, after_failure, decide
from mailserver.store.acme_folder import AcmeFolder, AcmeRecord
from mailserver.store.state_lock import StateLock, StateLocked


def order_alone(context: CliContext, *, is_forced: bool) -> CertificateSummary:
    """Order and put on disk; the server takes it at its next start. Raises `Refusal`."""
    config = context.config
    showing = showing_for(config.acme)
    if showing is None:
        context.refuse("start the server: it answers the authority itself, and orders when it runs")
    folder = AcmeFolder(config.storage.state)
    try:
        with StateLock(config.storage.state, "certificate renew"):
            now = time.time()
            record = record_for(config, folder)
            found = in_force(folder)
            standing = None if found is None else found.standing(config.acme)
            decision = decide(
                standing, wanted_names(config), Past(0, 0.0, record.suggested_at), now, config.acme.renew_before
            )
            if not isinstance(decision, Order) and not is_forced:
                day = time.strftime("%Y-%m-%d", time.gmtime(decision.until))
                context.refuse(
                    f"it is not due before {day}, and authorities give only a few certificates for the same names in a "
                    "week; --force orders one all the same"
                )
            try:
                fresh = order(config, folder, showing, time.sleep, time.time)
            except AcmeTrouble as trouble:
                folder.write_record(_after(trouble, record, now))
                context.refuse(f"{trouble}: {trouble.remedy}")
            folder.install(fresh.key_pem, fresh.chain_pem)
            folder.write_record(
                AcmeRecord(settings=record.settings, obtained_at=now, asked_at=now, warned_for=record.warned_for)
            )
    except StateLocked as trouble:
        context.refuse(f"{trouble}, and does not answer; try again")
    except OSError as error:
        context.refuse(f"{error.filename or folder.path}: {error.strerror}")
    for text in fresh.left:
        context.warn(f"{text}: remove it by hand")
    return fresh.summary


def _after(trouble: AcmeTrouble, record: AcmeRecord, now: float) -> AcmeRecord:
    past = after_failure(
        Past(record.failures, record.next_attempt_at, record.suggested_at),
        now,
        trouble.wait_s,
        is_limited=trouble.is_limited,
    )
    return replace(
        record,
        failures=past.failures,
        failed_at=now,
        next_attempt_at=past.next_attempt_at,
        reason=str(trouble),
        remedy=trouble.remedy,
    )
