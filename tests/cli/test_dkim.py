"""`mailserver dkim`: what it prints is what is checked; every step of a key's life."""

import json
import re
import time

from mailserver.policy.dkim.keys import Published, published
from mailserver.store.dkim_keys import DkimKeyFolder


def _keys(command):
    return DkimKeyFolder(command.folder / "state").read()[0]


def _records(text):
    """The records of a zone file by name."""
    flat = re.sub(r"\(\n|\n\)|\n(?=    )", " ", text)
    lines = [line for line in flat.splitlines() if line and not line.startswith(";")]
    return {line.split(". ")[0]: "".join(re.findall(r'"([^"]*)"', line)) for line in lines}


def _age(command, **times):
    folder = DkimKeyFolder(command.folder / "state")
    from dataclasses import replace

    for key in folder.read()[0]:
        folder.save(replace(key, **times))


def test_create_prints_two_records_that_hold_the_keys(command):
    records = _records(command.ok("dkim", "create", "example.org"))
    keys = _keys(command)
    assert sorted(key.algorithm for key in keys) == ["ed25519-sha256", "rsa-sha256"]
    for key in keys:
        assert published(key, (records[key.name],)) is Published.YES
        assert not key.activated_at
    assert _records(command.ok("dkim", "show", "example.org")) == records


def test_create_twice_is_refused(command):
    command.ok("dkim", "create", "example.org")
    assert "has keys already" in command.refused("dkim", "create", "example.org")
    command.ok("dkim", "create", "example.net")


def test_only_our_own_domains_have_keys(command):
    assert "none of the domains" in command.refused("dkim", "create", "elsewhere.example")
    assert command("dkim", "create", "no domain").exit_code == 2


def test_a_rotation_keeps_the_old_keys_until_the_new_ones_are_seen(command):
    assert "no keys in use" in command.refused("dkim", "rotate", "example.org")
    command.ok("dkim", "create", "example.org", "--unchecked")
    records = _records(command.ok("dkim", "rotate", "example.org"))
    states = {key.selector: key.state(time.time()).value for key in _keys(command)}
    assert sorted(states.values()) == ["active", "active", "waiting", "waiting"]
    assert {name.partition(".")[0] for name in records} == {
        name for name, state in states.items() if state == "waiting"
    }
    assert "wait already" in command.refused("dkim", "rotate", "example.org")
    assert len(_records(command.ok("dkim", "show", "example.org"))) == 4


def test_an_unchecked_rotation_takes_over_at_once(command):
    command.ok("dkim", "create", "example.org", "--unchecked")
    command.ok("dkim", "rotate", "example.org", "--unchecked")
    states = [key.state(time.time()).value for key in _keys(command)]
    assert sorted(states) == ["active", "active", "retiring", "retiring"]
    until = {key.published_until for key in _keys(command) if key.retired_at}
    assert all(7 * 86400 - 60 < one - time.time() < 7 * 86400 + 60 for one in until)


def test_a_key_is_retired_and_then_forgotten(command):
    command.ok("dkim", "create", "example.org", "--unchecked")
    first, second = _keys(command)
    said = command.ok("dkim", "retire", "example.org", first.selector)
    assert "signs no more" in said
    assert f'{first.name}. 3600 IN TXT "v=DKIM1; p="' in said
    assert "needed until" in command.refused("dkim", "retire", "example.org", first.selector)
    assert "no key signs" in command("dkim", "retire", "example.org", second.selector).stderr
    _age(command, retired_at=1.0, published_until=2.0)
    result = command("dkim", "list")
    assert result.exit_code == 1
    assert f"mailserver dkim retire example.org {first.selector}" in result.stderr
    assert "forgotten" in command.ok("dkim", "retire", "example.org", first.selector)
    assert [key.selector for key in _keys(command)] == [second.selector]
    assert "no key with the selector" in command.refused("dkim", "retire", "example.org", first.selector)


def test_list_tells_what_is_due(command):
    assert command.ok("dkim", "list") == ""
    command.ok("dkim", "create", "example.org", "--unchecked")
    assert "active: signs since" in command.ok("dkim", "list")
    _age(command, activated_at=time.time() - 400 * 86400)
    result = command("dkim", "list", "--json")
    assert result.exit_code == 1
    assert "in use for 400 days: mailserver dkim rotate example.org" in result.stderr
    objects = json.loads(result.stdout)
    assert {one["state"] for one in objects} == {"active"}
    assert "".join(objects[0]["strings"]) == objects[0]["record"]


def test_show_without_keys_says_how_to_make_some(command):
    assert "mailserver dkim create example.org" in command.refused("dkim", "show", "example.org")
    assert json.loads(command.ok("dkim", "show", "example.org", "--json")) == []
