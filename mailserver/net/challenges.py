"""What the web listener answers below `/.well-known/acme-challenge/` (RFC 8555 8.3)."""


class Challenges:
    """Answers by token. Everything runs in the reactor's thread, and nothing is kept over a restart."""

    def __init__(self) -> None:
        self._answers: dict[str, str] = {}

    def put(self, token: str, answer: str) -> None:
        """Answer so when asked for this token."""
        self._answers[token] = answer

    def remove(self, token: str) -> None:
        """Answer no more; one that is not there is no error."""
        self._answers.pop(token, None)

    def answer(self, token: str) -> str | None:
        """The text for a token; None for one that nobody has put here."""
        return self._answers.get(token)
