"""Times of models and of their int8 versions that agree, whenever each was measured."""

import pytest

from yoloslim.results.one_session import at_its_pace, timed

TIMING = {"backend": "onnxruntime-cpu", "models": {"baseline": {"latency_ms": 6.0, "fps": 166.7, "speedup": 1.0}}}
INT8 = {"map50": 0.8, "latency_ms": 5.0, "latency_p50_ms": 5.0, "latency_p90_ms": 10.0, "fps": 200.0, "speedup": 3.0}


def test_a_model_of_the_session_takes_its_times_and_keeps_the_rest() -> None:
    own = {"map50": 0.7, "latency_ms": 9.0, "backend": "onnxruntime-cpu"}
    assert timed(own, TIMING, "baseline") == own | TIMING["models"]["baseline"]
    assert timed(own, TIMING, "50") == own
    assert timed(own | {"backend": "ascend"}, TIMING, "baseline")["latency_ms"] == 9.0
    assert timed({}, TIMING, "baseline") == {}


def test_an_int8_version_takes_what_the_dense_model_took_in_the_session_over_its_speedup() -> None:
    (found,) = at_its_pace({"openvino": INT8}, TIMING).values()
    assert found == pytest.approx(
        INT8
        | {"latency_ms": 2.0, "latency_p50_ms": 2.0, "latency_p90_ms": 4.0, "fps": 500.0, "latency_other_cores": 0.0}
    )


@pytest.mark.parametrize(("own", "session"), [(1.5, 0.1), (0.1, 1.5)])
def test_what_either_session_was_disturbed_by_marks_an_int8_version(own: float, session: float) -> None:
    dense = TIMING["models"]["baseline"] | {"latency_other_cores": session}  # type: ignore[index]
    (found,) = at_its_pace({"ncnn": INT8 | {"latency_other_cores": own}}, {"models": {"baseline": dense}}).values()
    assert found["latency_other_cores"] == 1.5


@pytest.mark.parametrize("timing", [{}, {"models": {}}])
def test_without_a_session_an_int8_version_keeps_its_own_times(timing: dict[str, object]) -> None:
    assert at_its_pace({"openvino": INT8}, timing) == {"openvino": INT8}
    assert at_its_pace({"ncnn": {"map50": 0.8}}, TIMING) == {"ncnn": {"map50": 0.8}}
