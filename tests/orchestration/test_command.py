import signal
import subprocess
import sys
from pathlib import Path

import pytest

from yoloslim.config import Params
from yoloslim.errors import ConfigError
from yoloslim.orchestration import command
from yoloslim.orchestration.command import main, with_changes


def test_changes_are_of_section_sweep_for_this_time() -> None:
    params = with_changes(Params(), ["step=5", "objective=smallest", "max_latency_ms=4.5", "max_map_drop=null"])
    assert params.sweep == Params().sweep.model_copy(
        update={"step": 5, "objective": "smallest", "max_latency_ms": 4.5, "max_map_drop": None}
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("step", "no key=value; for example"),
        ("stepp=5", "did you mean 'step'"),
        ("low=200", "range: >= 1 and <= 99"),
        ("low=96", "low 96 is above high 95, so that there is no percent to try"),
        ("objective=best", "objective"),
        ("step=[", "not valid YAML"),
    ],
)
def test_wrong_changes_are_told(change: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        with_changes(Params(), [change])


def test_wrong_axes_are_told_before_prefect_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "search", None)
    Path("params.yaml").write_text("sweep: {axes: {prune.scope: [free, nope]}}\n")
    with pytest.raises(SystemExit, match=r"prune\.scope = 'nope' does not hold up"):
        main([])


STOPPED = """
import signal
from yoloslim.orchestration.stopping import stoppable
from yoloslim.errors import Interrupted
try:
    with stoppable("in mid-sweep"):
        try:
            signal.raise_signal({number})
        except Exception:
            print("held back, as Prefect's futures do")
except Interrupted as stopped:
    print(stopped)
    raise SystemExit(stopped.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_to_go_on(number: signal.Signals) -> None:
    """In a process of its own: pytest's workers take signals as meant for them."""
    done = subprocess.run([sys.executable, "-c", STOPPED.format(number=int(number))], capture_output=True, text=True)
    assert "stopped in mid-sweep; give the same command again to go on" in done.stdout, done.stderr
    assert done.returncode == 128 + number
