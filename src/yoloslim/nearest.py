"""Names that people write, and the nearest one where nothing has the name."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

from yoloslim.errors import YoloslimError


def guess(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A question for the nearest name, `did you mean 'lr0' or 'lrf'?`, or all that are as near; empty if none is."""
    names = list(known)
    near = get_close_matches(name, names, 1, cutoff)
    if not near:
        return ""

    def ratio(other: str) -> float:
        return SequenceMatcher(None, other, name).ratio()

    return f"did you mean {' or '.join(repr(each) for each in sorted(names) if ratio(each) == ratio(near[0]))}?"


def check_name(what: str, name: object, known: Iterable[str], error: type[YoloslimError] = YoloslimError) -> None:
    """Refuse a name that nothing has.

    Args:
        what: of what it should be the name.
        name: as written.
        known: all names there are.
        error: what to raise.

    Raises:
        YoloslimError: of the class given, with the nearest name there is.
    """
    names = list(known)
    if name in names:
        return
    near = get_close_matches(str(name), names, 1, 0)
    guess = f"; did you mean '{near[0]}'?" if near else ";"
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    raise error(f"{what} '{name}' is unknown{guess} There are: {listed or 'none'}")
