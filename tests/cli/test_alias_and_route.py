"""`mailserver alias` and `mailserver route`: what leads where."""

import json

import pytest

from tests.cli.conftest import CONFIG, Command


@pytest.fixture
def people(command):
    """Alice, and Bob who is disabled."""
    command.accounts.write_text(
        '[accounts."alice@example.org"]\n[accounts."bob@example.org"]\ndisabled = true\n', encoding="utf-8"
    )
    return command


def test_alias_is_made_extended_listed_and_removed(people):
    assert people.ok("alias", "add", "sales@example.org", "alice@example.org") == (
        "sales@example.org leads to alice@example.org\n"
    )
    assert people.ok("alias", "add", "SALES@example.org", "Alice@example.org", "x@far.example") == (
        "SALES@example.org leads to x@far.example\n"
    )
    assert people.ok("alias", "add", "sales@example.org", "x@far.example") == "sales@example.org led there already\n"
    people.ok("alias", "add", "@example.net", "alice@example.org")
    assert people.ok("alias", "list") == (
        "@example.net\talice@example.org\nsales@example.org\talice@example.org, x@far.example\n"
    )
    assert json.loads(people.ok("alias", "list", "--json")) == [
        {"address": "@example.net", "targets": ["alice@example.org"]},
        {"address": "sales@example.org", "targets": ["alice@example.org", "x@far.example"]},
    ]
    assert people.ok("alias", "remove", "sales@example.org", "alice@example.org") == (
        "sales@example.org leads to x@far.example\n"
    )
    assert people.ok("alias", "remove", "sales@example.org", "x@far.example") == "sales@example.org is removed\n"
    assert people.ok("alias", "remove", "@EXAMPLE.net") == "@example.net is removed\n"
    assert people.ok("alias", "list") == ""


def test_alias_that_does_not_exist_or_lead_there_is_refused(people):
    assert people.refused("alias", "remove", "none@example.org") == "there is no alias none@example.org\n"
    assert people.refused("alias", "remove", "@example.net") == "there is no alias @example.net\n"
    people.ok("alias", "add", "s@example.org", "alice@example.org")
    assert people.refused("alias", "remove", "s@example.org", "alice@example.org", "bob@example.org") == (
        "s@example.org does not lead to bob@example.org; nothing was changed\n"
    )
    assert people.ok("alias", "list") == "s@example.org\talice@example.org\n"


def test_alias_for_an_account_or_in_a_strange_domain_is_refused(people):
    assert people.refused("alias", "add", "ALICE@example.org", "bob@example.org") == (
        "ALICE@example.org is an account and takes its mail itself; an alias with this address has no effect\n"
    )
    assert people.refused("alias", "add", "@exampel.org", "alice@example.org") == (
        "exampel.org is not a domain of this server (did you mean @example.org?); etc/mailserver.toml has "
        'domains = ["example.org", "example.net"]\n'
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("@", "alice@example.org"), "Error: @: a catch-all has the form @example.org\n"),
        (("sales", "alice@example.org"), "Error: sales: an address has the form local-part@domain\n"),
        (("sales@example.org", "@example.org"), "Error: @example.org: the local-part of the address is empty\n"),
        (("sales@example.org", "|/bin/sh"), "Error: |/bin/sh: an address has the form local-part@domain\n"),
        (("sales@example.org",), "Error: Missing argument 'TARGET...'.\n"),
    ],
)
def test_what_is_no_alias_is_asked_the_wrong_way(people, words, text):
    result = people("alias", "add", *words)
    assert result.exit_code == 2
    assert result.stderr.endswith(text)


@pytest.mark.parametrize(
    ("target", "warning"),
    [
        ("carol@example.org", "carol@example.org does not exist; no mail gets there"),
        ("bob@example.org", "bob@example.org is disabled; no mail gets there"),
        ("new@example.org", "new@example.org leads only back to itself; mail for it is refused"),
        ("ring@example.org", "the alias ring@example.org reaches nobody; no mail gets there"),
        ("empty@example.org", "the alias empty@example.org reaches nobody; no mail gets there"),
    ],
)
def test_target_that_gets_no_mail_is_taken_with_a_warning(people, target, warning):
    with people.accounts.open("a") as file:
        file.write('[aliases]\n"ring@example.org" = ["ring@example.org"]\n"empty@example.org" = ["x@example.org"]\n')
    result = people("alias", "add", "new@example.org", target, "alice@example.org")
    if target == "new@example.org":
        people.ok("alias", "remove", "new@example.org", "alice@example.org")
        result = people("alias", "add", "new@example.org", target)
    assert result.exit_code == 0
    assert result.stderr == f"warning: {warning}\n"


def test_targets_that_get_mail_are_no_warning(people):
    result = people("alias", "add", "new@example.org", "alice+x@example.org", "postmaster@example.net", "x@far.example")
    assert result.stderr == ""


# --- route ------------------------------------------------------------------------------------------------------------


