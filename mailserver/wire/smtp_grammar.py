"""The arguments of SMTP commands (RFC 5321 4.1.2, RFC 1870, 3030, 3461, 4954, 6152, 6531, 6533).

Text of one command line in, a value or a fault out; no regular expression sees more than one word. Liberal where it is
harmless: any case, a space after the colon, no angle brackets. Strict where it is not: an address is read whole, source
routes are refused, and what xtext hides is checked after decoding (CVE-2020-28021: encoded CR LF in AUTH=).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mailserver.mail import reply as replies
from mailserver.mail.address import Mailbox, has_controls, parse_mailbox
from mailserver.mail.envelope import Body, Envelope, Notify, OriginalRecipient, Recipient, Ret
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reply import Reply

MAX_HELLO_OCTETS = 255
# RFC 1870 3 has 20 digits; anything that large is beyond every limit, and still a number.
_NUMBER = re.compile(r"[0-9]{1,20}\Z")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_ATOM = re.compile(r"[!#-'*+\-/-9=?A-Z^-~]+\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*\Z")
_XTEXT_ESCAPE = re.compile(r"\+([0-9A-Fa-f]{2})")
_UNICODE_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
MAX_ENVID_OCTETS = 100  # RFC 3461 4.4
MAX_ORCPT_OCTETS = 500  # RFC 3461 4.2

Parameters = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The argument of BDAT (RFC 3030 2)."""

    size_octets: int
    is_last: bool


# --- paths ------------------------------------------------------------------------------------------------------------


def split_path(argument: str, keyword: str) -> tuple[str, str] | SyntaxFault:
    """`FROM:<path> parameters` as the path without its brackets, and the parameters' text (RFC 5321 4.1.1.2)."""
    if argument[: len(keyword)].upper() != keyword:
        return SyntaxFault(f"{keyword}<address> is expected")
    rest = argument[len(keyword) :].lstrip(" \t")
    if not rest.startswith("<"):
        path, _, parameters = rest.partition(" ")
        if '"' in path:
            return SyntaxFault("a quoted local-part needs angle brackets around the address")
        return (path, parameters) if path else SyntaxFault("the address is missing")
    end = _closing_bracket(rest)
    if end is None:
        return SyntaxFault("the closing angle bracket is missing")
    if rest[end + 1 : end + 2] not in ("", " ", "\t"):
        return SyntaxFault("a space is expected behind the address")
    return rest[1:end], rest[end + 1 :]


def _closing_bracket(text: str) -> int | None:
    """The place of the first `>` outside quotes."""
    if '"' not in text:
        end = text.find(">")
        return end if end >= 0 else None
    is_quoted = is_escaped = False
    for place, char in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif is_quoted and char == "\\":
            is_escaped = True
        elif char == '"':
            is_quoted = not is_quoted
        elif char == ">" and not is_quoted:
            return place
    return None


def mailbox_of_path(path: str) -> Mailbox | SyntaxFault:
    """The mailbox in a path that is not null.

    Deviation: source routes (`@a,@b:user@c`) are refused instead of ignored. RFC 5321 3.6.1 and 7.1 let a server
    decline them, nobody has sent any for decades, and reading them is how relays were tricked.
    """
    if path.startswith("@"):
        return SyntaxFault("source routes are not accepted")
    return parse_mailbox(path.strip(" "))


# --- parameters -------------------------------------------------------------------------------------------------------


def parse_parameters(text: str) -> Parameters | Reply:
    """`KEYWORD[=value]` words, keywords in upper case. Each at most once."""
    found: Parameters = {}
    for word in text.replace("\t", " ").split(" "):
        if not word:
            continue
        keyword, equals, value = word.partition("=")
        if not _KEYWORD.match(keyword):
            return replies.argument_wrong("a parameter has the form KEYWORD or KEYWORD=value")
        keyword = keyword.upper()
        if keyword in found:
            return replies.PARAMETER_TWICE
        found[keyword] = value if equals else None
    return found


def parse_number(text: str) -> int | None:
    """1 to 20 ASCII digits and nothing else; `int` alone would take `+1`, `1_0` and digits of other scripts."""
    return int(text) if _NUMBER.match(text) else None


def decode_xtext(text: str) -> str | SyntaxFault:
    """RFC 3461 4: `+HH` stands for an octet. The result must be printable ASCII; hidden controls are refused."""
    if not _XTEXT.match(text):
        return SyntaxFault("a value is not xtext")
    decoded = _XTEXT_ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), text)
    if all(" " <= char <= "~" for char in decoded):
        return decoded
    return SyntaxFault("a value holds characters that are not printable ASCII")


