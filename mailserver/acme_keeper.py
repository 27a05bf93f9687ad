"""The certificate of the running server, when it comes by ACME: when it is ordered, and what becomes of it.

`policy.renewal` has the rules, `net.acme_order` the order, `store.acme_folder` the files; here they meet the clock. An
order runs in a worker thread of its own. A new pair is on disk before it is in force, and sessions that are open keep
the one they began with.
"""

import random
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.logger import Logger

from mailserver.config import Config
from mailserver.mail.certificate import CertificateSummary
from mailserver.maillog import CertificateFailed, CertificateObtained, CertificateRenewed, Sink, Trouble
from mailserver.net.acme_challenges import Answers, Showing
from mailserver.net.acme_names import NamesInDns
from mailserver.net.acme_order import (
    InForce,
    failed,
    in_force,
    order,
    record_for,
    showing_for,
    suggested_renewal,
    without,
)
from mailserver.net.acme_values import AcmeTrouble, Fresh
from mailserver.net.control import Command
from mailserver.net.services import Poll, Starter
from mailserver.net.tls import CertificateFiles, CertificateTrouble, ServerTls
from mailserver.policy.renewal import DAY_S, HOUR_S, Order, Past, Reason, Wait, decide, fits, is_urgent
from mailserver.ports import Blocking, Clock, Lane, Overloaded, Resolver
from mailserver.store.acme_folder import AcmeFolder, AcmeRecord
from mailserver.store.control_socket import Request, Response

# Certificates are looked at once a day; so much earlier or later, so that not everybody comes at the same hour.
JITTER_S = 2 * 3600.0
# How often it is asked whether that time has come; the first time is so long after the start.
LOOK_EACH_S = 1.0
# After trouble with our own disk.
SOON_S = 600.0
# How long the stop waits for an order to clean up behind itself.
STOP_S = 3.0

# On the control socket.
RENEW_COMMAND = "certificate-renew"

_log = Logger()

# Tells the postmaster by mail: subject and text; whether it is on its way.
TellPostmaster = Callable[[str, str], Awaitable[bool]]
Place = Callable[[Config, AcmeFolder, tuple[str, ...], Showing, Callable[[float], None], Callable[[], float]], Fresh]
Suggest = Callable[[Config, AcmeFolder, Callable[[], float]], "float | None"]


class Stopped(Exception):
    """The server stops: the order is given up."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an order that was asked for came to. `error` is empty when it was done; then `summary` is there."""

    error: str = ""
    summary: CertificateSummary | None = None


