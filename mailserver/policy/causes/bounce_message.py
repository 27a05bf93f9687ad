"""Takes the refusing server's words out of a pasted bounce (RFC 3464 reports, and the many that are none).

Only what a person pastes comes here; nothing on a delivery path parses messages.
"""

import email
import html
import re
from collections.abc import Iterator
from email.message import Message

# A bounce tells its reasons early; the rest is the returned message.
_MAX_CHARACTERS = 262_144
_MAX_PARTS = 50
_MAX_NESTING = 100

_LOOKS_LIKE_HEADER = re.compile(
    r"\A(?:From [^\n]*\n)?(?:(?:Return-Path|Received|From|To|Subject|Date|Message-ID|MIME-Version|Content-Type|"
    r"Delivered-To|X-[\w-]+|Auto-Submitted|Reporting-MTA|[A-Z][\w-]{2,40}):[^\n]*\r?\n(?:[ \t][^\n]*\r?\n)*){2}",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^<>]{0,4000}>")
_FIELD = re.compile(r"^[ >]{0,4}(Diagnostic-Code|Status|Action|Final-Recipient)[ \t]*:[ \t]*(.*)$", re.IGNORECASE)
# RFC 3464 2.3.4: a comment may follow.
_STATUS = re.compile(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.])")
_RETURNED = re.compile(
    r"^(?:[-=*_ ]{2,80}(?:original message|this is a copy of|below this line|unsent message|undelivered message|"
    r"message header|returned message)|original message headers:|--- below this line is a copy)",
    re.IGNORECASE | re.MULTILINE,
)
_BOILERPLATE = re.compile(
    r"^(?:this is the (?:mail system|postfix program|qmail-send|dragonfly)|i'm sorry to have to inform|i'm afraid i|"
    r"this is a permanent error|for further assistance|if you do so, please include|delete your own text|be delivered|"
    r"this message was created automatically|a message that you (?:have )?sent (?:could|has) not|the mail system$)"
    r"[^\n]*",
    re.IGNORECASE | re.MULTILINE,
)


def reply_in(pasted: str) -> tuple[str, str]:
    """The text to look at and the Status field, "" when there is none. A plain reply comes back as it is."""
    text = pasted.lstrip("\ufeff\r\n\t ")[:_MAX_CHARACTERS]
    if _LOOKS_LIKE_HEADER.match(text):
        found = _from_message(text)
        if found is not None:
            return found
    return _from_text(text)


def _from_message(text: str) -> tuple[str, str] | None:
    if text.lower().count("boundary") > _MAX_NESTING:
        return None
    try:
        parts = list(_leaves(email.message_from_bytes(text.encode("utf-8", "surrogateescape"))))
    except (RecursionError, ValueError, LookupError, UnicodeError, AttributeError, TypeError):
        # A message that the email package cannot take apart is read as text.
        return None
    reports = [part for kind, part in parts if kind == "message/delivery-status"]
    prose = "\n".join(part for kind, part in parts if kind != "message/delivery-status")
    if not reports and not prose.strip():
        return None
    reply, status = _from_text("\n".join(reports)) if reports else ("", "")
    if sum(char.isalpha() for char in reply) < 12:
        reply = _from_text(prose)[0] or reply
    return reply, status


def _leaves(message: Message) -> Iterator[tuple[str, str]]:
    """Type and text of the parts that are the reporter's own; the returned message is left out."""
    todo: list[Message] = [message]
    for _ in range(_MAX_PARTS):
        if not todo:
            return
        part = todo.pop(0)
        kind = part.get_content_type()
        if kind == "message/delivery-status":
            blocks = part.get_payload()
            yield kind, "\n\n".join(str(block) for block in blocks) if isinstance(blocks, list) else str(blocks)
        elif part.is_multipart():
            payload = part.get_payload()
            if kind != "message/rfc822" and isinstance(payload, list):
                todo = [one for one in payload if isinstance(one, Message)] + todo
        elif kind == "text/plain":
            yield kind, _decoded(part)
        elif kind == "text/html":
            yield kind, _without_markup(_decoded(part))


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return str(part.get_payload())
    try:
        return payload.decode(part.get_content_charset() or "utf-8", "replace")
    except (LookupError, ValueError):
        return payload.decode("utf-8", "replace")


def _without_markup(markup: str) -> str:
    """Character data alone. Linear: the standard library's parser takes minutes for a page of half-open tags."""
    for name in ("style", "script", "head"):
        markup = _without_element(markup, name)
    return html.unescape(_TAG.sub(" ", markup))


def _without_element(markup: str, name: str) -> str:
    kept = []
    lower = markup.lower()
    if len(lower) != len(markup):
        return markup
    position = 0
    while (start := lower.find(f"<{name}", position)) >= 0:
        kept.append(markup[position:start])
        end = lower.find(f"</{name}", start)
        if end < 0:
            return "".join(kept)
        position = end
    return "".join(kept) + markup[position:]


def _from_text(text: str) -> tuple[str, str]:
    """Prefers a Diagnostic-Code of a failed or delayed recipient; else the text without what frames it."""
    fields = list(_fields(text))
    status = next((found[0] for name, value in fields if name == "status" and (found := _STATUS.match(value))), "")
    codes = [value for name, value in fields if name == "diagnostic-code"]
    diagnostic = next((value for value in codes if sum(char.isalpha() for char in value) >= 16), "")
    if diagnostic:
        return diagnostic.partition(";")[2].strip() or diagnostic, status
    returned = _RETURNED.search(text)
    own = text[: returned.start()] if returned and returned.start() else text
    return _BOILERPLATE.sub("", own).strip(), status


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """The report fields in `text`, unfolded, wherever they stand."""
    name = value = ""
    for line in text.split("\n"):
        match = _FIELD.match(line)
        if name and (match or not line[:1].isspace() or not line.strip()):
            yield name.lower(), value
            name = ""
        if match:
            name, value = match[1], match[2].strip()
        elif name:
            value += " " + line.strip()
    if name:
        yield name.lower(), value
