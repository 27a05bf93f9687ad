"""`mailserver explain`: what does this reply or bounce mean, and who can do what about it?"""

import sys
import textwrap

import click

from mailserver.cli.context import CliContext
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import printable
from mailserver.policy.causes.classify import classify
from mailserver.policy.causes.evidence import Diagnosis, Evidence
from mailserver.policy.causes.facts import parse_fact
from mailserver.policy.causes.names import Fact, FactKind, Who

_STAGES = [stage.value for stage in Stage if stage is not Stage.LOCAL]
_WIDTH = 92
_LABEL_WIDTH = 11
# As much of a pasted bounce as is ever looked at, and more.
_MAX_OCTETS = 1_000_000


@click.command()
@click.argument("text", nargs=-1)
@click.option("--stage", type=click.Choice(_STAGES), help="How far the attempt came.")
@click.option("--fact", "fact_texts", multiple=True, metavar="TEXT", help="Something known besides; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.pass_obj
def explain(
    context: CliContext, text: tuple[str, ...], stage: str | None, fact_texts: tuple[str, ...], as_json: bool
) -> None:
    """What a reply or a bounce means, and who can act.

    TEXT is the reply, or - to read a reply or a whole bounce message from standard input. It also tells whether
    waiting helps. No configuration is needed and nobody is asked.

    \b
    mailserver explain "550 5.1.1 <bob@example.net>: Recipient address rejected: User unknown"
    mailserver explain --fact "no reverse name" --stage banner "554 No SMTP service"
    mailserver explain - < bounce.eml
    """
    facts = frozenset(_fact(one) for one in fact_texts)
    reply = _reply(text, may_be_absent=bool(facts))
    if not reply.strip() and not facts:
        raise click.UsageError("there is nothing to explain: give the reply as TEXT, or - and paste the bounce")
    diagnosis = classify(Evidence(reply, Stage(stage) if stage else None, facts))
    if as_json:
        context.say_json(as_object(diagnosis))
        return
    for label, said in _answer(diagnosis):
        for line in _labelled(label, said):
            context.say(line)


def as_object(diagnosis: Diagnosis) -> dict[str, object]:
    """The answer for programs: the fixed keys, and the words in `means` and `reply`."""
    return {
        "class": diagnosis.cause.value,
        "also": [cause.value for cause in diagnosis.also],
        "temporary": diagnosis.temporary,
        "who": diagnosis.who.value,
        "remedy": diagnosis.remedy,
        "evidence": [
            {
                "class": signal.cause.value,
                "kind": signal.weight.label,
                "reason": signal.reason,
                "found": printable(signal.found),
            }
            for signal in diagnosis.evidence
        ],
        "means": diagnosis.plain,
        "reply": diagnosis.words,
    }


def _fact(text: str) -> Fact:
    fact = parse_fact(text)
    if fact is None:
        known = "\n  ".join(kind.value for kind in FactKind)
        raise click.UsageError(f"{printable(text)}: no such fact. Known are (a detail may follow a colon):\n  {known}")
    return fact


def _reply(text: tuple[str, ...], may_be_absent: bool) -> str:
    """The text from the command line, or standard input as UTF-8; octets that are not stay visible as signs."""
    if text and text != ("-",):
        return " ".join(text)
    if not text and (may_be_absent or sys.stdin.isatty()):
        return ""
    return sys.stdin.buffer.read(_MAX_OCTETS).decode("utf-8", "replace")


def _answer(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    answer = [
        ("class", diagnosis.cause.value),
        ("means", diagnosis.plain),
        ("to do", diagnosis.remedy),
        ("by", "nobody: only time helps" if diagnosis.who is Who.NOBODY else f"the {diagnosis.who.value}"),
        ("temporary", "yes, a retry can succeed by itself" if diagnosis.temporary else "no, a retry changes nothing"),
    ]
    if diagnosis.also:
        answer.append(("also", ", ".join(cause.value for cause in diagnosis.also)))
    answer += [
        ("because", f"{signal.weight.label}: {signal.reason} ({printable(signal.found)}): {signal.cause.value}")
        for signal in diagnosis.evidence
    ]
    answer.append(("they said", diagnosis.words or "nothing"))
    return answer


def _labelled(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{label}:".ljust(_LABEL_WIDTH),
        subsequent_indent=" " * _LABEL_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [f"{label}:"]