class AcmeKeeper:
    """`look` is to be called every few seconds. `place` and `suggest` order and ask at the authority (blocking)."""

    def __init__(
        self,
        config: Config,
        folder: AcmeFolder,
        tls: ServerTls,
        showing: Showing,
        names: NamesInDns,
        *,
        blocking: Blocking,
        clock: Clock,
        log: Sink,
        tell_postmaster: TellPostmaster,
        rng: random.Random,
        place: Place = order,
        suggest: Suggest = suggested_renewal,
    ) -> None:
        self._config = config
        self._folder = folder
        self._tls = tls
        self._showing = showing
        self._blocking = blocking
        self._clock = clock
        self._log = log
        self._tell_postmaster = tell_postmaster
        self._rng = rng
        self._place = place
        self._suggest = suggest
        self._names = names
        self._looks_at = float("-inf")
        self._is_busy = False
        self._stopping = threading.Event()
        # Obtained, and still without a place on disk: asking for another one would not help.
        self._homeless: Fresh | None = None

    async def look(self) -> None:
        """Does what is due; nearly always nothing."""
        if self._is_busy or self._stopping.is_set() or self._clock.monotonic() < self._looks_at:
            return
        self._is_busy = True
        # Until something better is known; whatever breaks must not break again each second.
        self._looks_at = self._clock.monotonic() + SOON_S
        try:
            await self._turn()
        except Overloaded:
            return
        finally:
            self._is_busy = False

    async def renew(self, *, is_forced: bool) -> Outcome:
        """The operator asks for a certificate now; failures do not hold it back. Without `is_forced` only a due one.

        Answers when it is in force, or has failed.
        """
        if self._is_busy:
            return Outcome("an order is under way already; see the log, and mailserver certificate")
        self._is_busy = True
        try:
            found, record = await self._blocking.run(Lane.GENERAL, self._read)
            if self._homeless is not None:
                return await self._install(self._homeless, Reason.ASKED, found, record)
            names = await self._names.look()
            decision = self._decision(found, names, replace(record, next_attempt_at=0.0))
            if not isinstance(decision, Order) and not is_forced and found is not None:
                return Outcome(
                    f"it is not due before {_day(decision.until)}, and authorities give only a few certificates for "
                    "the same names in a week; --force orders one all the same"
                )
            reason = decision.reason if isinstance(decision, Order) else Reason.ASKED
            return await self._order(reason, names, found, record)
        except Overloaded:
            return Outcome("the server is too busy; try again")
        finally:
            self._is_busy = False

    async def stop(self) -> None:
        """An order that runs is given up, and may still clean up for some seconds."""
        self._stopping.set()
        end = self._clock.monotonic() + STOP_S
        while self._is_busy and self._clock.monotonic() < end:
            await self._clock.sleep(0.05)

    def commands(self) -> dict[str, Command]:
        """What the command line may ask for over the control socket."""

        async def renew(request: Request) -> Response:
            outcome = await self.renew(is_forced=request.about.get("force") == "yes")
            if outcome.summary is None:
                return Response(error=outcome.error)
            about = outcome.summary
            return Response(
                about={"names": ", ".join(about.names), "issuer": about.issuer, "not_after": round(about.not_after)}
            )

        return {RENEW_COMMAND: renew}

    def services(self) -> list[IService]:
        """What is started and stopped."""
        return [Starter("ACME order", None, self.stop), Poll("ACME", self._clock, LOOK_EACH_S, self.look)]

    # --- what is done -------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        found, record = await self._blocking.run(Lane.GENERAL, self._read)
        if self._homeless is not None:
            await self._install(self._homeless, Reason.DUE, found, record)
            return
        names = await self._names.look()
        decision = self._decision(found, names, record)
        if not isinstance(decision, Order) and found is not None:
            record = await self._with_advice(record)
            decision = self._decision(found, names, record)
        if not isinstance(decision, Order):
            self._wait_until(decision.until)
        elif self._names.is_host_missing:
            # Asking now would only use up the authority's patience.
            self._wait_until(self._clock.now() + SOON_S)
        else:
            await self._order(decision.reason, names, found, record)

    def _read(self) -> tuple[InForce | None, AcmeRecord]:
        return in_force(self._folder), record_for(self._config, self._folder)

    def _decision(self, found: InForce | None, names: tuple[str, ...], record: AcmeRecord) -> Order | Wait:
        acme = self._config.acme
        standing = None if found is None else found.standing(acme, record)
        past = Past(record.failures, record.next_attempt_at, record.suggested_at)
        return decide(standing, names, past, self._clock.now(), acme.renew_before)

    async def _with_advice(self, record: AcmeRecord) -> AcmeRecord:
        """Once a day the authority may say when it would renew; it knows when it has to take certificates back."""
        now = self._clock.now()
        if 0 <= now - record.asked_at < DAY_S - JITTER_S:
            return record
        suggested = await self._blocking.run(
            Lane.CERTIFICATES, self._suggest, self._config, self._folder, self._clock.now
        )
        record = replace(record, asked_at=now, suggested_at=suggested or record.suggested_at)
        await self._remember(record)
        return record

    async def _order(
        self, reason: Reason, names: tuple[str, ...], found: InForce | None, record: AcmeRecord
    ) -> Outcome:
        try:
            fresh = await self._blocking.run(
                Lane.CERTIFICATES,
                self._place,
                self._config,
                self._folder,
                names,
                self._showing,
                self._sleep,
                self._clock.now,
            )
        except Stopped:
            return Outcome("the server stops")
        except AcmeTrouble as trouble:
            return await self._failed_for(names, trouble, found, record)
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must not order again and again, nor end the looks
            _log.failure("ordering a certificate broke")
            unnamed = AcmeTrouble(
                f"unexpected trouble in the server: {type(error).__name__}", "its log has the details"
            )
            return await self._failed_for(names, unnamed, found, record)
        return await self._install(fresh, reason, found, record)

    async def _failed_for(
        self, names: tuple[str, ...], trouble: AcmeTrouble, found: InForce | None, record: AcmeRecord
    ) -> Outcome:
        """A failure, and perhaps a certificate all the same: for the names that it was not about."""
        outcome, record = await self._failed(names, trouble, found, record)
        rest = without(names, trouble, self._config)
        decision = self._decision(found, rest, replace(record, next_attempt_at=0.0)) if rest else None
        if isinstance(decision, Order):
            return await self._order(decision.reason, rest, found, record)
        return outcome

    async def _install(self, fresh: Fresh, reason: Reason, found: InForce | None, record: AcmeRecord) -> Outcome:
        """To disk, then in force."""
        try:
            await self._blocking.run(Lane.GENERAL, self._put_in_force, fresh)
        except (OSError, CertificateTrouble) as error:
            self._homeless = fresh
            self._looks_at = self._clock.monotonic() + SOON_S
            reason_text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            self._log(Trouble("", "the new certificate", reason_text, "it is kept in memory and tried again soon"))
            return Outcome(f"a certificate was obtained and could not be written: {reason_text}")
        self._homeless = None
        now = self._clock.now()
        about = fresh.summary
        kept = replace(
            record, obtained_at=now, obtained_from=self._config.acme.directory, suggested_at=0.0, asked_at=now
        )
        # Otherwise an order for more names has just failed, and is tried again in its time.
        is_whole = fits(about.names, self._names.present)
        await self._remember(replace(kept, failures=0, next_attempt_at=0.0, reason="", remedy="") if is_whole else kept)
        event = CertificateObtained if found is None or reason is Reason.NAMES else CertificateRenewed
        self._log(event(about.names, about.issuer, _day(about.not_after), reason.value))
        for text in fresh.left:
            self._log(Trouble("", "cleaning up after an order", text, "remove it by hand"))
        self._wait_until(now + DAY_S if is_whole else record.next_attempt_at)
        return Outcome(summary=about)

    def _put_in_force(self, fresh: Fresh) -> None:
        self._folder.install(fresh.key_pem, fresh.chain_pem)
        self._tls.load(files_of(self._folder))

    async def _failed(
        self, names: tuple[str, ...], trouble: AcmeTrouble, found: InForce | None, record: AcmeRecord
    ) -> tuple[Outcome, AcmeRecord]:
        now = self._clock.now()
        record = failed(record, trouble, now)
        days_left = None if found is None else found.summary.days_left(now)
        self._log(CertificateFailed(names, str(trouble), trouble.remedy, days_left, _moment(record.next_attempt_at)))
        record = await self._warned(record, trouble, found)
        await self._remember(record)
        self._wait_until(record.next_attempt_at)
        return Outcome(f"{trouble}: {trouble.remedy}"), record

    async def _warned(self, record: AcmeRecord, trouble: AcmeTrouble, found: InForce | None) -> AcmeRecord:
        """Once for each certificate that is about to expire the postmaster gets a mail."""
        if found is None or not is_urgent(found.standing(self._config.acme, record), self._clock.now()):
            return record
        ends = found.summary.not_after
        if record.warned_for == ends:
            return record
        days = max(0, found.summary.days_left(self._clock.now()))
        is_told = await self._tell_postmaster(
            f"The certificate of {self._config.hostname} expires in {days} days and cannot be renewed",
            _LETTER.format(
                names=", ".join(found.summary.names),
                day=_day(ends),
                failures=record.failures,
                reason=trouble,
                remedy=trouble.remedy,
            ),
        )
        return replace(record, warned_for=ends) if is_told else record

    async def _remember(self, record: AcmeRecord) -> None:
        try:
            await self._blocking.run(Lane.GENERAL, self._folder.write_record, record)
        except OSError as error:
            effect = "after a restart the authority is asked earlier than it should be"
            self._log(Trouble("", f"{self._folder.path}/record.json", error.strerror or str(error), effect))

    def _wait_until(self, moment: float) -> None:
        """At least once a day, and each hour while names are missing; a wall clock that is set is seen then."""
        wait = min(max(0.0, moment - self._clock.now()), HOUR_S if self._names.missing else DAY_S)
        if wait == DAY_S:
            wait += self._rng.uniform(-JITTER_S, JITTER_S)
        self._looks_at = self._clock.monotonic() + wait

    def _sleep(self, seconds: float) -> None:
        """In the worker thread."""
        if self._stopping.wait(seconds):
            raise Stopped


