"""Measures whether the time of a failed login tells what was wrong. Only in `make hostile`: it takes real time.

Two samples are compared by the Kolmogorov-Smirnov distance, and by their medians.
"""

import math
import smtplib
import statistics
import threading
import time

import pytest

from tests.fakes.smtp import plain
from tests.integration.server import ALICE, HOST, LIMIT_S, Server

SAMPLES = 240
CONNECTIONS = 6
# c(0.001) of the two-sample test: a fair pair fails once in a thousand runs.
LARGEST_DISTANCE = 1.95 * math.sqrt(2 / SAMPLES)
LARGEST_MEDIAN_DIFFERENCE_S = 0.02
WRONG = "wrong password"
CASES = {
    WRONG: (ALICE, "guess"),
    "unknown user": ("nobody@example.test", "guess"),
    "unknown domain": ("alice@elsewhere.example", "guess"),
    "disabled account": ("bob@example.test", "guess"),
    "malformed name": ("@@", "guess"),
}


def distance(one, other):
    """The largest difference between two empirical distributions."""
    return max(
        abs(sum(x <= at for x in one) / len(one) - sum(x <= at for x in other) / len(other)) for at in (*one, *other)
    )


def measured(server):
    """Seconds until the answer, by case; the cases take turns on each connection."""
    times = {case: [] for case in CASES}

    def ask():
        with smtplib.SMTP(HOST, server.ports["submission"], timeout=LIMIT_S) as client:
            client.ehlo()
            for _ in range(SAMPLES // CONNECTIONS):
                for case, (login, password) in CASES.items():
                    began = time.perf_counter()
                    code, _ = client.docmd("AUTH", f"PLAIN {plain(login, password)}")
                    times[case].append(time.perf_counter() - began)
                    assert code == 535

    threads = [threading.Thread(target=ask) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


@pytest.fixture(scope="module")
def times(tmp_path_factory):
    settings = {
        "submission": {"auth_without_tls": "always"},
        "auth": {"max_failures": 100_000, "exempt_networks": ["127.0.0.0/8"]},
        "smtp": {"max_errors": 100_000},
    }
    with Server(tmp_path_factory.mktemp("timing"), settings) as server:
        server.cli("account", "disable", "bob@example.test")
        server.wait_for_log("reloaded what=accounts")
        return measured(server)


@pytest.mark.parametrize("case", [case for case in CASES if case != WRONG])
def test_the_time_of_a_failure_does_not_tell_what_was_wrong(times, case):
    found = distance(times[WRONG], times[case])
    medians = [statistics.median(times[one]) for one in (WRONG, case)]
    print(
        f"\n{case}: distance {found:.3f} (at most {LARGEST_DISTANCE:.3f}), medians {medians[0]:.3f} {medians[1]:.3f} s"
    )
    assert len(times[case]) == SAMPLES
    assert found <= LARGEST_DISTANCE
    assert abs(medians[0] - medians[1]) <= LARGEST_MEDIAN_DIFFERENCE_S


def test_the_measure_itself_notices_a_difference_of_a_few_milliseconds_more(times):
    later = [one + 0.03 for one in times[WRONG]]
    assert distance(times[WRONG], later) > LARGEST_DISTANCE
