"""Finds the innermost words in a reply that relays and hosted services have wrapped into their own.

A reply arrives on one line or many, folded with its code repeated in the middle of a sentence, with codes doubled or
behind a host name, quoted by a relay that quotes another. What counts is what the last server said.
"""

import re
from dataclasses import dataclass

from mailserver.mail.outcome import Stage

# Longer than any honest reply (512 octets a line, RFC 5321 4.5.3.1.5); what stands behind it is not looked at.
MAX_CHARACTERS = 16_384
_MAX_WORDS = 4_096

# Behind each of these stand another server's words. Bounded repeats only: the text is a stranger's.
_QUOTE = re.compile(
    r"""\bsaid\s*:?\s(?=\W{0,3}\w)
    | refused\ to\ talk\ to\ me\s*:
    | remote\ (?:host|server)\ (?:said|returned|responded|replied)\s*:?
    | server\ (?:returned|response\ was|responded\ with|replied\ with)\s*:?
    | error\ (?:that\ )?the\ other\ server\ returned\ was\s*:
    | (?:the\ )?response\ (?:from\ the\ remote\ server\ )?was\s*:
    | error\ from\ remote\ (?:mail\ )?server\ after\ [\w\ ]{1,40}(?::<[^>]{0,320}>)?[^:]{0,80}:
    | diagnostic-code\s*:\s*(?:smtp|x-[\w-]{1,40})?\s*;?
    | \(reason\s*:
    | <<<\s
    """,
    re.IGNORECASE | re.VERBOSE,
)
# One line of a Sendmail transcript: what the other side answered.
_TRANSCRIPT = re.compile(r"^[ \t>]*<<<[ \t]+(([45]\d\d)[ -].*)$", re.MULTILINE)
_IN_REPLY_TO = re.compile(r"\(?in reply to (?:the )?([\w ]{2,24}?) command\)?", re.IGNORECASE)
_AFTER = re.compile(r"after (initial connection|end of data|rcpt to|mail from|ehlo|helo|data|starttls)", re.IGNORECASE)
_ENHANCED = re.compile(r"(?<![\w.])\(?#?([45]\.\d{1,3}\.\d{1,3})\)?(?!\.\d|\d)")
_BASIC = re.compile(r"(?<![\w.#/=:-])([45]\d\d)(?=$|[ ;,:<'\"-])")
_BLANKS = re.compile(r"(?:\\r|\\n|[\s\x00-\x20\x7f-\xa0\u2028\u2029])+")

_STAGES = {
    "initial connection": Stage.BANNER,
    "ehlo": Stage.EHLO,
    "helo": Stage.EHLO,
    "starttls": Stage.STARTTLS,
    "auth": Stage.AUTH,
    "mail from": Stage.MAIL,
    "rcpt to": Stage.RCPT,
    "data": Stage.DATA,
    "end of data": Stage.EOD,
}


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """`words` is the innermost text on one line, reply codes taken out; `basic` and `enhanced` are those codes.

    `whole` is the text with every wrapping, for what only the wrapping knows. `stage` is what the wrapping told.
    """

    words: str
    whole: str
    basic: str
    enhanced: tuple[str, ...]
    stage: Stage | None


def unwrap(reply: str, status: str = "") -> Unwrapped:
    """The innermost words of `reply` and its codes; `status` is a DSN's Status field where the reply has no code."""
    whole = _BLANKS.sub(" ", _transcript(reply[:MAX_CHARACTERS])).strip()
    inner = whole
    for quote in _QUOTE.finditer(whole):
        rest = whole[quote.end() :]
        if _BASIC.search(rest[:200]) or sum(char.isalpha() for char in rest[:200]) >= 4:
            inner = rest
    wrapping = whole[: len(whole) - len(inner)]
    stage = _stage_of(wrapping, inner)
    inner = _IN_REPLY_TO.sub(" ", inner)
    enhanced = tuple(dict.fromkeys(_ENHANCED.findall(inner))) or tuple(dict.fromkeys(_ENHANCED.findall(whole)))
    found = _BASIC.search(inner) or _BASIC.search(whole)
    basic = found[1] if found else ""
    if not enhanced and status:
        enhanced = (status,)
    words = _without_codes(inner, basic).strip(" '\"`,;:-")
    return Unwrapped(words[:_MAX_WORDS], whole, basic or _basic_of(enhanced), enhanced, stage)


def _transcript(reply: str) -> str:
    """A Sendmail transcript cut to the first refusal; the ones behind it only complain that no recipient was left."""
    lines = _TRANSCRIPT.findall(reply)
    if len({code for _, code in lines}) < 2:
        return reply
    return " ".join(line for line, code in lines if code == lines[0][1])


def _basic_of(enhanced: tuple[str, ...]) -> str:
    """Only the class digit is known from an enhanced code."""
    return f"{enhanced[0][0]}00" if enhanced else ""


def _without_codes(inner: str, basic: str) -> str:
    text = _ENHANCED.sub(" ", inner)
    if basic:
        text = re.sub(rf"(?<![\w.#/=:-]){basic}(?=[ ;,:-]|$)[ ;:-]*", " ", text)
    return re.sub(r" {2,}", " ", text)


def _stage_of(wrapping: str, inner: str) -> Stage | None:
    told = _IN_REPLY_TO.findall(inner)
    if told:
        return _STAGES.get(told[0].lower())
    if wrapping.lower().rstrip().endswith("refused to talk to me:"):
        return Stage.BANNER
    after = _AFTER.findall(wrapping)
    return _STAGES.get(after[-1].lower()) if after else None
