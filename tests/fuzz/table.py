"""The targets, what each starts from, and how many inputs `make fuzz` and `make fuzz-short` give it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.fuzz import client, files, grammar, junk, machines, reports, seeds, signatures, texts
from tests.fuzz.planted import planted


@dataclass(frozen=True)
class Target:
    """`run` takes one input and raises for a finding. Counts are inputs; `max_octets` is their greatest length."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    count: int
    short_count: int
    max_octets: int = 512

    @property
    def name(self) -> str:
        return self.run.__name__


TARGETS = (
    Target(machines.smtp_server, seeds.smtp_server, 1_000_000, 10_000, 768),
    Target(client.smtp_client, seeds.smtp_client, 1_200_000, 10_000),
    Target(machines.pop3_server, seeds.pop3_server, 1_200_000, 10_000, 768),
    Target(machines.smtp_replies, seeds.smtp_replies, 700_000, 10_000),
    Target(client.smtp_extensions, seeds.smtp_extensions, 250_000, 4_000),
    Target(machines.proxy_header, seeds.proxy_header, 300_000, 5_000, 256),
    Target(grammar.address, seeds.address, 800_000, 20_000, 320),
    Target(grammar.address_lists, seeds.address_lists, 500_000, 5_000),
    Target(grammar.smtp_arguments, seeds.smtp_arguments, 1_200_000, 20_000, 400),
    Target(grammar.sasl, seeds.sasl, 400_000, 5_000, 256),
    Target(grammar.scram, seeds.scram, 400_000, 5_000),
    Target(texts.headers, seeds.headers, 500_000, 6_000, 1_024),
    Target(texts.content_out, seeds.content_out, 500_000, 6_000),
    Target(texts.content_check, seeds.content_check, 500_000, 6_000),
    Target(texts.bounces, seeds.bounces, 200_000, 1_000, 2_048),
    Target(texts.reports, seeds.reports, 100_000, 600, 1_024),
    Target(signatures.signed_message, signatures.signed_message_seeds, 200_000, 2_000, 1_536),
    Target(signatures.key_record, signatures.key_record_seeds, 300_000, 4_000),
    Target(junk.filter_answer, junk.filter_answer_seeds, 200_000, 3_000),
    Target(junk.forged_marks, junk.forged_marks_seeds, 200_000, 4_000),
    Target(reports.report_xml, reports.report_xml_seeds, 200_000, 1_500, 2_560),
    Target(reports.report_json, reports.report_json_seeds, 200_000, 1_500, 1_024),
    Target(reports.report_mail, reports.report_mail_seeds, 200_000, 1_500, 1_536),
    Target(reports.spf_record, reports.spf_record_seeds, 300_000, 2_500),
    Target(reports.dmarc_record, reports.dmarc_record_seeds, 300_000, 2_500),
    Target(reports.sts_policy, reports.sts_policy_seeds, 200_000, 2_000),
    Target(reports.tlsa_record, reports.tlsa_record_seeds, 100_000, 2_000, 128),
    Target(reports.verdicts, reports.verdicts_seeds, 200_000, 1_500),
    Target(files.queue_file, seeds.queue_file, 500_000, 10_000),
    Target(files.queue_state, seeds.queue_state, 500_000, 10_000, 768),
    Target(files.drop_file, seeds.drop_file, 300_000, 10_000),
    Target(files.lists, seeds.lists, 300_000, 10_000),
    Target(files.control, seeds.control, 200_000, 5_000),
    Target(files.journal, seeds.journal, 100_000, 2_000),
    Target(files.config, seeds.config, 100_000, 600, 4_096),
    Target(files.accounts, seeds.accounts, 200_000, 2_000, 768),
    Target(files.maildir_names, seeds.maildir_names, 300_000, 6_000),
    Target(files.maildrop_index, seeds.maildrop_index, 100_000, 4_000),
)

# Not one of them: it must be found.
# Found after some ten thousand inputs, where the search ends.
PLANTED = Target(planted, lambda: iter([b"octets"]), 3_000_000, 3_000_000, 8)


def target_named(name: str) -> Target:
    """KeyError for none."""
    return {target.name: target for target in (*TARGETS, PLANTED)}[name]
