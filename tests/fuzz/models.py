"""What a server may believe about a conversation, by the order of commands alone.

Far simpler than the machines, and not made from them: the tests hold what a machine tells against this.
"""

from mailserver.mail.pop3_reply import Pop3Reply
from mailserver.wire import pop3_events as pop3
from mailserver.wire import smtp_events as smtp
from mailserver.wire.sasl import Challenge


class SmtpModel:
    """RFC 5321 4.1.4, RFC 3030 2, RFC 3207 4.2, RFC 4954 4: `told` of each event, and of how it was `answered`."""

    def __init__(self, *, is_tls: bool = False) -> None:
        self.has_ended = False
        self._connected(is_tls)

    def _connected(self, is_tls: bool) -> None:
        self.is_tls = is_tls
        self.is_authenticated = self.is_in_exchange = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.is_mail_open = self.has_chunks = self.is_in_data = False
        self.recipients = 0

    def told(self, event: smtp.SmtpEvent) -> None:
        """AssertionError when such an event cannot come now."""
        assert not self.has_ended, f"{event} after the end"
        is_of_content = isinstance(event, smtp.Content | smtp.EndOfContent)
        assert not self.is_in_data or is_of_content, f"{event} out of content"
        if self.is_in_exchange:
            assert isinstance(event, smtp.Auth | smtp.Faulted), f"{event} as an answer to a challenge"
            return
        match event:
            case smtp.Mail():
                assert not self.is_mail_open
            case smtp.Rcpt():
                assert self.is_mail_open
                assert not self.has_chunks
            case smtp.Data():
                assert self.recipients
                assert not self.has_chunks
            case smtp.Content() | smtp.EndOfChunk():
                assert self.recipients
            case smtp.EndOfContent():
                assert self.recipients
                assert self.is_in_data is not event.is_chunked
            case smtp.StartTls() | smtp.InjectedOctets():
                assert not self.is_mail_open
                assert not self.is_tls
            case smtp.Auth():
                assert not self.is_mail_open
                assert not self.is_authenticated

    def answered(self, event: smtp.SmtpEvent, code: int) -> None:
        """The reply was said."""
        self.is_in_exchange = isinstance(event, smtp.Auth) and code == 334
        match event:
            case smtp.Hello() | smtp.Reset() if code == 250:
                self._begin_anew()
            case smtp.Mail() if code == 250:
                self.is_mail_open = True
            case smtp.Rcpt() if code == 250:
                self.recipients += 1
            case smtp.Data():
                self.is_in_data = code == 354
            case smtp.EndOfContent():
                self._begin_anew()
            case smtp.EndOfChunk():
                if code == 250:
                    self.has_chunks = True
                else:
                    self._begin_anew()
            case smtp.Auth() if code == 235:
                self.is_authenticated = True
            case smtp.StartTls() if code == 220:
                self._connected(is_tls=True)
            case smtp.Quit() | smtp.InjectedOctets():
                self.has_ended = True
            case smtp.Faulted() if event.must_close:
                self.has_ended = True
        if code == 421:
            self.has_ended = True


_BEFORE_LOGIN = (pop3.User, pop3.Password, pop3.Auth, pop3.Mechanisms, pop3.StartTls, pop3.InjectedOctets, pop3.Utf8)
_AFTER_LOGIN = (
    pop3.Stat, pop3.List, pop3.UniqueIds, pop3.Retrieve, pop3.Top, pop3.Delete, pop3.Reset, pop3.Noop,
)  # fmt: skip


class Pop3Model:
    """RFC 1939 4 and 5, RFC 5034 4."""

    def __init__(self) -> None:
        self.is_open = self.has_ended = self.is_in_exchange = False

    def told(self, event: pop3.Pop3Event) -> None:
        """AssertionError when such an event cannot come now."""
        assert not self.has_ended, f"{event} after the end"
        assert not self.is_in_exchange or isinstance(event, pop3.Auth | pop3.Faulted), f"{event} in an exchange"
        assert not isinstance(event, _BEFORE_LOGIN) or not self.is_open, f"{event} after login"
        assert not isinstance(event, _AFTER_LOGIN) or self.is_open, f"{event} before login"

    def answered(self, event: pop3.Pop3Event, reply: Pop3Reply) -> None:
        """The reply was said."""
        is_challenge = isinstance(event, pop3.Auth) and isinstance(event.step, Challenge)
        self.is_in_exchange = is_challenge and not reply.is_positive and reply.status.value == "+"
        self.is_open = self.is_open or reply.opens_maildrop
        self.has_ended = isinstance(event, pop3.Quit | pop3.InjectedOctets)
