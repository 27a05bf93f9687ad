"""`sendmail -bs`: SMTP on standard input and output, for mail programs that prefer it (RFC 5321).

The wire machine of the server reads it; every message goes into the drop folder. The caller is on this machine and
trusted, so there is neither TLS nor AUTH, and bare line ends are repaired. Recipients are not looked up.
"""

import os
import pwd
import time
from collections.abc import Callable
from typing import assert_never

from mailserver.cli.sendmail_message import completed
from mailserver.cli.sendmail_settings import Settings
from mailserver.mail import reply as replies
from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Recipient
from mailserver.mail.reply import Reply
from mailserver.store.drop_format import MAX_DROP_RECIPIENTS, DropHead, DropRecipient
from mailserver.wire.data import ContentFault
from mailserver.wire.smtp_events import (
    Auth,
    Content,
    Data,
    EndOfChunk,
    EndOfContent,
    Faulted,
    Hello,
    Help,
    InjectedOctets,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Reset,
    SmtpEvent,
    StartTls,
    Verify,
)
from mailserver.wire.smtp_server import SmtpServer

_KEYWORDS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING", "HELP")
_FAULTS = {
    ContentFault.TOO_LONG: replies.MESSAGE_TOO_BIG,
    ContentFault.BARE_NEWLINE: replies.BARE_NEWLINE_IN_CONTENT,
    ContentFault.NUL: replies.NUL_IN_CONTENT,
}

LeaveMessage = Callable[[DropHead, bytes], str]


def speak_smtp(settings: Settings, leave: LeaveMessage) -> int:
    """Talk until QUIT or the end of input; always 0, since every message has had its own answer."""
    conversation = _Conversation(settings, leave)
    out = conversation.greet()
    while True:
        while out:
            out = out[os.write(1, out) :]
        if conversation.is_over:
            return 0
        octets = os.read(0, 65536)
        if not octets:
            return 0
        out = conversation.receive(octets)


class _Conversation:
    """Octets in, octets out."""

    def __init__(self, settings: Settings, leave: LeaveMessage) -> None:
        self._settings = settings
        self._leave = leave
        self._machine = SmtpServer(max_content_octets=settings.max_octets)
        self._machine.repairs_bare_newlines = True
        self._envelope: Envelope | None = None
        self._recipients: list[Recipient] = []
        self._pieces: list[bytes] = []
        self.is_over = False

    def greet(self) -> bytes:
        return self._machine.greet(replies.banner(self._settings.hostname))

    def receive(self, octets: bytes) -> bytes:
        self._machine.receive(octets)
        out = b""
        while not self.is_over and (event := self._machine.next_event()) is not None:
            if isinstance(event, Content):
                self._pieces.append(event.octets)
                continue
            reply = self._answer(event)
            self.is_over = isinstance(event, Quit | InjectedOctets)
            out += self._machine.reply(reply)
        return out

    def _answer(self, event: SmtpEvent) -> Reply:
        match event:
            case Hello():
                self._forget()
                size = f"SIZE {self._settings.max_octets}"
                keywords = (size, *_KEYWORDS) if event.is_extended else ()
                return replies.hello_ok(self._settings.hostname, *keywords)
            case Mail(envelope):
                return self._mail(envelope)
            case Rcpt(recipient):
                if len(self._recipients) >= MAX_DROP_RECIPIENTS:
                    return replies.TOO_MANY_RECIPIENTS
                self._recipients.append(recipient)
                return replies.RECIPIENT_OK
            case Data():
                return replies.SEND_CONTENT
            case EndOfContent(_, faults):
                return self._end(_refusal(faults))
            case EndOfChunk(octets, faults):
                refused = _refusal(faults)
                return replies.chunk_accepted(octets) if refused is None else self._end(refused)
            case Faulted(_, reply, must_close):
                self.is_over = must_close
                return reply
            case _:
                return self._simple(event)

    def _simple(self, event: Reset | Noop | Verify | Help | Quit | StartTls | InjectedOctets | Auth | Content) -> Reply:
        match event:
            case Reset():
                self._forget()
                return replies.RESET_OK
            case Noop():
                return replies.NOOP_OK
            case Verify():
                return replies.VERIFY_NOTHING
            case Help():
                return replies.HELP
            case Quit():
                return replies.GOODBYE
            case StartTls() | InjectedOctets():
                return replies.STARTTLS_NOT_OFFERED
            case Auth():
                return replies.AUTH_NOT_OFFERED
            case Content():
                raise AssertionError("content wants no reply")
        assert_never(event)

    def _mail(self, envelope: Envelope) -> Reply:
        self._forget()
        if (envelope.size_octets or 0) > self._settings.max_octets:
            return replies.MESSAGE_TOO_BIG
        self._envelope = envelope
        return replies.SENDER_OK

    def _end(self, refused: Reply | None) -> Reply:
        envelope, recipients, content = self._envelope, self._recipients, b"".join(self._pieces)
        self._forget()
        if refused is not None:
            return refused
        assert envelope is not None, "content outside of a transaction"
        sender = "" if envelope.reverse_path is None else str(envelope.reverse_path)
        content = completed(content, sender=sender or _login(), full_name="", now=time.time(), drops_blind=False)
        is_8bit = envelope.body is Body.EIGHTBITMIME or not content.isascii()
        head = DropHead(
            sender,
            tuple(DropRecipient(_text(one.mailbox), one.notify, one.orcpt) for one in recipients),
            envelope.ret,
            envelope.envid,
            Body.EIGHTBITMIME if is_8bit else Body.SEVENBIT,
        )
        from mailserver.cli.sendmail import Exit

        try:
            return replies.message_accepted(self._leave(head, content))
        except Exit:
            return replies.TEMPORARY_TROUBLE

    def _forget(self) -> None:
        self._envelope = None
        self._recipients = []
        self._pieces = []


def _refusal(faults: frozenset[ContentFault]) -> Reply | None:
    return next((reply for fault, reply in _FAULTS.items() if fault in faults), None)


def _text(mailbox: Mailbox) -> str:
    """The address; the bare postmaster stays bare, and the server knows whose he is."""
    return str(mailbox)


def _login() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid{os.getuid()}"
