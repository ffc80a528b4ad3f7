"""Calls that end. HTTP clients bound the wait for the next byte only, so a server that drips can hold them for ever."""

import threading
from collections.abc import Callable
from typing import Any


def within(seconds: float, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call in a thread of its own, and return or raise what it does.

    Raises:
        TimeoutError: it did not end in time; its message is the seconds. The thread is left behind, and ends with the
            process.
    """
    result: list[Any] = []
    failure: list[Exception] = []

    def work() -> None:
        try:
            result.append(call(*args, **kwargs))
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True, name=f"call of {seconds:.0f} s")
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not result:
        raise TimeoutError(f"{seconds:.0f}")
    return result[0]
