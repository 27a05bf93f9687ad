"""The configuration as text: the same facts give the same file, and the owner's text stays his."""

import attrs
import pytest

from mailserver.config import Config, read_config
from mailserver.net.listener_text import check_listener
from mailserver.setup.document import edited_text, new_text, read, record_text
from mailserver.setup.keys import KEYS
from mailserver.setup.layout import lab_layout, system_layout
from tests.setup.test_decide import ALICE, BLOCKED, GOOD, HERE, IP6, NAMED4, SMART, PublicAddress, decide, plan, replace

OWNER = """\
# My mail server. Do not touch on Fridays.
hostname = "mail.example.org"   # the old one
domains = ["example.org"]
postmaster = "alice@example.org"

[smtp]
max_message_size = "20MB" # Bob sends photos

[relay]
# by hand
retry = ["1m"]
"""


def text_and_record(found):
    return new_text(found.settings), record_text(found.decided, {})


def again(text, record, survey=GOOD, answers=ALICE):
    before = read(text, record)
    found = decide(survey, answers, before, system_layout(), HERE)
    return found, edited_text(text, before, found.settings)


def loaded(text, tmp_path):
    return read_config(text, tmp_path / "etc" / "mailserver.toml", check_listener)


def test_the_same_facts_give_the_same_file_and_a_second_run_changes_nothing():
    text, record = text_and_record(plan())
    assert text == text_and_record(plan())[0]
    assert again(text, record)[1] == text


def test_what_is_written_is_what_was_decided(tmp_path):
    for found in (plan(), plan(BLOCKED, SMART), plan(answers=replace(ALICE, port_offset=2500))):
        text, _ = text_and_record(found)
        config = loaded(text, tmp_path)
        assert config.hostname == found.hostname
        assert config.listen.smtp == found.settings["listen.smtp"]
        assert str(config.relay.smarthost or "") == found.settings["relay.smarthost"]
        assert [one for one in config.warnings if "lab" not in one] == []


def test_a_changed_survey_changes_exactly_the_affected_keys():
    text, record = text_and_record(plan())
    _, changed = again(text, record, replace(GOOD, addresses=(NAMED4, PublicAddress(IP6, True))))
    old, new = text.splitlines(), changed.splitlines()
    assert [(one, other) for one, other in zip(old, new, strict=True) if one != other] == [
        ('address_family = "auto"', 'address_family = "ipv4"')
    ]


def test_the_owners_edits_survive():
    text, record = text_and_record(plan())
    text = text.replace('address_family = "auto"', 'address_family = "ipv6" # IPv4 is dear')
    text += '\n[smtp]\n# photos\nmax_message_size = "20MB"\n'
    found, changed = again(text, record, replace(GOOD, addresses=(NAMED4, PublicAddress(IP6, True))))
    assert changed == text
    assert len(found.kept) == 1


def test_what_the_owner_took_out_stays_out():
    text, record = text_and_record(plan())
    text = text.replace('pop3 = ["tcp:110"]\n', "").replace('directory = "letsencrypt"\n', "")
    assert again(text, record)[1] == text


def test_a_file_of_the_owners_gets_what_is_missing_and_keeps_the_rest(tmp_path):
    found, changed = again(OWNER, "")
    for line in OWNER.splitlines():
        assert line in changed.splitlines()
    assert changed.index("# by hand") > changed.index("Bob sends photos")
    config = loaded(changed, tmp_path)
    assert config.acme.is_on
    assert config.relay.retry == (60.0,)
    assert config.smtp.max_message_size == 20_000_000
    assert again(changed, record_text(found.decided, {}))[1] == changed


def test_a_domain_more_is_one_line():
    text, record = text_and_record(plan())
    _, changed = again(text, record, answers=replace(ALICE, domain="example.net", user=""))
    assert changed == text.replace('domains = ["example.org"]', 'domains = ["example.org", "example.net"]')


