"""Targets: addresses, the arguments of SMTP commands, SASL.

What was accepted is said again and read again, and must be the same; what is said holds no line end and no NUL.
"""

import os
from dataclasses import replace
from pathlib import Path

from mailserver.mail.address import MAX_LOCAL_PART_OCTETS, Mailbox, canonical_domain, has_controls, parse_mailbox
from mailserver.mail.address_fields import address_spans, addresses_in_text, mailbox_with_domain, with_domains
from mailserver.mail.address_list import mailboxes_in
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reply import Reply
from mailserver.mail.scram import ScramKeys
from mailserver.store.paths import maildir_path
from mailserver.wire import smtp_commands, smtp_grammar
from mailserver.wire.sasl import (
    Challenge,
    Claim,
    Exchange,
    Mechanism,
    SaslFault,
    ScramHello,
    decode_initial_response,
    decode_response,
    encode_challenge,
    mechanism_named,
)
from mailserver.wire.scram import ScramFault, ScramMachine
from mailserver.wire.smtp_extensions import Extensions

_ROOT = Path("/maildirs")
_EVERYTHING = Extensions(eightbitmime=True, smtputf8=True, dsn=True, size_offered=True)


def text_of(octets: bytes) -> str:
    """As a command line is read; what is not UTF-8 becomes lone surrogates, as on a command line of the shell."""
    return octets.decode("utf-8", "surrogateescape")


def check_mailbox(mailbox: Mailbox) -> None:
    """What everybody relies on who holds a `Mailbox`."""
    said = str(mailbox)
    assert not has_controls(said)
    assert said.splitlines() == [said], "a mailbox that can end a line"
    assert len(mailbox.local_part.encode("utf-8")) <= 3 * MAX_LOCAL_PART_OCTETS
    assert mailbox.domain.isascii()
    assert parse_mailbox(said) == mailbox, "said and read again it is another"


def address(octets: bytes) -> None:
    """One address, a domain, a name below the Maildirs."""
    text = text_of(octets)
    found = parse_mailbox(text)
    if isinstance(found, Mailbox):
        check_mailbox(found)
        _check_folder(found)
        if not found.is_ascii:
            assert isinstance(parse_mailbox(text, allow_utf8=False), SyntaxFault)
    domain = canonical_domain(text)
    if domain is not None:
        assert canonical_domain(domain) == domain
    completed = mailbox_with_domain(text, "example.test")
    if isinstance(completed, Mailbox):
        assert completed.domain


def address_lists(octets: bytes) -> None:
    """A From field, a list of recipients, a header section whose addresses lack their domain."""
    found = mailboxes_in(octets.decode("utf-8", "replace"))
    for mailbox in found or ():
        check_mailbox(mailbox)
    end = 0
    for start, stop in address_spans(octets):
        assert end <= start < stop <= len(octets)
        end = stop
    addresses_in_text(text_of(octets))
    completed = with_domains(octets, "example.test")
    assert completed.replace(b"@example.test", b"") == octets.replace(b"@example.test", b"")


def smtp_arguments(octets: bytes) -> None:
    """One octet chooses the command; the argument behind it. What the grammar takes, our client can say again."""
    flags, text = octets[:1].ljust(1, b"\0")[0], octets[1:].decode("utf-8", "replace")
    match flags & 3:
        case 0:
            read = smtp_grammar.parse_mail(text, offers_auth=bool(flags & 4))
            if isinstance(read, Envelope):
                _check_envelope(read)
        case 1:
            to = smtp_grammar.parse_rcpt(text, smtputf8=bool(flags & 4))
            if isinstance(to, Recipient):
                _check_recipient(to, smtputf8=bool(flags & 4))
        case 2:
            name = smtp_grammar.parse_hello(text)
            assert isinstance(name, Reply) or smtp_grammar.parse_hello(name) == name
        case 3:
            chunk = smtp_grammar.parse_bdat(text)
            assert chunk is None or 0 <= chunk.size_octets < 10**20


