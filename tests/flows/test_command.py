import signal

import pytest
from flows.command import stoppable, with_changes

from yoloslim.config import Params
from yoloslim.errors import ConfigError, Interrupted


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


@pytest.mark.slow  # not slow, but xdist's workers do not survive a SIGINT in every state
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_to_go_on(number: signal.Signals) -> None:
    with (
        pytest.raises(Interrupted, match="stopped in mid-sweep; give the same command again to go on") as stopped,
        stoppable(),
    ):
        signal.raise_signal(number)
    assert stopped.value.exit_code == 128 + number