def decode_utf8_address(text: str, *, allow_utf8: bool) -> str | SyntaxFault:
    r"""RFC 6533 3, utf-8-addr-xtext and utf-8-addr-unitext: `\x{HEX}` stands for a character."""
    if not allow_utf8 and not text.isascii():
        return SyntaxFault("this value needs SMTPUTF8")
    out: list[str] = []
    place = 0
    for match in _UNICODE_ESCAPE.finditer(text):
        code = int(match.group(1), 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            return SyntaxFault("a value names a character that does not exist")
        out += (text[place : match.start()], chr(code))
        place = match.end()
    decoded = "".join(out) + text[place:]
    if "\\x{" in "".join(out[::2]) + text[place:] or has_controls(decoded):
        return SyntaxFault("a value holds characters that are not allowed")
    return decoded


def parse_orcpt(text: str, *, allow_utf8: bool) -> OriginalRecipient | SyntaxFault:
    """RFC 3461 4.2: `type;encoded address`; the type `utf-8` is RFC 6533's."""
    kind, _, encoded = text.partition(";")
    if not encoded or not _ATOM.match(kind) or len(encoded.encode("utf-8")) > MAX_ORCPT_OCTETS:
        return SyntaxFault("ORCPT has the form type;address")
    is_utf8 = kind.lower() == "utf-8"
    address = decode_utf8_address(encoded, allow_utf8=allow_utf8) if is_utf8 else decode_xtext(encoded)
    return address if isinstance(address, SyntaxFault) else OriginalRecipient(kind, address)


def parse_notify(text: str) -> frozenset[Notify] | SyntaxFault:
    """RFC 3461 4.1: NEVER alone, or a list of SUCCESS, FAILURE and DELAY."""
    try:
        found = [Notify(word) for word in text.upper().split(",")] if text.isascii() else []
    except ValueError:
        found = []
    if not found or (Notify.NEVER in found and len(found) > 1):
        return SyntaxFault("NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY")
    return frozenset(found)


# --- whole commands ---------------------------------------------------------------------------------------------------

_MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH", "REQUIRETLS"})
_RCPT_PARAMETERS = frozenset({"NOTIFY", "ORCPT"})


def parse_hello(argument: str) -> str | Reply:
    """The name behind EHLO or HELO: anything printable, because real clients send `vm` and `message.eml`."""
    if not argument:
        return replies.argument_wrong("a host name is expected")
    if len(argument.encode("utf-8")) > MAX_HELLO_OCTETS or not argument.isprintable():
        return replies.argument_wrong("this is not a host name")
    return argument


def parse_mail(argument: str, *, offers_auth: bool, offers_requiretls: bool = False) -> Envelope | Reply:
    """The argument of MAIL (RFC 5321 4.1.1.2) as an envelope without recipients.

    `offers_auth` lets the AUTH parameter in. It is checked and then ignored, as RFC 4954 5 lets a server do that
    trusts no client to speak for another. `offers_requiretls` lets REQUIRETLS in (RFC 8689 2).
    """
    halves = split_path(argument, "FROM:")
    if isinstance(halves, SyntaxFault):
        return replies.sender_wrong(halves.reason)
    path, text = halves
    parameters = parse_parameters(text)
    if isinstance(parameters, Reply):
        return parameters
    if not parameters.keys() <= _MAIL_PARAMETERS or ("AUTH" in parameters and not offers_auth):
        return replies.PARAMETER_UNKNOWN
    if "REQUIRETLS" in parameters and not offers_requiretls:
        return replies.PARAMETER_UNKNOWN
    if parameters.get("REQUIRETLS") is not None:
        return replies.argument_wrong("REQUIRETLS takes no value")
    smtputf8 = "SMTPUTF8" in parameters
    if smtputf8 and parameters["SMTPUTF8"] is not None:
        return replies.argument_wrong("SMTPUTF8 takes no value")
    reverse_path = None if path in ("", "<>") else _mailbox(path, replies.sender_wrong, smtputf8=smtputf8)
    if isinstance(reverse_path, Reply):
        return reverse_path
    if reverse_path is not None and not reverse_path.domain:
        return replies.sender_wrong("an address has the form local-part@domain")
    return _envelope(reverse_path, parameters, smtputf8=smtputf8) if parameters else Envelope(reverse_path)


def _envelope(reverse_path: Mailbox | None, parameters: Parameters, *, smtputf8: bool) -> Envelope | Reply:
    if (parameters.get("BODY") or "").upper() == "BINARYMIME":
        return replies.PARAMETER_UNKNOWN  # RFC 3030 3 is not offered; such content has no line ends to rely on
    size = _value(parameters, "SIZE", _size)
    body = _value(parameters, "BODY", _body)
    ret = _value(parameters, "RET", _ret)
    envid = _value(parameters, "ENVID", _envid)
    auth = _value(parameters, "AUTH", _auth)
    if isinstance(size, SyntaxFault):
        return replies.argument_wrong(size.reason)
    if isinstance(body, SyntaxFault):
        return replies.argument_wrong(body.reason)
    if isinstance(ret, SyntaxFault):
        return replies.argument_wrong(ret.reason)
    if isinstance(envid, SyntaxFault):
        return replies.argument_wrong(envid.reason)
    if isinstance(auth, SyntaxFault):
        return replies.argument_wrong(auth.reason)
    return Envelope(
        reverse_path,
        ret=ret,
        envid=envid,
        body=body or Body.SEVENBIT,
        smtputf8=smtputf8,
        size_octets=size,
        require_tls="REQUIRETLS" in parameters,
    )


def parse_rcpt(argument: str, *, smtputf8: bool) -> Recipient | Reply:
    """The argument of RCPT (RFC 5321 4.1.1.3). `smtputf8` is what MAIL said."""
    halves = split_path(argument, "TO:")
    if isinstance(halves, SyntaxFault):
        return replies.recipient_wrong(halves.reason)
    path, text = halves
    mailbox = _mailbox(path, replies.recipient_wrong, smtputf8=smtputf8)
    if isinstance(mailbox, Reply):
        return mailbox
    if not text.strip(" \t"):
        return Recipient(mailbox)
    parameters = parse_parameters(text)
    if isinstance(parameters, Reply):
        return parameters
    if not parameters.keys() <= _RCPT_PARAMETERS:
        return replies.PARAMETER_UNKNOWN
    notify = _value(parameters, "NOTIFY", parse_notify)
    orcpt = _value(parameters, "ORCPT", lambda text: parse_orcpt(text, allow_utf8=smtputf8))
    if isinstance(notify, SyntaxFault):
        return replies.argument_wrong(notify.reason)
    if isinstance(orcpt, SyntaxFault):
        return replies.argument_wrong(orcpt.reason)
    return Recipient(mailbox, notify or frozenset(), orcpt)


def parse_bdat(argument: str) -> Chunk | None:
    """`size [LAST]` (RFC 3030 2); None when no size can be read."""
    size_text, _, rest = argument.partition(" ")
    size = parse_number(size_text)
    last = rest.strip(" \t").upper()
    return Chunk(size, bool(last)) if size is not None and last in ("", "LAST") else None


def _mailbox(path: str, wrong: Callable[[str], Reply], *, smtputf8: bool) -> Mailbox | Reply:
    mailbox = mailbox_of_path(path)
    if isinstance(mailbox, SyntaxFault):
        return wrong(mailbox.reason)
    if not smtputf8 and not path.isascii():
        return replies.ADDRESS_NEEDS_SMTPUTF8  # RFC 6531 3.5
    return mailbox


# --- values of parameters ---------------------------------------------------------------------------------------------

T = TypeVar("T")


def _value(parameters: Parameters, keyword: str, parse: Callable[[str], T | SyntaxFault]) -> T | SyntaxFault | None:
    if keyword not in parameters:
        return None
    text = parameters[keyword]
    return parse(text) if text else SyntaxFault(f"{keyword} needs a value")


def _size(text: str) -> int | SyntaxFault:
    size = parse_number(text)
    return SyntaxFault("SIZE is a number of octets") if size is None else size


def _body(text: str) -> Body | SyntaxFault:
    found = next((body for body in Body if body.value == text.upper()), None)
    return found or SyntaxFault("BODY is 7BIT or 8BITMIME")


def _ret(text: str) -> Ret | SyntaxFault:
    found = next((ret for ret in Ret if ret.value == text.upper()), None)
    return found or SyntaxFault("RET is FULL or HDRS")


def _envid(text: str) -> str | SyntaxFault:
    return decode_xtext(text) if len(text) <= MAX_ENVID_OCTETS else SyntaxFault("ENVID is too long")


def _auth(text: str) -> str | SyntaxFault:
    """RFC 4954 5: an address as xtext, or `<>`. Decoded and checked although nothing is done with it."""
    decoded = decode_xtext(text)
    if isinstance(decoded, SyntaxFault) or decoded == "<>":
        return decoded
    mailbox = parse_mailbox(decoded)
    return mailbox if isinstance(mailbox, SyntaxFault) else decoded
