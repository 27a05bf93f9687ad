"""The command lines an SMTP client says (RFC 5321 4.1.1), as octets with their CRLF.

A parameter is said only when the next hop offered its extension. No value can put a second line into a command: a
control anywhere in one is a programming error and raises `ValueError` before anything is sent.
"""

import base64

from mailserver.mail.envelope import Body, Envelope, Notify, OriginalRecipient, Recipient, path_text
from mailserver.mail.route import Login
from mailserver.wire.smtp_extensions import Extensions
from mailserver.wire.smtp_grammar import MAX_ORCPT_OCTETS

DATA = b"DATA\r\n"
RSET = b"RSET\r\n"
QUIT = b"QUIT\r\n"
STARTTLS = b"STARTTLS\r\n"
AUTH_LOGIN = b"AUTH LOGIN\r\n"

_NOTIFY_ORDER = (Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)


def _line(*words: str) -> bytes:
    text = " ".join(words)
    # The first test is the quick one, and true for nearly every line.
    if not text.isprintable() and any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("a control in a command line")
    return text.encode("utf-8") + b"\r\n"


def ehlo(name: str) -> bytes:
    """RFC 5321 4.1.1.1."""
    return _line("EHLO", name)


def helo(name: str) -> bytes:
    """For hosts that do not know EHLO (RFC 5321 3.2)."""
    return _line("HELO", name)


def auth_plain(login: Login) -> bytes:
    """RFC 4616 with an initial response (RFC 4954 4); no authorization identity."""
    return _line("AUTH PLAIN", plain_response(login))


def plain_response(login: Login) -> str:
    """The SASL PLAIN response in base64."""
    return base64.b64encode(f"\0{login.username}\0{login.password}".encode()).decode("ascii")


def sasl_response(text: str) -> bytes:
    """A base64 line as the answer to 334; the text is encoded already."""
    return _line(text)


def login_responses(login: Login) -> tuple[bytes, bytes]:
    """The two answers of the LOGIN mechanism: user name, password."""
    name, password = (base64.b64encode(word.encode()).decode("ascii") for word in (login.username, login.password))
    return _line(name), _line(password)


def mail(envelope: Envelope, extensions: Extensions, *, length: int, smtputf8: bool) -> bytes:
    """MAIL with SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), REQUIRETLS (RFC 8689), RET, ENVID (RFC 3461)."""
    words = [f"MAIL FROM:{path_text(envelope.reverse_path)}"]
    if extensions.size_offered:
        words.append(f"SIZE={length}")
    # RFC 6531 3.1: SMTPUTF8 needs 8BITMIME; a host that offers only the one is believed about the other.
    if extensions.eightbitmime and envelope.body is Body.EIGHTBITMIME:
        words.append("BODY=8BITMIME")
    if smtputf8:
        words.append("SMTPUTF8")
    if extensions.requiretls and envelope.require_tls:
        words.append("REQUIRETLS")
    if extensions.dsn and envelope.ret is not None:
        words.append(f"RET={envelope.ret.value}")
    if extensions.dsn and envelope.envid:
        words.append(f"ENVID={xtext(envelope.envid)}")
    return _line(*words)


def rcpt(recipient: Recipient, extensions: Extensions, *, smtputf8: bool) -> bytes:
    """RCPT with NOTIFY and ORCPT (RFC 3461 4.1, 4.2; RFC 6533 3 for addresses beyond ASCII)."""
    words = [f"RCPT TO:{path_text(recipient.mailbox)}"]
    if extensions.dsn and recipient.notify:
        words.append("NOTIFY=" + ",".join(what.value for what in _NOTIFY_ORDER if what in recipient.notify))
    if extensions.dsn and recipient.orcpt is not None:
        orcpt = _orcpt(recipient.orcpt, smtputf8=smtputf8)
        # Deviation: escapes can make it longer than it came. Without it a report names less; with it the next hop
        # would refuse the recipient.
        if len(orcpt.encode("utf-8")) <= MAX_ORCPT_OCTETS:
            words.append(f"ORCPT={orcpt}")
    return _line(*words)


def xtext(text: str) -> str:
    """RFC 3461 4: everything but printable ASCII, and `+` and `=`, as `+` and two hexadecimal digits an octet."""
    return "".join(
        chr(octet) if 33 <= octet <= 126 and octet not in b"+=" else f"+{octet:02X}" for octet in text.encode("utf-8")
    )


def _orcpt(original: OriginalRecipient, *, smtputf8: bool) -> str:
    """`type;address`. A `utf-8` address has its own escapes and goes out unencoded only where SMTPUTF8 is in use."""
    if original.address_type.lower() != "utf-8":
        return f"{original.address_type};{xtext(original.address)}"
    return f"{original.address_type};{''.join(_utf8_xchar(char, raw=smtputf8) for char in original.address)}"


def _utf8_xchar(char: str, *, raw: bool) -> str:
    """RFC 6533 3: `\\x{HEX}` is EmbeddedUnicodeChar; the backslash, `+` and `=` are always escaped."""
    code = ord(char)
    if 33 <= code <= 126 and char not in "\\+=":
        return char
    return char if raw and code > 159 else f"\\x{{{code:02X}}}"
