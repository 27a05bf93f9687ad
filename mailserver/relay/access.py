"""Whether a next hop lets us in: what is the operator's matter and so never bounces, and telling the operator once.

A wrong password or certificate at the smarthost stops all mail to the outside. It is one line of trouble that names the
keys to look at, when it begins and whenever it changes, beside the ordinary lines of the messages that wait.
"""

from collections.abc import Iterable

from mailserver.mail.outcome import Bounced, Deferred, Outcome, Stage
from mailserver.mail.route import Route, SmarthostRoute
from mailserver.maillog import Sink, Trouble
from mailserver.ports import NotOpened, Opened

# RFC 4954 6, RFC 3207 4: a login or TLS is missing, too weak, or wrong.
_LOGIN_CODES = frozenset((530, 534, 535, 538))
_AFTERWARDS = "then restart the server and say: mailserver queue retry --all"
_KEYS = {
    Stage.AUTH: "smarthost_username and smarthost_password_file",
    Stage.STARTTLS: "smarthost, smarthost_tls and smarthost_ca_file",
}


def not_final_without_login(outcome: Outcome) -> Outcome:
    """For a smarthost's outcome: it wants a login that it did not get; with the right one it would take the message."""
    if isinstance(outcome, Bounced) and outcome.reply is not None and outcome.reply.code in _LOGIN_CODES:
        return Deferred("the host wants another login from us", Stage.AUTH, outcome.reply, outcome.host)
    return outcome


def not_final_without_tls(outcome: Outcome) -> Outcome:
    """530 to a conversation that had to do without TLS: with TLS mended it would be taken (RFC 3207 4)."""
    if isinstance(outcome, Bounced) and outcome.reply is not None and outcome.reply.code == 530:
        return Deferred(
            "the host takes mail only over TLS, which did not work", outcome.stage, outcome.reply, outcome.host
        )
    return outcome


def not_final_elsewhere(outcome: Outcome) -> Outcome:
    """A host that knows no REQUIRETLS, while there are others to try (RFC 8689 4.2.1)."""
    if isinstance(outcome, Bounced) and outcome.enhanced == "5.7.30" and outcome.reply is None:
        return Deferred(outcome.reason, outcome.stage, host=outcome.host)
    return outcome


class Access:
    """Tells the operator of a smarthost that lets us in no more, and is quiet until that changes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._told: dict[Route, str] = {}

    def opened(self, route: Route, result: Opened | NotOpened) -> None:
        """How a conversation began."""
        if isinstance(route, SmarthostRoute) and isinstance(result, NotOpened) and result.stage in _KEYS:
            said = "" if result.reply is None else f": {result.reply}"
            self._tell(route, result.stage, f"{result.reason}{said}")

    def sent(self, route: Route, outcomes: Iterable[Outcome]) -> None:
        """What became of a message over it."""
        refused = [one for one in outcomes if isinstance(one, Deferred) and one.stage is Stage.AUTH]
        if refused:
            self._tell(route, Stage.AUTH, f"{refused[0].reason}: {refused[0].reply}")
        else:
            self._told.pop(route, None)

    def _tell(self, route: Route, stage: Stage, reason: str) -> None:
        if self._told.get(route) == reason:
            return
        self._told[route] = reason
        effect = f"mail that goes there waits; look at [relay] {_KEYS[stage]}, {_AFTERWARDS}"
        self._sink(Trouble("", f"the smarthost {route} does not let us in", reason, effect))
