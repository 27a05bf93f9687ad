"""Whether the clock is right: certificates, DKIM and the dates of messages hang on it."""

from mailserver.survey.doors import SurveyDoors, WebTrouble
from mailserver.survey.values import Time

# A Date field has whole seconds and is some seconds on its way. Nothing in mail minds a minute.
TOLERANCE_S = 60.0


async def look_at_clock(doors: SurveyDoors, url: str) -> Time:
    """Ask the kernel, and `url` for its Date unless that is empty. What a host says weighs more."""
    is_kept = doors.machine.is_clock_synchronized()
    kept = {True: "a time service keeps it right", False: "no time service keeps it right", None: ""}[is_kept]
    if not url:
        return Time(True if is_kept else None, kept or "nothing here says whether it is right", is_kept)
    try:
        date = (await doors.web.get(url)).date
    except WebTrouble as trouble:
        why = f"{url} could not be asked: {trouble}"
        return Time(True if is_kept else None, f"{kept}; {why}" if kept else why, is_kept)
    if date is None:
        return Time(True if is_kept else None, kept or f"{url} does not say how late it is", is_kept)
    ahead_s = doors.clock.now() - date
    if abs(ahead_s) <= TOLERANCE_S:
        return Time(True, f"it agrees with {url}" + (f"; {kept}" if kept else ""), is_kept, ahead_s)
    return Time(False, f"it is {_long(abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}", is_kept, ahead_s)


def _long(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
