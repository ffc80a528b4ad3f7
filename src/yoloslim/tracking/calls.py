"""Calls to MLflow that end: within a time, and with one kind of error, which says what can be done about it."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yoloslim.commands import to_type
from yoloslim.errors import TrackingError
from yoloslim.results.uris import database_of, without_password
from yoloslim.tracking.store import damage, damaged_message
from yoloslim.within import within

SLOWEST_MB_S = 0.1
"""A call that sends files has this much more time: one second for each so many megabytes."""
SPARE_S = 10.0


def later() -> str:
    """How to send what could not be sent."""
    return f"nothing is lost, run `{to_type('track')}` later"


class Client:
    """MLflow's client, every call of which ends.

    A server that sends a byte now and then keeps a request alive for ever, since HTTP clients bound the wait for the
    next byte. So a call to a server runs in a thread of its own, which is left behind when its time is over.
    """

    def __init__(self, client: Any, uri: str) -> None:
        """Wrap a client of this tracking URI, which may hold a password."""
        self._client, self._uri = client, uri
        self._limited = not uri.startswith("sqlite:")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A method of MLflow's client; it raises TrackingError where that raises anything."""
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                if self._limited:
                    return within(time_limit() + _sending_time(name, args), method, *args, **kwargs)
                return method(*args, **kwargs)
            except TimeoutError as error:
                raise TrackingError(
                    f"MLflow at {without_password(self._uri)} did not end its answer within {error} s; {later()}"
                ) from error
            except Exception as error:
                raise TrackingError(explain(self._uri, error)) from error

        return call


def request_timeout() -> float:
    """Seconds that a server may be silent."""
    return float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "15"))


def time_limit() -> float:
    """Seconds that a call may take in all: what a server that is silent may take with MLflow's retries, and a bit."""
    return request_timeout() * (1 + float(os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"))) + SPARE_S


def explain(uri: str, error: Exception) -> str:
    """What failed and what can be done about it, in a sentence without passwords."""
    where = f"MLflow at {without_password(uri)}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0].replace(uri, without_password(uri))[:200]
    database = database_of(uri)
    if database and database.is_file() and (found := damage(database)):
        return damaged_message(database, found)
    if database and "readonly database" in str(error):
        return (
            f"MLflow's database {database} is read-only for this user; give it the right to write, or name another "
            f"in tracking.uri; {later()}"
        )
    status = _http_status(error)
    if status == 401:
        return (
            f"{where} wants to know who asks (401); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            f"MLFLOW_TRACKING_TOKEN, then `{to_type('track')}`"
        )
    if status == 403:
        return f"{where} forbids this to the user who asks (403); its administrator can allow it ({reason})"
    if status in (404, 405):
        return f"{where} does not answer as MLflow does ({status}); check tracking.uri, its path included"
    if "maintenance mode" in str(error) or "FileStore" in str(error):
        return (
            f"MLflow has given up stores that are folders, such as {without_password(uri)}; set tracking.uri to "
            "sqlite:///mlflow.db (`mlflow migrate-filestore --help` tells how old runs are taken over)"
        )
    of_files = isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC)
    if (isinstance(error, OSError) and not of_files) or re.search("API request to .* failed with", lines[0]):
        return f"{where} cannot be reached ({reason}); {later()}"
    return f"{where} cannot be used ({reason}); once that is mended, `{to_type('track')}` logs what is missing"


def _http_status(error: Exception) -> int:
    known = getattr(error, "get_http_status_code", None)
    code = re.search(r"failed with error code (\d{3})", str(error))
    if code:
        return int(code[1])
    named = {"UNAUTHENTICATED": 401, "CUSTOMER_UNAUTHORIZED": 401, "PERMISSION_DENIED": 403, "ENDPOINT_NOT_FOUND": 404}
    return named.get(str(getattr(error, "error_code", "")), 0) if known else 0


def _sending_time(name: str, args: tuple[Any, ...]) -> float:
    """Further seconds for files that a call sends."""
    if not name.startswith("log_artifact"):
        return 0.0
    path = Path(args[1])
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files) / (1e6 * SLOWEST_MB_S)
