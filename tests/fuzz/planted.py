"""A fault that is put there on purpose: fuzzing that does not find it is no fuzzing."""


def planted(octets: bytes) -> None:
    """Four octets that nobody guesses at once, but step by step."""
    if octets[:1] == b"S" and octets[1:2] == b"M" and octets[2:3] == b"T":
        assert octets[3:4] != b"P"
