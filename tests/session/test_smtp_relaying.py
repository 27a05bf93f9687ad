"""Never an open relay: spellings of recipients through grammar, machine, session and rules (hazards, "Relay")."""

import ipaddress

import pytest

from mailserver.config.schema import AuthWithoutTls
from mailserver.session.smtp_profile import SMTP, SUBMISSION, SmtpSettings
from tests.fakes.directory import box
from tests.fakes.smtp import World, example_directory

TRUSTED = SmtpSettings(hostname="mail.example.test", trusted_networks=(ipaddress.ip_network("198.51.100.0/24"),))


def rcpt(line, *, profile=SMTP, address="192.0.2.7", sender="<x@outside.example>", login=False, hello="EHLO client"):
    client = World().connect(profile, address=address, settings=TRUSTED)
    client.say(hello + "\r\n")
    if login:
        client.say("STARTTLS\r\n")
        client.login()
        sender = "<alice@example.test>"
    assert client.say(f"MAIL FROM:{sender} SMTPUTF8\r\n").startswith("250")
    reply = client.say(line + "\r\n")
    return " ".join(reply.split()[:2])


OK, DENIED, UNKNOWN, SYNTAX = "250 2.1.5", "550 5.7.1", "550 5.1.1", "501 5.1.3"


@pytest.mark.parametrize(
    ("line", "stranger", "authenticated"),
    [
        # Ours, in all harmless spellings.
        ("RCPT TO:<alice@example.test>", OK, OK),
        ("rcpt to: alice@example.test", OK, OK),
        ("RCPT TO:<ALICE@EXAMPLE.TEST>", OK, OK),
        ("RCPT TO:<alice+x@example.test>", OK, OK),
        ('RCPT TO:<"alice"@example.test>', OK, OK),
        ("RCPT TO:<postmaster>", OK, OK),
        ("RCPT TO:<Postmaster@example.test>", OK, OK),
        ("RCPT TO:<abuse@example.test>", OK, OK),
        ("RCPT TO:<sales@example.test>", OK, OK),
        ("RCPT TO:<friend@example.test>", OK, OK),  # an alias to outside: whoever runs the server wrote it
        # Not there.
        ("RCPT TO:<carol@example.test>", UNKNOWN, UNKNOWN),
        # Elsewhere, plainly.
        ("RCPT TO:<victim@far.example>", DENIED, OK),
        ("RCPT TO:<victim@sub.example.test>", DENIED, OK),
        ("RCPT TO:<victim@test>", DENIED, OK),
        ("RCPT TO:<victim@example.test.far.example>", DENIED, OK),
        ("RCPT TO:<victim@notexample.test>", DENIED, OK),
        ("RCPT TO:<victim@localhost>", DENIED, OK),
        ("RCPT TO:<victim@[192.0.2.1]>", DENIED, OK),
        ("RCPT TO:<victim@[127.0.0.1]>", DENIED, OK),
        ("RCPT TO:<victim@[IPv6:2001:db8::1]>", DENIED, OK),
        ("RCPT TO:<victim@192.0.2.1>", DENIED, OK),
        ("RCPT TO:<postmaster@far.example>", DENIED, OK),
        # Percent, bang, quotes: the domain is what follows the last unquoted @.
        ("RCPT TO:<victim%far.example@example.test>", UNKNOWN, UNKNOWN),
        ("RCPT TO:<victim%far.example%example.test@example.test>", UNKNOWN, UNKNOWN),
        ("RCPT TO:<far.example!victim@example.test>", UNKNOWN, UNKNOWN),
        ('RCPT TO:<"victim@far.example"@example.test>', UNKNOWN, UNKNOWN),
        ('RCPT TO:<"victim%far.example"@example.test>', UNKNOWN, UNKNOWN),
        ('RCPT TO:<"far.example!victim"@example.test>', UNKNOWN, UNKNOWN),
        ('RCPT TO:<"alice@example.test"@far.example>', DENIED, OK),
        ('RCPT TO:<"victim@far.example">', SYNTAX, SYNTAX),
        ("RCPT TO:<far.example!victim>", SYNTAX, SYNTAX),
        ("RCPT TO:<victim%far.example>", SYNTAX, SYNTAX),
        # Source routes.
        ("RCPT TO:<@example.test:victim@far.example>", SYNTAX, SYNTAX),
        ("RCPT TO:<@far.example:alice@example.test>", SYNTAX, SYNTAX),
        ("RCPT TO:<@example.test,@other.example:victim@far.example>", SYNTAX, SYNTAX),
        # Two of something.
        ("RCPT TO:<victim@far.example@example.test>", SYNTAX, SYNTAX),
        ("RCPT TO:<alice@example.test@far.example>", SYNTAX, SYNTAX),
        ("RCPT TO:<alice@example.test@far.example@example.test>", SYNTAX, SYNTAX),
        ("RCPT TO:<alice@example.test,victim@far.example>", SYNTAX, SYNTAX),
        ("RCPT TO:<alice@example.test>,<victim@far.example>", SYNTAX, SYNTAX),
        ("RCPT TO:<alice@example.test><victim@far.example>", SYNTAX, SYNTAX),
        ("RCPT TO:<alice@example.test> <victim@far.example>", "501 5.5.4", "501 5.5.4"),
        # Dots and odd characters.
        ("RCPT TO:<alice@example.test.>", SYNTAX, SYNTAX),
        ("RCPT TO:<victim@.far.example>", SYNTAX, SYNTAX),
        ("RCPT TO:<victim@far..example>", SYNTAX, SYNTAX),
        ("RCPT TO:<victim@>", SYNTAX, SYNTAX),
        ("RCPT TO:<victim>", SYNTAX, SYNTAX),
        ("RCPT TO:<>", SYNTAX, SYNTAX),
        ("RCPT TO:<@>", SYNTAX, SYNTAX),
        (
            "RCPT TO:<alice@example\u3002test>",
            OK,
            OK,
        ),  # an ideographic full stop is a dot (RFC 5895); still exactly ours
        ("RCPT TO:<victim@far\u3002example>", DENIED, OK),
        ("RCPT TO:<alice@ｅｘａｍｐｌｅ.test>", OK, OK),
        ("RCPT TO:<аlice@example.test>", UNKNOWN, UNKNOWN),  # a Cyrillic а is not a Latin one
        ("RCPT TO:<victim@example.test\t@far.example>", SYNTAX, SYNTAX),
        ("RCPT TO:<victim@far.example\0@example.test>", "500 5.5.2", "500 5.5.2"),
        ("RCPT TO:<victim@far.example\n@example.test>", "500 5.5.2", "500 5.5.2"),
        ("RCPT TO:<|/bin/sh@example.test>", UNKNOWN, UNKNOWN),
        ('RCPT TO:<"../alice"@example.test>', UNKNOWN, UNKNOWN),
        ("RCPT TO:<-f/etc/passwd@example.test>", UNKNOWN, UNKNOWN),
    ],
)
def test_spellings(line, stranger, authenticated):
    assert rcpt(line) == stranger
    assert rcpt(line, profile=SUBMISSION, login=True) == authenticated


