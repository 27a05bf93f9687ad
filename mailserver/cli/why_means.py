"""What a failed attempt means, for `mailserver why`: the same facts and the same explanation as in a bounce. Pure."""

from dataclasses import replace

from mailserver.cli.why_life import Life
from mailserver.config import Config
from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.envelope import Recipient
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply
from mailserver.mail.trace import login_of
from mailserver.relay.diagnosis import Explanation, explain
from mailserver.relay.dsn_fields import Action, RecipientReport
from mailserver.relay.progress import delay_report
from mailserver.store.journal_read import Entry
from mailserver.store.spool import StoredMessage

_EXPIRED = "expired: "


def of_waiting(config: Config, message: StoredMessage, number: int) -> Explanation | None:
    """Why this recipient (its place in the envelope) waits; None when nothing was tried."""
    one = message.progress[number]
    if not one.is_waiting or one.stage is None:
        return None
    report = delay_report(message.envelope.recipients[number], one, 0.0)
    sender = message.envelope.reverse_path
    return explain(_with_way(config, report, sender, is_logged_in=bool(login_of(message.source))))


def of_given_up(config: Config, life: Life, entry: Entry) -> Explanation | None:
    """Why a recipient was given up, from a `bounced` entry; None when it does not tell how far the attempt came."""
    mailbox = parse_mailbox(entry.text("recipient"))
    try:
        stage = Stage(entry.text("stage"))
    except ValueError:
        return None
    if not isinstance(mailbox, Mailbox):
        return None
    reason = entry.text("reason")
    report = RecipientReport(
        Recipient(mailbox),
        Action.FAILED,
        entry.text("enhanced"),
        reason.removeprefix(_EXPIRED),
        _reply(entry.text("reply")),
        entry.text("host"),
        stage,
        is_expired=reason.startswith(_EXPIRED),
    )
    accepted = life.first("accepted")
    sender = None if accepted is None else parse_mailbox(accepted.text("reverse_path").strip("<>"))
    is_logged_in = accepted is not None and bool(accepted.text("login"))
    return explain(
        _with_way(config, report, sender if isinstance(sender, Mailbox) else None, is_logged_in=is_logged_in)
    )


def _with_way(
    config: Config, report: RecipientReport, sender: Mailbox | None, *, is_logged_in: bool
) -> RecipientReport:
    """Whether our smarthost was asked, and whether a stranger's message was only passed on."""
    smarthost = config.relay.smarthost
    is_stranger = sender is not None and sender.domain not in config.domains
    return replace(
        report,
        is_smarthost=smarthost is not None and report.host.partition("[")[0] == smarthost.host,
        is_forwarded=is_stranger and not is_logged_in,
    )


def _reply(text: str) -> Reply | None:
    """The other side's words as one line; None for none."""
    code = text[:3]
    return Reply(int(code), "", (text[4:],)) if code.isdecimal() and code.isascii() and len(code) == 3 else None
