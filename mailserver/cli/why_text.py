"""How the journal reads: a sentence for each fact, a page for each message, objects for programs. Pure."""

from collections.abc import Callable, Iterator

from mailserver.cli.queue_text import moment, size, span
from mailserver.cli.why_life import Life
from mailserver.cli.why_now import Standing
from mailserver.store.journal_read import Entry
from mailserver.store.spool import StoredMessage

_SERVICES = {"smtp": "port 25", "submission": "submission", "submissions": "submission"}


def page(life: Life, standing: list[Standing], queued: StoredMessage | None) -> Iterator[str]:
    """One message, line by line."""
    yield _title(life, queued)
    for entry in life.entries:
        yield f"  {moment(entry.time)}  {sentence(entry, life.queue_id)}"
    for one in standing:
        yield f"  now: {one.recipient}: {one.text}"
        if one.why is not None:
            yield f"       that means: {one.why.means} ({one.why.cause.value})"
        if one.next:
            yield f"       {one.next}"
        if one.why is not None and one.state in ("bounced", "expired"):
            yield f"       to do: {one.why.remedy} Who can do it: {one.why.who}"


def _title(life: Life, queued: StoredMessage | None) -> str:
    accepted = life.first("accepted")
    report = next(life.own("report"), None)
    expanded = next(life.own("expanded"), None)
    if accepted is not None:
        subject = accepted.text("subject")
        about = f'"{subject}" ' if subject else ""
        return f"{life.queue_id}  {about}from {accepted.text('reverse_path')} to {_list(accepted.texts('recipients'))}"
    if report is not None:
        return f"{life.queue_id}  our report{_about(report)} to {report.text('recipient')}"
    if expanded is not None:
        return f"{life.queue_id}  copies of {expanded.text('about')} for {_list(expanded.texts('recipients'))}"
    if queued is not None:
        sender = queued.envelope.reverse_path
        to = _list(tuple(str(one.mailbox) for one in queued.envelope.recipients))
        return f"{life.queue_id}  from <{sender or ''}> to {to} (its arrival is not in the journal)"
    return f"{life.queue_id}  (its arrival is not in the journal)"


def attempt_line(entry: Entry) -> str:
    """A refused attempt, which belongs to no message."""
    return f"  {moment(entry.time)}  {sentence(entry, '')}"


# --- sentences --------------------------------------------------------------------------------------------------------


def sentence(entry: Entry, queue_id: str) -> str:
    """What happened, in plain words. `queue_id` is the message whose life is told."""
    tell = _SENTENCES.get(entry.word)
    return entry.word if tell is None else tell(entry, queue_id)


def _accepted(entry: Entry, queue_id: str) -> str:
    del queue_id
    login = f" as {_login(entry)}" if entry.text("login") else ""
    tls = entry.text("tls").partition("/")[0]
    over = f"{entry.text('protocol')}{f', {tls}' if tls else ', without TLS'}"
    octets = entry.figure("size_octets") or 0
    return f"accepted from {_peer(entry)}{login} ({over}), {size(int(octets))}{_message_id(entry)}"


def _login(entry: Entry) -> str:
    """Who, and on which device when that has an app password."""
    device = entry.text("device")
    return f"{entry.text('login')} on {device}" if device else entry.text("login")


def _message_id(entry: Entry) -> str:
    message_id = entry.text("message_id")
    return f", Message-ID {message_id}" if message_id else ""


def _peer(entry: Entry) -> str:
    hello, peer = entry.text("hello"), entry.text("peer")
    return f"{hello} [{peer}]" if hello else f"[{peer}]"


def _filed(entry: Entry, queue_id: str) -> str:
    del queue_id
    mailbox, recipient = entry.text("mailbox"), entry.text("recipient")
    sent_to = f" (sent to {recipient.replace(',', ', ')})" if recipient not in ("", mailbox) else ""
    folder = f", folder {entry.text('folder')}" if entry.text("folder") else ""
    return f"filed in the mailbox of {mailbox}{folder}{sent_to}"


def _weighed(entry: Entry, queue_id: str) -> str:
    del queue_id
    parts = [f"on block lists: {_list(entry.texts('dnsbl'), 20)}"] if entry.texts("dnsbl") else []
    if entry.text("filter"):
        parts.append(f"rspamd: {entry.text('filter')}")
    if entry.text("dmarc"):
        parts.append(f"{entry.text('dmarc')} asks for quarantine (DMARC)")
    found = "found to be junk" if entry.text("verdict") == "junk" else "not found to be junk"
    return f"{found}: {'; '.join(parts)}"


def _authenticated(entry: Entry, queue_id: str) -> str:
    del queue_id
    signatures = entry.texts("dkim")
    parts = [f"where it came from (SPF): {_list(entry.texts('spf'), 20)}"] if entry.texts("spf") else []
    parts.append(f"signatures (DKIM): {_list(signatures, 20)}" if signatures else "no signature (DKIM)")
    if entry.text("arc"):
        parts.append(f"checks on the way (ARC): {entry.text('arc')}")
    if entry.text("dmarc"):
        parts.append(f"what the domain in From asks for (DMARC): {entry.text('dmarc')}")
    return f"who sent it: {'; '.join(parts)}"


