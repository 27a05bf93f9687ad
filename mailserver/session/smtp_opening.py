"""From the greeting to the moment when an SMTP client may send (RFC 5321 3.1, 3.2; RFC 3207; RFC 4954).

Decisions:

- A greeting or EHLO that is refused with 5yz is not final. Such a refusal is nearly always about our address (a
  blocklist, a missing reverse name), which is mended in hours, and another host of the domain may think otherwise.
  Postfix does the same (`smtp_skip_5xx_greeting`).
- AUTH refused by a smarthost is not final either: the operator's mistake must not bounce the users' mail.
- EHLO answered with 5yz is followed by HELO on the same connection (RFC 5321 3.2), but not 421, 4yz or 554: those say
  that the host does not want to talk to us at all.
- Octets glued behind the 220 to STARTTLS are an error (CVE-2021-38371); nothing learnt before the handshake counts.
"""

from mailserver.mail.outcome import Stage
from mailserver.ports import NextHop, NotOpened, Opened, TlsDetails, TlsFailed, TlsUse
from mailserver.session.client_channel import AUTH, ClientChannel, Gone
from mailserver.wire import smtp_commands
from mailserver.wire.smtp_extensions import Extensions, parse_extensions


class Opening:
    """Makes one channel ready. Afterwards `extensions` and `tls` tell what was agreed."""

    def __init__(self, channel: ClientChannel, hop: NextHop) -> None:
        self._channel = channel
        self._hop = hop
        self.extensions = Extensions()
        self.tls: TlsDetails | None = None
        self._is_tls_refused = False

    async def run(self) -> Opened | NotOpened:
        """All steps that this next hop needs, in order, until one is refused."""
        steps = [(Stage.BANNER, self._greeting), (Stage.EHLO, self._hello)]
        if self._hop.tls is TlsUse.IMPLICIT:
            steps.insert(0, (Stage.STARTTLS, self._handshake))
        elif self._hop.tls is not TlsUse.NEVER:
            steps.append((Stage.STARTTLS, self._starttls))
        if self._hop.login is not None:
            steps.append((Stage.AUTH, self._auth))
        for stage, step in steps:
            try:
                refusal = await step()
            except Gone as gone:
                self._channel.drop()
                # Also a drop behind the handshake: in TLS 1.3 the host's refusal comes when we believe to be done.
                may_try = stage is Stage.STARTTLS and self._hop.tls is TlsUse.OPPORTUNISTIC
                refusal = NotOpened(str(gone), stage, may_try_in_clear=may_try)
            if refusal is not None:
                return refusal
        return Opened(self.tls, self._is_tls_refused)

    async def _greeting(self) -> NotOpened | None:
        reply = await self._channel.read_reply(self._channel.timeouts.banner_s, "the greeting")
        if 200 <= reply.code < 300:
            return None
        return NotOpened("the host does not want our mail now", Stage.BANNER, reply)

    async def _hello(self) -> NotOpened | None:
        """EHLO, and HELO for hosts that do not know it."""
        self.extensions = Extensions()
        reply = await self._channel.ask(smtp_commands.ehlo(self._hop.helo), self._channel.timeouts.ehlo_s, "EHLO")
        if 200 <= reply.code < 300:
            self.extensions = parse_extensions(reply)
            return None
        if reply.is_permanent and reply.code != 554:
            reply = await self._channel.ask(smtp_commands.helo(self._hop.helo), self._channel.timeouts.ehlo_s, "HELO")
            if 200 <= reply.code < 300:
                return None
        return NotOpened("the host did not take our EHLO", Stage.EHLO, reply)

    async def _starttls(self) -> NotOpened | None:
        is_required = self._hop.tls is TlsUse.REQUIRED
        if not self.extensions.starttls:
            return NotOpened("the host offers no STARTTLS", Stage.STARTTLS) if is_required else None
        reply = await self._channel.ask(smtp_commands.STARTTLS, self._channel.timeouts.starttls_s, "STARTTLS")
        if not 200 <= reply.code < 300:
            if is_required or reply.code == 421:
                return NotOpened("the host did not start TLS", Stage.STARTTLS, reply, may_try_in_clear=not is_required)
            self._is_tls_refused = True
            return None
        if self._channel.has_input:
            self._channel.drop()
            reason = "octets came behind the answer to STARTTLS, before the handshake"
            return NotOpened(reason, Stage.STARTTLS, may_try_in_clear=not is_required)
        return await self._handshake() or await self._hello()

    async def _handshake(self) -> NotOpened | None:
        try:
            self.tls = await self._channel.within(
                self._channel.timeouts.handshake_s,
                self._channel.stream.start_tls(self._hop.requirement),
                "the TLS handshake",
            )
        except (TlsFailed, Gone) as failed:
            self._channel.drop()
            reason = f"the TLS handshake did not succeed: {failed}" if isinstance(failed, TlsFailed) else str(failed)
            may_try = self._hop.tls is TlsUse.OPPORTUNISTIC
            return NotOpened(reason, Stage.STARTTLS, may_try_in_clear=may_try)
        if self._channel.transcript is not None:
            self._channel.transcript.happened(f"({self.tls.version}, {self.tls.cipher})")
        # RFC 3207 4.2: what was learnt in clear is forgotten.
        self._channel.forget()
        self.extensions = Extensions()
        return None

    async def _auth(self) -> NotOpened | None:
        """PLAIN (RFC 4616), else LOGIN. A password is never said in clear but to this machine."""
        login = self._hop.login
        assert login is not None
        if self.tls is None and not self._hop.may_auth_in_clear:
            return NotOpened("no password is sent without TLS", Stage.AUTH)
        if "PLAIN" in self.extensions.mechanisms:
            reply = await self._channel.ask(smtp_commands.auth_plain(login), self._channel.timeouts.auth_s, AUTH)
            answers = [smtp_commands.sasl_response(smtp_commands.plain_response(login))]
        elif "LOGIN" in self.extensions.mechanisms:
            reply = await self._channel.ask(smtp_commands.AUTH_LOGIN, self._channel.timeouts.auth_s, AUTH)
            answers = list(smtp_commands.login_responses(login))
        else:
            return NotOpened("the host offers neither AUTH PLAIN nor AUTH LOGIN", Stage.AUTH)
        while 300 <= reply.code < 400 and answers:
            reply = await self._channel.ask(answers.pop(0), self._channel.timeouts.auth_s, AUTH)
        if 200 <= reply.code < 300:
            return None
        if reply.is_permanent:
            return NotOpened("the host did not accept our user name and password", Stage.AUTH, reply)
        return NotOpened("the host could not check our user name and password now", Stage.AUTH, reply)