FAR = "RCPT TO:<victim@far.example>"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, DENIED),
        ({"sender": "<>"}, DENIED),
        ({"sender": "<alice@example.test>"}, DENIED),  # a local sender proves nothing
        ({"sender": "<postmaster@example.test>"}, DENIED),
        ({"hello": "EHLO mail.example.test"}, DENIED),
        ({"hello": "EHLO localhost"}, DENIED),
        ({"hello": "HELO [127.0.0.1]"}, DENIED),
        ({"address": "127.0.0.1"}, DENIED),  # loopback is no licence; other programs of this machine may be strangers'
        ({"address": "::1"}, DENIED),
        ({"address": "198.51.100.9"}, OK),
        ({"address": "::ffff:198.51.100.9"}, OK),  # IPv4-mapped counts as IPv4
        ({"address": "198.51.101.9"}, DENIED),
        ({"address": "2001:db8::198.51.100.9"}, DENIED),
    ],
)
def test_what_a_client_says_of_itself_is_no_licence(options, expected):
    assert rcpt(FAR, **options) == expected


def test_the_auth_parameter_of_mail_is_no_licence():
    client = World().connect(settings=SmtpSettings("mail.example.test"))
    assert client.code("MAIL FROM:<x@outside.example> AUTH=<alice@example.test>") == 555
    assert client.code("XCLIENT LOGIN=alice@example.test") == 500


def test_a_relayed_recipient_is_forgotten_with_the_login():
    """RFC 3207 4.2: nothing that was learnt before the handshake counts."""
    settings = SmtpSettings("mail.example.test", auth_without_tls=AuthWithoutTls.ALWAYS)
    client = World().connect(SUBMISSION, settings=settings)
    client.login()
    assert client.code("MAIL FROM:<alice@example.test>") == 250
    assert client.code(FAR) == 250
    assert client.code("RSET") == 250
    assert client.code("STARTTLS") == 220
    assert client.code("MAIL FROM:<alice@example.test>") == 530


def test_aliases_that_lead_nowhere_are_refused():
    world = World(
        example_directory(
            aliases={
                "gone@example.test": (box("no@example.test"),),
                "ring@example.test": (box("ring@example.test"),),
            }
        )
    )
    client = world.connect()
    client.say("MAIL FROM:<>\r\n")
    assert client.say("RCPT TO:<gone@example.test>\r\n").startswith("550 5.1.1")
    assert client.say("RCPT TO:<ring@example.test>\r\n").startswith("550 5.4.6")
