"""Tables by domain: the most specific name counts."""

import pytest

from mailserver.mail.domains import most_specific

TABLE = {"example.net": 1, "fast.example.net": 2, "[192.0.2.1]": 3, "com": 4}


@pytest.mark.parametrize(
    ("domain", "found"),
    [
        ("example.net", 1),
        ("a.b.example.net", 1),
        ("fast.example.net", 2),
        ("x.fast.example.net", 2),
        ("fastexample.net", None),
        ("net", None),
        ("example.com", 4),
        ("[192.0.2.1]", 3),
        ("[192.0.2.com]", None),  # a literal has no parents
        ("", None),
    ],
)
def test_the_nearest_name_counts(domain, found):
    assert most_specific(TABLE, domain) == found
    assert most_specific({}, domain) is None
