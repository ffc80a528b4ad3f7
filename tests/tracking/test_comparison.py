"""The comparison as MLflow keeps it."""

from dataclasses import replace
from pathlib import Path

from tests.results.made import PARAMS
from yoloslim.results.results import read_results
from yoloslim.tracking.comparison import log_comparison


class Client:
    """Keeps what is logged."""

    def log_text(self, run_id: str, text: str, path: str) -> None:
        self.said = (run_id, path, text)


def test_disturbed_times_and_speed_ups_are_marked_and_the_mark_is_explained(root: Path) -> None:
    found, client = read_results(root, PARAMS), Client()
    dense = found.rows[0]
    marked = replace(dense, deployed=dense.deployed | {"latency_other_cores": 1.6})
    log_comparison(client, "run", replace(found, rows=(marked,)), None)
    run, path, text = client.said
    assert (run, path) == ("run", "comparison.md")
    assert "| 6.7* | 8.0* | 150* | 1.20* | onnxruntime-cpu |" in text
    assert text.endswith(
        "\n\\* timed while other programs used the machine: times are too long, speed-ups uncertain.\n"
    )
