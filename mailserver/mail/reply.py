"""SMTP replies as values, and the catalogue of every text this server says (RFC 5321 4.2, RFC 3463, RFC 2034).

No other module writes a reply text. Public text never holds paths, host internals or exception strings.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

# RFC 5321 4.5.3.1.5: a reply line is at most 512 octets, CRLF included.
MAX_REPLY_LINE_OCTETS = 512


@dataclass(frozen=True, slots=True)
class Reply:
    """`code` three digits, `enhanced` such as `2.1.5` or empty where none belongs (RFC 2034 4), one text per line."""

    code: int
    enhanced: str
    lines: tuple[str, ...]
    # Most replies are constants, said again and again: the octets are made once.
    _octets: bytes = field(default=b"", init=False, repr=False, compare=False)

    @property
    def is_positive(self) -> bool:
        """2yz and 3yz."""
        return self.code < 400

    @property
    def is_temporary(self) -> bool:
        """4yz."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz."""
        return self.code >= 500

    def encode(self) -> bytes:
        """The octets to send, CRLF at each end. Controls become `?`; a line over 512 octets is cut."""
        if not self._octets:
            object.__setattr__(self, "_octets", self._encoded())
        return self._octets

    def _encoded(self) -> bytes:
        out = []
        last = len(self.lines) - 1
        for number, text in enumerate(self.lines):
            lead = f"{self.code}{' ' if number == last else '-'}{self.enhanced + ' ' if self.enhanced else ''}"
            line = (lead + printable(text)).encode("utf-8")
            if len(line) > MAX_REPLY_LINE_OCTETS - 2:
                line = line[: MAX_REPLY_LINE_OCTETS - 2].decode("utf-8", "ignore").encode("utf-8")
            out.append(line + b"\r\n")
        return b"".join(out)

    def __str__(self) -> str:
        """One line for logs and reports."""
        text = " ".join(self.lines)
        return f"{self.code} {self.enhanced} {text}" if self.enhanced else f"{self.code} {text}"