def make_keeper(
    config: Config,
    reactor: Any,
    tls: ServerTls,
    answers: Answers,
    resolver: Resolver,
    *,
    blocking: Blocking,
    clock: Clock,
    log: Sink,
    tell_postmaster: TellPostmaster,
) -> AcmeKeeper:
    """The keeper of a configuration in which `[acme]` is on. `answers` are the web listener's."""
    showing = showing_for(config.acme, answers, reactor.callFromThread)
    assert showing is not None, "the server has a listener of its own"
    return AcmeKeeper(
        config,
        AcmeFolder(config.storage.state),
        tls,
        showing,
        NamesInDns(config, resolver, log),
        blocking=blocking,
        clock=clock,
        log=log,
        tell_postmaster=tell_postmaster,
        rng=random.SystemRandom(),
    )


def files_of(folder: AcmeFolder) -> CertificateFiles:
    """One file holds the chain and the key."""
    return CertificateFiles(folder.certificate, folder.certificate)


def obtained_tls(state: Path) -> ServerTls | None:
    """What was obtained earlier, for the start of the server (blocking); None when there is nothing usable.

    An expired certificate is better than a self-signed one: those who pin its key still know it.
    """
    folder = AcmeFolder(state)
    if not folder.certificate.exists():
        return None
    try:
        return ServerTls(files_of(folder))
    except CertificateTrouble as trouble:
        _log.warn("[acme] {trouble}; another certificate is ordered", trouble=trouble)
        return None


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def _moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%MZ")


_LETTER = """\
The certificate for {names} expires on {day}.
The server has tried to renew it, {failures} times without success since it was last renewed.

What happened last:
  {reason}

What to do:
  {remedy}

Then, on the server:
  mailserver certificate renew

Until then mail goes on. After that day mail programs warn their users, and servers that insist on a valid certificate
send nothing here any more.

This is said once for each certificate. `mailserver certificate` shows how things stand.
"""