def _queued(entry: Entry, queue_id: str) -> str:
    del queue_id
    reason = f", because it could not be filed: {entry.text('reason')}" if entry.text("reason") else ""
    return f"put into the queue for {_list(entry.texts('recipients'))}{reason}"


def _refused(entry: Entry, queue_id: str) -> str:
    if queue_id:
        return f"not for {entry.text('about')} again: {_said(entry, 'we answered')}"
    service = entry.text("service")
    where = f" on {_SERVICES.get(service, service)}" if service else ""
    login = f" as {entry.text('login')}" if entry.text("login") else ""
    about = f" for {entry.text('about')}" if entry.text("about") else ""
    sender = f" from {entry.text('reverse_path')}" if entry.text("reverse_path") else ""
    to = f" to {_list(entry.texts('recipients'))}" if entry.texts("recipients") else ""
    command = entry.text("command") or "a command"
    detail = f" ({entry.text('detail')})" if entry.text("detail") else ""
    return f"{_peer(entry)}{login}{where}: {command}{sender}{about}{to} refused: {entry.text('reply')}{detail}"


def _looked_up(entry: Entry, queue_id: str) -> str:
    del queue_id
    hosts, destination = entry.texts("hosts"), entry.text("destination")
    if hosts:
        return f"the way to {destination}: {_list(hosts, 20)}"
    return f"no way to {destination}: {entry.text('reason') or 'no host to try'}"


