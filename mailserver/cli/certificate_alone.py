"""An order without the server: the command line does what the server would, under the state lock."""

import time
from dataclasses import replace

from mailserver.cli.context import CliContext
from mailserver.config.acme import needed_names, wanted_names
from mailserver.mail.certificate import CertificateSummary
from mailserver.net.acme_challenges import Showing
from mailserver.net.acme_order import failed, in_force, order, record_for, showing_for, without
from mailserver.net.acme_values import AcmeTrouble, Fresh
from mailserver.policy.renewal import Order, Past, decide
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
            standing = None if found is None else found.standing(config.acme, record)
            decision = decide(
                standing, needed_names(config), Past(0, 0.0, record.suggested_at), now, config.acme.renew_before
            )
            if not isinstance(decision, Order) and not is_forced:
                day = time.strftime("%Y-%m-%d", time.gmtime(decision.until))
                context.refuse(
                    f"it is not due before {day}, and authorities give only a few certificates for the same names in a "
                    "week; --force orders one all the same"
                )
            fresh, record = _ordered(context, folder, showing, record, now)
            folder.install(fresh.key_pem, fresh.chain_pem)
            folder.write_record(
                replace(record, obtained_at=now, obtained_from=config.acme.directory, suggested_at=0.0, asked_at=now)
            )
    except StateLocked as trouble:
        context.refuse(f"{trouble}, and does not answer; try again")
    except OSError as error:
        context.refuse(f"{error.filename or folder.path}: {error.strerror}")
    for text in fresh.left:
        context.warn(f"{text}: remove it by hand")
    return fresh.summary


def _ordered(
    context: CliContext, folder: AcmeFolder, showing: Showing, record: AcmeRecord, now: float
) -> tuple[Fresh, AcmeRecord]:
    """A pair for all wanted names, or for those that the authority can see; and what is to be remembered."""
    names, kept = wanted_names(context.config), replace(record, failures=0, next_attempt_at=0.0, reason="", remedy="")
    while True:
        try:
            return order(context.config, folder, names, showing, time.sleep, time.time), kept
        except AcmeTrouble as trouble:
            kept = failed(kept, trouble, now)
            names = without(names, trouble, context.config)
            if not names:
                folder.write_record(failed(record, trouble, now))
                context.refuse(f"{trouble}: {trouble.remedy}")
            context.warn(f"{trouble}: {trouble.remedy}; the certificate goes without")
