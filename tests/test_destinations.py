"""Where queued recipients go."""

import pytest

from mailserver.config import load_config
from mailserver.destinations import Destinations, PasswordFileTrouble, smarthost_route
from mailserver.mail.route import FixedRoute, MxRoute, SmarthostRoute, SmarthostTls
from mailserver.ports import LocalMailboxes, NoDestination
from tests.fakes.directory import MemoryDirectory, box


def config_with(tmp_path, relay=""):
    path = tmp_path / "mailserver.toml"
    path.write_text(
        'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n[relay]\n' + relay
    )
    return load_config(path)


DIRECTORY = MemoryDirectory(
    aliases={
        "sales@example.org": ("alice@example.org", "far@outside.example"),
        "dangling@example.org": ("gone@example.org",),
        "circle@example.org": ("circle@example.org",),
    }
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("alice@example.org", LocalMailboxes((box("alice@example.org"),))),
        ("ALICE+x@Example.ORG", LocalMailboxes((box("alice@example.org"),))),
        ("sales@example.org", LocalMailboxes((box("alice@example.org"),), (box("far@outside.example"),))),
        ("x@outside.example", MxRoute("outside.example")),
        ("x@routed.example", FixedRoute("192.0.2.7", 2525)),
        ("x@sub.routed.example", MxRoute("sub.routed.example")),
    ],
)
def test_where_mail_goes(tmp_path, address, expected):
    config = config_with(tmp_path, 'routes = { "routed.example" = "192.0.2.7:2525" }\n')
    assert Destinations(config, DIRECTORY, None)(box(address)) == expected


@pytest.mark.parametrize(
    ("keys", "address", "attempts", "is_smarthost"),
    [
        ("", "x@far.example", 0, True),
        ('smarthost_domains = ["far.example"]', "x@far.example", 0, True),
        ('smarthost_domains = ["far.example"]', "x@near.example", 9, False),
        ('smarthost_domains = ["far.example"]', "x@sub.far.example", 0, False),
        ("smarthost_after = 2", "x@far.example", 1, False),
        ("smarthost_after = 2", "x@far.example", 2, True),
        ('smarthost_after = 2\nsmarthost_domains = ["far.example"]', "x@near.example", 2, False),
    ],
)
def test_which_mail_the_smarthost_gets(tmp_path, keys, address, attempts, is_smarthost):
    config = config_with(tmp_path, f'smarthost = "smtp.isp.example:587"\n{keys}\n')
    found = Destinations(config, DIRECTORY, smarthost_route(config))(box(address), attempts)
    assert isinstance(found, SmarthostRoute) is is_smarthost
    assert is_smarthost or found == MxRoute(box(address).domain)


@pytest.mark.parametrize(
    ("address", "enhanced"),
    [("gone@example.org", "5.1.1"), ("dangling@example.org", "5.1.1"), ("circle@example.org", "5.4.6")],
)
def test_what_cannot_be_delivered_any_more(tmp_path, address, enhanced):
    found = Destinations(config_with(tmp_path), DIRECTORY, None)(box(address))
    assert isinstance(found, NoDestination)
    assert found.enhanced == enhanced


def test_a_disabled_mailbox(tmp_path):
    import dataclasses

    directory = MemoryDirectory()
    directory.accounts = {key: dataclasses.replace(one, is_enabled=False) for key, one in directory.accounts.items()}
    found = Destinations(config_with(tmp_path), directory, None)(box("bob@example.org"))
    assert isinstance(found, NoDestination)
    assert found.enhanced == "5.2.1"


def test_the_smarthost_takes_everything_without_a_route_of_its_own(tmp_path):
    (tmp_path / "password").write_text("secret\nsecond line\n")
    config = config_with(
        tmp_path,
        'smarthost = "smtp.isp.example:587"\nsmarthost_username = "me"\nsmarthost_password_file = "password"\n'
        'routes = { "routed.example" = "192.0.2.7:2525" }\n',
    )
    route = smarthost_route(config)
    assert isinstance(route, SmarthostRoute)
    assert (route.host, route.port, route.tls) == ("smtp.isp.example", 587, SmarthostTls.STARTTLS)
    assert (route.login.username, route.login.password) == ("me", "secret")
    assert "secret" not in repr(route)
    find = Destinations(config, DIRECTORY, route)
    assert find(box("x@outside.example")) is route
    assert find(box("x@routed.example")) == FixedRoute("192.0.2.7", 2525)


def test_no_smarthost(tmp_path):
    assert smarthost_route(config_with(tmp_path)) is None


@pytest.mark.parametrize(
    ("octets", "words"), [(None, "cannot be read"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff\n", "not UTF-8")]
)
def test_a_password_that_cannot_be_had_is_told(tmp_path, octets, words):
    if octets is not None:
        (tmp_path / "password").write_bytes(octets)
    config = config_with(
        tmp_path,
        'smarthost = "smtp.isp.example:587"\nsmarthost_username = "me"\nsmarthost_password_file = "password"\n',
    )
    with pytest.raises(PasswordFileTrouble, match=words):
        smarthost_route(config)