def _tried(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"tried {entry.text('host')}: {entry.text('reason')}{_said(entry)}"


def _talked(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"connected to {entry.text('host')}, {entry.text('tls') or 'without TLS'}"


def _delivered(entry: Entry, queue_id: str) -> str:
    del queue_id
    over = f" ({entry.text('tls')})" if entry.text("tls") else ""
    return f"handed over to {entry.text('host')}{over} for {entry.text('recipient')}{_said(entry)}"


def _deferred(entry: Entry, queue_id: str) -> str:
    del queue_id
    at = f" at {entry.text('host')}" if entry.text("host") else ""
    attempts, wait = int(entry.figure("attempts") or 0), entry.figure("next_attempt_s")
    following = f"; next attempt {moment(entry.time + wait)}" if wait is not None else ""
    reason = entry.text("reason")
    shared = " (together with other mail)" if entry.is_true("is_shared") else ""
    return f"attempt {attempts} for {entry.text('recipient')}{at}{shared} put off: {reason}{_said(entry)}{following}"


def _destination_down(entry: Entry, queue_id: str) -> str:
    del queue_id
    until = "until it is back, one attempt now and then counts for all mail that waits for it"
    return f"{entry.text('destination')} was found to be down: {entry.text('reason')}{_said(entry)}; {until}"


def _destination_back(entry: Entry, queue_id: str) -> str:
    del queue_id
    down_s = entry.figure("down_s")
    after = f" after {span(down_s)}" if down_s is not None else ""
    return f"{entry.text('destination')} was back{after}; what waited for that was tried"


def _bounced(entry: Entry, queue_id: str) -> str:
    del queue_id
    at = f" at {entry.text('host')}" if entry.text("host") else ""
    enhanced = f" ({entry.text('enhanced')})" if entry.text("enhanced") else ""
    return f"given up for {entry.text('recipient')}{at}: {entry.text('reason')}{enhanced}{_said(entry)}"


# What is made by the server itself, by `action`.
_KINDS = {"failed": "bounce", "delayed": "delay notice", "note": "note", "report": "daily report"}


def _about(entry: Entry) -> str:
    return f" about {entry.text('about')}" if entry.text("about") else ""


def _report(entry: Entry, queue_id: str) -> str:
    kind = f"a {_KINDS.get(entry.text('action'), 'report of success')}"
    if entry.queue_id == queue_id:
        return f"made as {kind}{_about(entry)} for {entry.text('recipient')}"
    return f"{kind} was made for {entry.text('recipient')}: {entry.queue_id}"


def _report_dropped(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"no report: {entry.text('reason')}"


def _expanded(entry: Entry, queue_id: str) -> str:
    to = _list(entry.texts("recipients"))
    if entry.queue_id == queue_id:
        return f"made of {entry.text('about')} for the addresses behind {entry.text('recipient')}: {to}"
    return f"{entry.text('recipient')} stands for {to}; they get it as {entry.queue_id}"


def _removed(entry: Entry, queue_id: str) -> str:
    del queue_id
    reason = entry.text("reason")
    return f"taken out of the queue: {reason}" if reason else "left the queue: nothing is left to do"


def _ordered(entry: Entry, queue_id: str) -> str:
    del queue_id
    by = entry.text("by")
    return f"the operator{f' {by}' if by else ''} ordered: {entry.text('what')}"


def _held(entry: Entry, queue_id: str) -> str:
    del queue_id
    reason = f": {entry.text('reason')}" if entry.text("reason") else ""
    return f"held for {_list(entry.texts('recipients'))} by {entry.text('by')}{reason}"


def _released(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"released for {_list(entry.texts('recipients'))} by {entry.text('by')}"


def _suppressed(entry: Entry, queue_id: str) -> str:
    del queue_id
    reason = f": {entry.text('reason')}" if entry.text("reason") else ""
    return f"{entry.text('recipient')} came on the suppression list, by {entry.text('by')}{reason}"


def _unsuppressed(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"{entry.text('recipient')} was taken off the suppression list by {entry.text('by')}"


def _trouble(entry: Entry, queue_id: str) -> str:
    del queue_id
    effect = f" ({entry.text('effect')})" if entry.text("effect") else ""
    return f"trouble: {entry.text('what')}: {entry.text('reason')}{effect}"


def _damaged(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"its queue file could not be read ({entry.text('reason')}) and is {entry.text('path')} now"


def _fetched(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"fetched by POP3 as {_login(entry)} from [{entry.text('peer')}]"


def _erased(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"deleted by POP3 as {_login(entry)} from [{entry.text('peer')}]"


def _set_aside(entry: Entry, queue_id: str) -> str:
    del queue_id
    owner = f" of the user {entry.text('owner')}" if entry.text("owner") else ""
    to = f" to {_list(entry.texts('recipients'))}" if entry.texts("recipients") else ""
    where = f" ({entry.text('effect')})" if entry.text("effect") else ""
    return (
        f"a file{owner} in the drop folder{to} was not sent: {entry.text('reason')}; it was {entry.text('path')}{where}"
    )


def _login_refused(entry: Entry, queue_id: str) -> str:
    del queue_id
    login = f" as {entry.text('login')}" if entry.text("login") else ""
    reason = f": {entry.text('reason')}" if entry.text("reason") else ""
    return f"[{entry.text('peer')}] login{login} on {entry.text('service')} refused{reason}"


def _disconnected(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"[{entry.text('peer')}] on {entry.text('service')} disconnected: {entry.text('reason')}"


def _thinned(entry: Entry, queue_id: str) -> str:
    del queue_id
    return f"[{entry.text('peer')}] tried so often that further attempts of this hour were not noted"


_SENTENCES: dict[str, Callable[[Entry, str], str]] = {
    "accepted": _accepted,
    "authenticated": _authenticated,
    "filed": _filed,
    "weighed": _weighed,
    "queued": _queued,
    "refused": _refused,
    "looked-up": _looked_up,
    "tried": _tried,
    "talked": _talked,
    "delivered": _delivered,
    "deferred": _deferred,
    "destination-down": _destination_down,
    "destination-back": _destination_back,
    "set-aside": _set_aside,
    "bounced": _bounced,
    "report": _report,
    "report-dropped": _report_dropped,
    "expanded": _expanded,
    "removed": _removed,
    "ordered": _ordered,
    "held": _held,
    "released": _released,
    "suppressed": _suppressed,
    "unsuppressed": _unsuppressed,
    "trouble": _trouble,
    "damaged": _damaged,
    "fetched": _fetched,
    "erased": _erased,
    "login-refused": _login_refused,
    "disconnected": _disconnected,
    "thinned": _thinned,
}


# What happened to somebody whose message we did not take.
REFUSALS = frozenset(("refused", "login-refused", "disconnected", "thinned"))


def _said(entry: Entry, who: str = "it said") -> str:
    """The other side's words, verbatim."""
    reply = entry.text("reply")
    lead = "; " if who == "it said" else ""
    return f'{lead}{who} "{reply}"' if reply else ""


def _list(texts: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(texts[:most])
    return f"{shown} and {len(texts) - most} more" if len(texts) > most else shown


# --- for programs -----------------------------------------------------------------------------------------------------


def as_object(life: Life, standing: list[Standing]) -> dict[str, object]:
    """One message; see docs/why.md."""
    accepted = life.first("accepted")
    about: dict[str, object] = {
        "queue_id": life.queue_id,
        "accepted_at": None if accepted is None else round(accepted.time, 3),
        "sender": "" if accepted is None else accepted.text("reverse_path").strip("<>"),
        "recipients": [] if accepted is None else list(accepted.texts("recipients")),
        "subject": "" if accepted is None else accepted.text("subject"),
        "message_id": "" if accepted is None else accepted.text("message_id"),
        "size": None if accepted is None else accepted.figure("size_octets"),
    }
    about["now"] = [
        {
            "recipient": one.recipient,
            "state": one.state,
            "text": one.text,
            "next": one.next,
            "class": "" if one.why is None else one.why.cause.value,
            "means": "" if one.why is None else one.why.means,
        }
        for one in standing
    ]
    about["events"] = [event_object(entry, life.queue_id) for entry in life.entries]
    return about


def event_object(entry: Entry, queue_id: str) -> dict[str, object]:
    """One fact; `facts` are its fields as the log names them."""
    return {
        "time": round(entry.time, 3),
        "queue_id": entry.queue_id,
        "what": entry.word,
        "text": sentence(entry, queue_id),
        "facts": dict(entry.fields),
    }
