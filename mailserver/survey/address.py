"""One public address: its reverse names, whether they lead back, and which lists it stands on."""

from mailserver.mail.dns import AddressAnswer, CannotTell, IpAddress, TextAnswer
from mailserver.survey.doors import SurveyDoors
from mailserver.survey.lists import question, verdict
from mailserver.survey.values import BlockList, Marks, PublicAddress, Wishes
from mailserver.survey.waiting import together, within

# An address has one reverse name; some have a handful. What is beyond is not looked at.
MAX_NAMES = 5
ANSWER_S = 15.0


async def describe(doors: SurveyDoors, address: IpAddress, is_here: bool, wishes: Wishes) -> PublicAddress:
    """Everything DNS says of it, within half a minute."""
    listings = together(_listed(doors, address, one) for one in wishes.lists)
    pointing = within(doors.clock, ANSWER_S, _pointer(doors, address), CannotTell("no answer in time"))
    pointed = await pointing
    names = tuple(pointed[:MAX_NAMES]) if isinstance(pointed, tuple) else ()
    forward = await together(_leads_to(doors, name) for name in names)
    confirmed = {name.lower() for name, answer in zip(names, forward, strict=True) if _has(answer, address)}
    unsure = next((one.reason for one in forward if isinstance(one, CannotTell)), "")
    said = list(zip(wishes.lists, await listings, strict=True))
    return PublicAddress(
        address,
        is_on_this_machine=is_here,
        reverse_names=names,
        is_confirmed=bool(confirmed),
        matches_hostname=wishes.hostname.lower() in confirmed,
        listed_on=tuple(one.zone for one, marks in said if marks is not None and Marks.ABUSE in marks),
        residential_on=tuple(one.zone for one, marks in said if marks is not None and Marks.RESIDENTIAL in marks),
        unanswered_lists=tuple(one.zone for one, marks in said if marks is None),
        reverse_trouble=pointed.reason if isinstance(pointed, CannotTell) else "" if confirmed else unsure,
    )


async def _pointer(doors: SurveyDoors, address: IpAddress) -> TextAnswer:
    return await doors.resolver.pointer(address)


def _has(answer: AddressAnswer, address: IpAddress) -> bool:
    return isinstance(answer, tuple) and address in answer


async def _leads_to(doors: SurveyDoors, name: str) -> AddressAnswer:
    return await within(doors.clock, ANSWER_S, _forward(doors, name), CannotTell("no answer in time"))


async def _forward(doors: SurveyDoors, name: str) -> AddressAnswer:
    return await doors.resolver.addresses(name)


async def _listed(doors: SurveyDoors, address: IpAddress, one: BlockList) -> frozenset[Marks] | None:
    late = CannotTell("no answer in time")
    answer = await within(doors.clock, ANSWER_S, _list_answer(doors, address, one), late)
    return verdict(answer, one)


async def _list_answer(doors: SurveyDoors, address: IpAddress, one: BlockList) -> AddressAnswer:
    return await doors.resolver.addresses(question(address, one.zone), ipv6=False)