def test_the_smarthost_said_later_is_added():
    text, record = text_and_record(plan(BLOCKED))
    _, changed = again(text, record, BLOCKED, SMART)
    assert 'smarthost = "smtp.isp.example:587"' in changed
    assert 'smarthost_username = "u"' in changed
    assert again(changed, record_text(plan(BLOCKED, SMART).decided, {}), BLOCKED)[1] == changed


def test_defaults_are_those_of_the_configuration(tmp_path):
    """`keys.KEYS` leaves out what has its default."""
    minimal = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "a@example.org"\n'
    config = loaded(minimal, tmp_path)
    for key in KEYS:
        if key.default is None:
            continue
        table = getattr(config, key.table)
        value = getattr(table, key.last)
        if hasattr(value, "value"):
            value = value.value
        assert (value or type(key.default)()) == key.default or str(value) == key.default, key.name
    names = {field.name for field in attrs.fields(Config)}
    assert {key.table or key.name for key in KEYS} <= names


def test_a_lab_has_everything_below_its_folder(tmp_path):
    found = decide(GOOD, ALICE, read("", ""), lab_layout(tmp_path), HERE)
    config = loaded(new_text(found.settings), tmp_path)
    for path in (config.storage.state, config.storage.maildirs, config.accounts.file, config.sendmail.drop):
        assert tmp_path in path.parents


def test_what_the_owner_set_before_setup_came_stays_his_over_any_number_of_runs():
    text, record = OWNER + '\n[acme]\ndirectory = "https://ca.example/dir"\nagree_terms = true\n', ""
    text += '[listen]\nhttp = ["tcp:80"]\n'
    for survey in (GOOD, replace(GOOD, addresses=()), GOOD):
        found, text = again(text, record, survey, replace(ALICE, has_agreed=False))
        record = record_text(found.decided, {})
    assert 'directory = "https://ca.example/dir"' in text
    assert 'mode = "testing"' in text
    assert "acme.directory" not in found.decided and "hostname" not in found.decided


SAID = {"domains": ("example.org", "example.net"), "relay.smarthost": "smtp.isp.example:587"}
TOP = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "a@example.org"\n'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f'{TOP}relay.smarthost = ""\nrelay.helo = "x.example.org"\n', id="dotted"),
        pytest.param(f'{TOP}relay.helo = "x.example.org"\n[listen]\nsmtp = ["tcp:25"]\n', id="dotted, without it"),
        pytest.param(f'{TOP}relay = {{helo = "x.example.org"}}\n', id="inline"),
        pytest.param(
            f'{TOP}[relay]\n[pop3]\nidle_timeout = "9m"\n[relay.routes]\n"a.b" = "c:25"\n', id="in two places"
        ),
        pytest.param(
            f'{TOP}[relay]\nhelo = "x"\n[relay.routes]\n"a.b" = "c:25"\n# end\n[[dnsbl]]\nzone = "x"', id="deep"
        ),
        pytest.param(f'{TOP}[relay]\nhelo = "x" # mine'.replace("\n", "\r\n"), id="of another system"),
    ],
)
def test_every_way_of_writing_toml_can_be_edited(text):
    new = edited_text(text, read(text, ""), SAID)
    found = read(new, "").settings
    assert {key: found[key] for key in SAID} == SAID
    assert {key: value for key, value in found.items() if key not in SAID} == {
        key: value for key, value in read(text, "").settings.items() if key not in SAID
    }
    assert edited_text(new, read(new, ""), SAID) == new


def test_remarks_stay_where_they_belong():
    text = (
        TOP.replace('["example.org"]', '[\n  "example.org",  # since 2019\n]')
        + '[relay]\nhelo = "x.example.org"\n\n# for Bob\n[pop3]\nidle_timeout = "9m"\n'
    )
    new = edited_text(text, read(text, ""), SAID)
    assert '"example.org",  # since 2019\n' in new
    assert '\nsmarthost = "smtp.isp.example:587"\n\n# for Bob\n[pop3]\n' in new
    text = TOP + '[relay]\nhelo = "x"\n[relay.routes]\n"a.b" = "c:25"\n# end\n'
    assert edited_text(text, read(text, ""), SAID).endswith('"a.b" = "c:25"\n# end\n')
