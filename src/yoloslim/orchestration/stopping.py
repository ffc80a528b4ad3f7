"""Ctrl-C and SIGTERM during a flow, which Prefect and others may put another error in the place of."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from yoloslim.errors import Interrupted

_asked: list[int] = []
"""The signals that came while something was stoppable."""
_handlers: dict[int, Callable[[int, object], None]] = {}
"""What hears them while something is."""


class Stop(KeyboardInterrupt):
    """A signal on its way up: other packages hold back each `Exception`, and asyncio all but KeyboardInterrupt."""

    def __init__(self, number: int) -> None:
        """Keep which signal it was."""
        super().__init__()
        self.number = number


def asked() -> int:
    """The signal that came while something is stoppable; 0 if none did."""
    return _asked[0] if _asked else 0


def keep_hearing() -> None:
    """Hear the signals inside a flow too: Prefect takes SIGTERM there, and loses it where its server is away."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in _handlers.items():
            signal.signal(number, handler)


def stop_if_asked() -> None:
    """Go on stopping where another error has come out: Prefect raises that its server is away, say, instead.

    Raises:
        Stop: a signal came.
    """
    if _asked:
        raise Stop(_asked[0])


@contextmanager
def stoppable(place: str, signals: Sequence[int] = (signal.SIGINT, signal.SIGTERM)) -> Iterator[None]:
    """End in good order when a signal comes: what runs writes its checkpoint first.

    Args:
        place: for the message: `in mid-sweep`.
        signals: which.

    Raises:
        Interrupted: one of them came.
    """

    def stop(number: int, frame: object) -> None:
        _asked.append(number)
        raise Stop(number)

    former: dict[int, Callable[..., object] | int | None] = {number: signal.signal(number, stop) for number in signals}
    _handlers.update(dict.fromkeys(signals, stop))
    try:
        yield
    except Stop as signalled:
        raise Interrupted(signalled.number, place) from None
    finally:
        _asked.clear()
        _handlers.clear()
        for number, handler in former.items():
            signal.signal(number, handler)
