"""Run Huawei's ATC and judge what came of it: it may fail with exit code 0, or print success and write nothing."""

import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoloslim.deploy.ascend.bundle import COMPILED
from yoloslim.deploy.ascend.cann import Cann
from yoloslim.deploy.ascend.codes import AtcCode, AtcError, parse_codes
from yoloslim.deploy.quoting import quote

logger = logging.getLogger(__name__)

LOG = "atc.log"
CHECK_REPORT = "check_result.json"
"""What the compiler writes about operators that it could not parse."""

OM_MODE = 0o640
"""The MindX SDK refuses models that others may read."""

_SUCCESS = "ATC run success"
_CLOCK_SLACK_S = 2.0  # file systems round the time of a change


def run_compiler(compiler: Cann, argv: Sequence[str], folder: Path, timeout_s: int) -> tuple[AtcCode, ...]:
    """Run the compiler in `folder`; success is exit code 0, the success text and a new, non-empty model.

    Args:
        compiler: which, and its environment.
        argv: `atc` and its options.
        folder: with all that the options name; the output goes there.
        timeout_s: seconds after which it is stopped, with all that it started.

    Returns:
        The warnings that it printed.

    Raises:
        AtcError: it could not be started, was stopped, or failed: names codes, causes and refused operators.
    """
    log, om = folder / LOG, folder / COMPILED
    started = time.time()
    logger.info("compiling: %s", quote(*argv))
    with log.open("wb") as stream:
        try:
            # Its own session, so that a timeout also ends the kernel compilers that atc starts.
            process = subprocess.Popen(
                [str(compiler.atc.absolute()), *argv[1:]],
                cwd=folder,
                env={**compiler.environment, "ASCEND_SLOG_PRINT_TO_STDOUT": "1"},  # the detail log, into ours
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise AtcError(f"{compiler.atc} cannot be started: {error.strerror}") from error
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise AtcError(
                f"atc was stopped after {timeout_s} s (see {log}); raise atc.timeout_s, or give the machine more memory"
            ) from error
        finally:
            _end(process)
    output = log.read_text(encoding="utf-8", errors="replace")
    codes = parse_codes(output)
    failure = _failure(status, output, om, started)
    if failure:
        om.unlink(missing_ok=True)
        raise AtcError(f"{failure}.{_explain(codes, output)}{_parse_failures(folder)} Full output: {log}", codes)
    om.chmod(OM_MODE)
    return codes


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that still runs, with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _failure(status: int, output: str, om: Path, started: float) -> str:
    if status != 0:
        return f"atc failed with exit code {status}"
    if _SUCCESS not in output:
        return f"atc exited with 0, but never printed '{_SUCCESS}'"
    if not om.is_file() or om.stat().st_size == 0:
        return f"atc reported success, but {om.name} is missing or empty"
    if om.stat().st_mtime < started - _CLOCK_SLACK_S:
        return f"atc reported success, but {om.name} is older than this run"
    return ""


def _explain(codes: tuple[AtcCode, ...], output: str) -> str:
    errors = [code for code in codes if code.is_error]
    if not errors:
        last = output.strip().splitlines()[-3:]
        return f" It printed no error code; its last lines: {' | '.join(last) or 'none'}."
    lines = [f" {e.code}: {e.message}." + (f" Likely cause: {e.cause}." if e.cause else "") for e in errors]
    return "".join(lines)


def _parse_failures(folder: Path) -> str:
    """What the compiler's check report says of operators that it could not parse, if it wrote one."""
    try:
        report = json.loads((folder / CHECK_REPORT).read_text(encoding="utf-8"))
        failed = {
            str(item["type"]): item for item in _dicts(report) if item.get("result") == "failed" and "type" in item
        }
    except (OSError, ValueError):
        return ""
    causes = (
        f"{kind} ({'; '.join(str(cause.get('message', cause)) for cause in _dicts(item.get('cause', [])))})"
        for kind, item in failed.items()
    )
    return f" Operators it refused: {', '.join(causes)}." if failed else ""


def _dicts(value: Any) -> list[dict[str, Any]]:
    """All objects anywhere in a JSON value: the report's outer layout differs between versions."""
    if isinstance(value, dict):
        return [value, *(found for inner in value.values() for found in _dicts(inner))]
    return [found for inner in value for found in _dicts(inner)] if isinstance(value, list) else []
