"""Our own MTA-STS policy: its text, its id, and that others can read it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.mta_sts import StsMode, StsPolicy
from mailserver.policy import mta_sts
from mailserver.policy.own_mta_sts import policy_id, policy_text


def test_the_text_is_that_of_the_standard() -> None:
    policy = StsPolicy(StsMode.ENFORCE, ("mail.example.org", "*.example.net"), 604800)
    assert policy_text(policy) == (
        b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
    )


def test_a_policy_that_is_taken_back_names_no_host() -> None:
    text = policy_text(StsPolicy(StsMode.NONE, ("mail.example.org",), 60))
    assert text == b"version: STSv1\r\nmode: none\r\nmax_age: 60\r\n"


@pytest.mark.parametrize("mode", [StsMode.ENFORCE, StsMode.TESTING])
def test_others_read_what_we_meant(mode: StsMode) -> None:
    policy = StsPolicy(mode, ("mail.example.org", "*.example.net"), 86400)
    assert mta_sts.parse_policy(policy_text(policy)) == policy


def test_the_id_is_one_that_others_understand_and_stays() -> None:
    text = policy_text(StsPolicy(StsMode.ENFORCE, ("mail.example.org",), 604800))
    assert re.fullmatch("[A-Za-z0-9]{1,32}", policy_id(text))
    assert policy_id(text) == policy_id(bytes(text))
    assert mta_sts.policy_id([f"v=STSv1; id={policy_id(text)}"]) == policy_id(text)


@given(
    st.sampled_from(StsMode),
    st.lists(st.sampled_from(["mail.example.org", "mx2.example.org", "*.example.org"]), min_size=1, unique=True),
    st.integers(1, 31557600),
)
def test_another_text_has_another_id(mode: StsMode, hosts: list[str], age: int) -> None:
    text = policy_text(StsPolicy(mode, tuple(hosts), age))
    other = policy_text(StsPolicy(StsMode.ENFORCE, ("another.example.org",), 604800))
    assert (policy_id(text) == policy_id(other)) == (text == other)