def _check_envelope(envelope: Envelope) -> None:
    line = smtp_commands.mail(envelope, _EVERYTHING, length=1, smtputf8=envelope.smtputf8)
    assert line.count(b"\n") == line.count(b"\r") == 1
    assert b"\0" not in line
    again = smtp_grammar.parse_mail(_argument(line), offers_auth=False)
    assert isinstance(again, Envelope)
    assert (again.reverse_path, again.ret, again.envid, again.body) == (
        envelope.reverse_path,
        envelope.ret,
        envelope.envid,
        envelope.body,
    )


def _check_recipient(to: Recipient, *, smtputf8: bool) -> None:
    check_mailbox(to.mailbox) if to.mailbox.domain else None
    line = smtp_commands.rcpt(to, _EVERYTHING, smtputf8=smtputf8)
    assert line.count(b"\n") == line.count(b"\r") == 1
    assert b"\0" not in line
    if b" ORCPT=" not in line:
        # Left out when escapes make it too long; none grows more than sixfold.
        assert to.orcpt is None or len(to.orcpt.address.encode()) > 80
        to = replace(to, orcpt=None)
    assert smtp_grammar.parse_rcpt(_argument(line), smtputf8=smtputf8) == to


def _argument(line: bytes) -> str:
    return line.decode("utf-8").removesuffix("\r\n").partition(" ")[2]


def sasl(octets: bytes) -> None:
    """The name of a mechanism, and the lines of an exchange."""
    first, *lines = octets.split(b"\n")
    name = mechanism_named(first.decode("utf-8", "replace"))
    assert name is None or first.upper() == name.value.encode(), "another name is taken for one of ours"
    for mechanism in Mechanism:
        exchange = Exchange(mechanism)
        initial = decode_initial_response(lines[0]) if lines else None
        step = initial if isinstance(initial, SaslFault) else exchange.start(initial)
        for line in lines[1:4]:
            if not isinstance(step, Challenge):
                break
            assert decode_response(encode_challenge(step.octets).encode()) == step.octets
            response = decode_response(line)
            step = response if isinstance(response, SaslFault) else exchange.respond(response)
        assert isinstance(step, Challenge | Claim | SaslFault | ScramHello)
        if isinstance(step, Claim):
            assert "\0" not in step.login + step.password + step.authzid


_SCRAM_NONCE = "ours"
_SCRAM_KEYS = ScramKeys(b"salt", 1, b"s" * 32, b"k" * 32)


def scram(octets: bytes) -> None:
    """The messages of a SCRAM exchange, a line each: nobody is proved whose keys nobody knows."""
    machine = ScramMachine()
    first, _, final = octets.partition(b"\n")
    hello = machine.hello(first)
    if isinstance(hello, ScramFault):
        return
    assert hello.gs2_header + hello.bare == first, "the proof would be over other octets"
    assert len(hello.nonce) <= 512 and "\0" not in hello.login + hello.authzid
    challenge = machine.challenge(_SCRAM_KEYS.salt, _SCRAM_KEYS.iterations, _SCRAM_NONCE)
    assert challenge.isascii() and b"\n" not in challenge and len(challenge) < 1_000
    if machine.proof(final) is None:
        assert f"{hello.nonce}{_SCRAM_NONCE}".encode() in final
        assert not machine.is_proved_by(_SCRAM_KEYS)
        assert not (machine.binds_to(b"") and machine.binds_to(b"channel"))
        machine.signature(_SCRAM_KEYS)


def _check_folder(mailbox: Mailbox) -> None:
    """A name that a stranger chose leads nowhere else."""
    if not mailbox.domain:
        return
    path = maildir_path(_ROOT, mailbox)
    assert path.parent.parent == _ROOT
    assert not {".", "..", ""} & {path.name, path.parent.name}
    assert all(len(os.fsencode(name)) <= 255 for name in (path.name, path.parent.name))