def printable(text: str) -> str:
    """`text` with every control, line separator and lone surrogate replaced by `?` (CWE-117)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == " " else "?" for char in text)


def reply(code: int, enhanced: str, *lines: str) -> Reply:
    """A reply; at least one line."""
    assert lines, "a reply has at least one line"
    return Reply(code, enhanced, lines)


# --- inbound SMTP: what the machine finds wrong with a command (RFC 5321 4.2.4, RFC 3463 3.6) -------------------------

COMMAND_UNKNOWN = reply(500, "5.5.1", "Command not recognized")
COMMAND_NOT_IMPLEMENTED = reply(502, "5.5.1", "Command not implemented")
COMMAND_TOO_LONG = reply(500, "5.5.2", "Line too long")
COMMAND_BARE_NEWLINE = reply(500, "5.5.2", "A line ends with CRLF; a CR or LF alone is not accepted")
COMMAND_NUL = reply(500, "5.5.2", "NUL is not accepted")
COMMAND_NOT_TEXT = reply(500, "5.5.2", "Commands are ASCII or UTF-8")
NEED_MAIL = reply(503, "5.5.1", "MAIL first")
NEED_RCPT = reply(503, "5.5.1", "RCPT first")
NO_VALID_RECIPIENTS = reply(554, "5.5.1", "No valid recipients")
NESTED_MAIL = reply(503, "5.5.1", "A message is being sent already; RSET first")
CHUNKS_BEGUN = reply(503, "5.5.1", "Only BDAT or RSET after BDAT")
NOT_IN_TRANSACTION = reply(503, "5.5.1", "Not while a message is being sent")
TLS_ALREADY = reply(503, "5.5.1", "TLS is already in use")
AUTH_ALREADY = reply(503, "5.5.1", "Already authenticated")
AUTH_MECHANISM_UNKNOWN = reply(504, "5.5.4", "This mechanism is not offered; PLAIN and LOGIN are")
AUTH_CANCELLED = reply(501, "5.7.0", "Authentication cancelled")
BDAT_SIZE_WRONG = reply(501, "5.5.4", "BDAT needs a size in octets; closing, because what follows cannot be told apart")
ADDRESS_NEEDS_SMTPUTF8 = reply(553, "5.6.7", "This address needs SMTPUTF8")
PARAMETER_UNKNOWN = reply(555, "5.5.4", "Parameter not recognized")
PARAMETER_TWICE = reply(501, "5.5.4", "A parameter is given twice")


def argument_wrong(reason: str) -> Reply:
    """The argument or a parameter of a command is not as the grammar has it. `reason` holds no octets of the peer."""
    return reply(501, "5.5.4", f"Syntax error: {reason}")


def sender_wrong(reason: str) -> Reply:
    """The reverse-path cannot be read."""
    return reply(501, "5.1.7", f"Bad sender address: {reason}")


def recipient_wrong(reason: str) -> Reply:
    """The forward-path cannot be read."""
    return reply(501, "5.1.3", f"Bad recipient address: {reason}")


def sasl_wrong(reason: str) -> Reply:
    """RFC 4954 4: base64 garbage, or a response that does not follow its mechanism."""
    return reply(501, "5.5.2", f"Authentication failed: {reason}")


# --- inbound SMTP: recipients and routes ------------------------------------------------------------------------------

RELAYING_DENIED = reply(550, "5.7.1", "Relaying denied: this server takes mail for its own users only")
NO_SUCH_MAILBOX = reply(550, "5.1.1", "No such mailbox here")
MAILBOX_DISABLED = reply(550, "5.2.1", "This mailbox is disabled")
ALIAS_LOOP = reply(550, "5.4.6", "This address leads back to itself")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient ok")
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients for one message; send the rest in another")

# --- inbound SMTP: the session ----------------------------------------------------------------------------------------

SENDER_OK = reply(250, "2.1.0", "Sender ok")
RESET_OK = reply(250, "2.0.0", "Forgotten")
NOOP_OK = reply(250, "2.0.0", "Ok")
GOODBYE = reply(221, "2.0.0", "Goodbye")
SEND_CONTENT = reply(354, "", "Send the message, then a line with only a dot")
VERIFY_NOTHING = reply(252, "2.5.0", "Will not say; send mail and see")
HELP = reply(
    214,
    "2.0.0",
    "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT",
    "RFC 5321 says how they are used",
    "A message is sent with MAIL FROM:<address>, RCPT TO:<address>, DATA",
)
STARTTLS_GO = reply(220, "2.0.0", "Ready to start TLS")
STARTTLS_NOT_OFFERED = reply(502, "5.5.1", "STARTTLS is not offered here")
STARTTLS_INJECTION = reply(421, "4.7.0", "Commands came behind STARTTLS before TLS; nothing was done, closing")
AUTH_OK = reply(235, "2.7.0", "Authentication succeeded")
AUTH_FAILED = reply(535, "5.7.8", "Authentication failed: wrong login or password")
AUTH_FOR_ANOTHER = reply(535, "5.7.8", "Authentication failed: a login acts for itself only")
AUTH_TOO_OFTEN = reply(421, "4.7.0", "Too many failed logins, closing")
AUTH_OVERLOADED = reply(454, "4.7.0", "Too many logins at the moment, try again")
AUTH_NOT_OFFERED = reply(502, "5.5.1", "AUTH is not offered here")
AUTH_NEEDS_TLS = reply(538, "5.7.11", "Encryption is required for authentication; STARTTLS first")
AUTH_REQUIRED = reply(530, "5.7.0", "Authentication required")
TLS_REQUIRED = reply(530, "5.7.0", "Must issue a STARTTLS command first")
TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors, closing")
TOO_MANY_COMMANDS = reply(421, "4.7.0", "Too many commands without a message, closing")
TOO_MANY_CONNECTIONS = reply(421, "4.3.2", "Too many connections, try again later")
TOO_MANY_OF_CLIENT = reply(421, "4.7.0", "Too many connections from your address, try again later")
SHUTTING_DOWN = reply(421, "4.3.2", "The server is shutting down, try again later")
INTERNAL_ERROR = reply(421, "4.3.0", "Internal error, closing; try again later")
COMMAND_TIMED_OUT = reply(421, "4.4.2", "No command in time, closing")
CONTENT_TIMED_OUT = reply(421, "4.4.2", "The message did not come in time, closing")
CONTENT_TOO_SLOW = reply(421, "4.4.2", "The message comes too slowly, closing")
MESSAGE_TOO_BIG = reply(552, "5.3.4", "Message too big")
DISK_NEARLY_FULL = reply(452, "4.3.1", "Not enough room at the moment, try again later")
TEMPORARY_TROUBLE = reply(451, "4.3.0", "Temporary trouble here, try again later")
BARE_NEWLINE_IN_CONTENT = reply(554, "5.6.0", "The message holds a CR or LF alone; lines end with CRLF")
NUL_IN_CONTENT = reply(554, "5.6.0", "The message holds a NUL")
TOO_MANY_HOPS = reply(554, "5.4.6", "Too many hops: this message goes round in a loop")
DELIVERED_HERE_BEFORE = reply(554, "5.4.6", "This message was delivered to this mailbox before: a loop")
HEADER_TOO_BIG = reply(552, "5.3.4", "The header of the message is too big")
FROM_TWICE = reply(550, "5.6.0", "The message has more than one From field")
FROM_UNREADABLE = reply(550, "5.6.0", "From must hold whole addresses, such as name@example.org")
# What some reader would take for an address, and nobody can ask about (DMARC).
FROM_WITHOUT_AUTHOR = reply(550, "5.7.1", "From must hold one whole address, such as name@example.org (DMARC)")


@lru_cache(maxsize=16)
def banner(hostname: str) -> Reply:
    """RFC 5321 4.2: the host name comes first. `ESMTP` is what some clients look for."""
    return reply(220, "", f"{hostname} ESMTP")


@lru_cache(maxsize=16)
def hello_ok(hostname: str, *keywords: str) -> Reply:
    """The answer to HELO, and with keywords to EHLO (RFC 5321 4.1.1.1)."""
    return reply(250, "", hostname, *keywords)


def sasl_challenge(encoded: str) -> Reply:
    """RFC 4954 4: nothing but the base64 text."""
    return reply(334, "", encoded)


def message_accepted(queue_id: str) -> Reply:
    """The 250 that means: on disk."""
    return reply(250, "2.0.0", f"{queue_id} accepted")


def chunk_accepted(size_octets: int) -> Reply:
    """RFC 3030 2."""
    return reply(250, "2.0.0", f"{size_octets} octets received")


def sender_not_yours(addresses: str) -> Reply:
    """The reverse-path belongs to somebody else. `addresses` are those that this login may use."""
    return reply(553, "5.7.1", f"This login may send as {addresses}")


def spf_refused(domain: str, client: str, explanation: str) -> Reply:
    """RFC 7372 3.2: the domain of the reverse-path says that this client may not send for it.

    `explanation` is the domain's own text, printable ASCII; empty for none.
    """
    lines = [
        f"{domain} does not permit {client} to send its mail (SPF)",
        f"Send it through a server of {domain}, or ask its administrator to add {client} to its SPF record",
    ]
    if explanation:
        lines.append(f"{domain} explains: {explanation}")
    return reply(550, "5.7.23", *lines)


def dmarc_refused(domain: str) -> Reply:
    """RFC 9989 5.3: the domain in From asks for it, and nothing shows that the message comes from there."""
    return reply(
        550,
        "5.7.1",
        f"This message fails DMARC, and the policy of {domain} (its From) is to refuse it",
        "Send it through a server of that domain, or ask its administrator to sign with DKIM or to add you to SPF",
        "Forwarders and mailing lists: keep the signature whole, or put your own address into From",
    )


# --- inbound SMTP: junk -----------------------------------------------------------------------------------------------

FILTER_DOWN = reply(451, "4.7.1", "This message cannot be checked for junk at the moment, try again later")
_MOST_LISTS = 5


def listed(hits: Iterable[tuple[str, str, str]]) -> Reply:
    """The client, or the domain it sends for, is on block lists.

    `hits` are what is listed, the name of the list, and the list's own words, which are printable ASCII; the first few
    are told.
    """
    lines = [
        f"{subject} is listed by {name}" + (f": {explanation}" if explanation else "")
        for subject, name, explanation in islice(hits, _MOST_LISTS)
    ]
    return reply(550, "5.7.1", *lines, "If this is an error, have it taken off there, or write to the postmaster here")


def filter_refused(words: str) -> Reply:
    """The filter finds it to be junk. `words` are its own, printable ASCII; empty for none."""
    return reply(550, "5.7.1", f"This message was found to be junk{f': {words}' if words else ''}")


def filter_put_off(words: str) -> Reply:
    """The filter wants to see it again later."""
    return reply(451, "4.7.1", f"Not now, try again later{f': {words}' if words else ''}")


def from_not_yours(addresses: str) -> Reply:
    """The From field belongs to somebody else."""
    return reply(550, "5.7.1", f"The From field is not yours; this login may send as {addresses}")