def route(command: Command, address: str) -> tuple[int, str]:
    result = command("route", address)
    assert result.stderr == ""
    return result.exit_code, result.stdout.replace(f"{command.folder}/", "")


def test_route_tells_each_step_and_the_folder(people):
    people.ok("alias", "add", "sales@example.org", "alice@example.org", "x@far.example")
    assert route(people, "alice+x@example.org") == (
        0,
        "alice@example.org is an account\nfiled in mail/example.org/alice\n",
    )
    assert route(people, "sales@example.org") == (
        0,
        "sales@example.org is taken by the alias sales@example.org, which leads to alice@example.org, x@far.example\n"
        "alice@example.org is an account\n"
        "x@far.example is outside and is sent on\n"
        "filed in mail/example.org/alice\n"
        "sent on to x@far.example: the mail servers that DNS names for far.example (MX)\n",
    )
    assert route(people, "postmaster")[1].endswith("filed in mail/example.org/alice\n")


@pytest.mark.parametrize(
    ("address", "last_line"),
    [
        ("carol@example.org", "refused: no such mailbox\n"),
        ("bob@example.org", "refused: the mailbox is disabled\n"),
        ("ring@example.org", "refused: the alias leads only back to itself\n"),
        ("empty@example.org", "refused: the alias reaches nobody\n"),
    ],
)
def test_route_that_is_refused_has_exit_status_1(people, address, last_line):
    with people.accounts.open("a") as file:
        file.write('[aliases]\n"ring@example.org" = ["ring@example.org"]\n"empty@example.org" = ["x@example.org"]\n')
    status, output = route(people, address)
    assert status == 1
    assert output.endswith(last_line)


@pytest.mark.parametrize(
    ("more", "address", "hop"),
    [
        ("", "x@routed.example", "192.0.2.7:2525, the fixed route of relay.routes"),
        ("", "x@far.example", "the mail servers that DNS names for far.example (MX)"),
        ("", "x@[192.0.2.9]", "the address [192.0.2.9] itself"),
        ("port = 2525\n", "x@far.example", "the mail servers that DNS names for far.example (MX), port 2525"),
        ('smarthost = "smtp.isp.example:587"\n', "x@far.example", "the smarthost smtp.isp.example:587, with STARTTLS"),
        (
            'smarthost = "smtp.isp.example:587"\nsmarthost_domains = ["near.example"]\n',
            "x@far.example",
            "the mail servers that DNS names for far.example (MX); the smarthost is not for this domain "
            "(relay.smarthost_domains)",
        ),
        (
            'smarthost = "smtp.isp.example:587"\nsmarthost_after = 3\n',
            "x@far.example",
            "the mail servers that DNS names for far.example (MX); after 3 attempts without success "
            "(relay.smarthost_after) the smarthost smtp.isp.example:587, with STARTTLS",
        ),
        (
            'smarthost = "smtp.isp.example:465"\nsmarthost_tls = "tls"\nsmarthost_username = "me"\n'
            'smarthost_password_file = "/dev/null"\n',
            "x@far.example",
            "the smarthost smtp.isp.example:465, with TLS, logged in as me",
        ),
        (
            'smarthost = "localhost:26"\nsmarthost_tls = "none"\n',
            "x@routed.example",
            "192.0.2.7:2525, the fixed route of relay.routes",
        ),
    ],
)
def test_route_to_elsewhere_tells_the_next_hop(people, more, address, hop):
    people.config.write_text(CONFIG.replace("[relay.routes]", f"[relay]\n{more}[relay.routes]"))
    domain = address.partition("@")[2]
    assert route(people, address) == (
        0,
        f"{domain} is not one of our domains\nsent to {hop}\n"
        "only for those who log in or come from smtp.trusted_networks; strangers are refused\n",
    )


def test_route_as_json(people):
    people.ok("alias", "add", "sales@example.org", "alice@example.org", "x@far.example")
    assert json.loads(people.ok("route", "sales@example.org", "--json")) == {
        "address": "sales@example.org",
        "verdict": "here",
        "mailboxes": [{"address": "alice@example.org", "maildir": f"{people.folder}/mail/example.org/alice"}],
        "outside": [
            {
                "address": "x@far.example",
                "next_hop": "the mail servers that DNS names for far.example (MX)",
                "ipv4_first": None,
                "hosts": [],
                "protection": None,
            }
        ],
        "steps": [
            "sales@example.org is taken by the alias sales@example.org, "
            "which leads to alice@example.org, x@far.example",
            "alice@example.org is an account",
            "x@far.example is outside and is sent on",
        ],
    }
    result = people("route", "bob@example.org", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["verdict"] == "disabled"


def test_route_of_what_is_no_address_is_asked_the_wrong_way(people):
    result = people("route", "alice")
    assert result.exit_code == 2
    assert result.stderr.endswith("Error: alice: an address has the form local-part@domain\n")
