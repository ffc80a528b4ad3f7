import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from yoloslim.config import Params, load_params, parse_params
from yoloslim.config.data import SOURCES
from yoloslim.data.layouts import readers
from yoloslim.errors import ConfigError

SHIPPED = Path(__file__).parents[1] / "params.yaml"


def plain(value: Any) -> Any:
    """Tuples as lists, as YAML has them."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def explain(**raw: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_params(raw, "params.yaml")
    return str(caught.value)


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [field.annotation for field in model.model_fields.values() if _is_section(field.annotation)]  # type: ignore[misc]


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def test_shipped_params_state_every_default_of_the_schema() -> None:
    shipped, own = yaml.safe_load(SHIPPED.read_text()), plain(Params().model_dump())
    for name in ("baseline", "sparse", "finetune"):
        assert {shipped[name].pop(key) for key in ("optimizer", "momentum", "lr0")} == {"auto"}
        own[name] = {key: value for key, value in own[name].items() if key in shipped[name]}
    for section, name, value in (
        ("prune", "fit_images", 0),
        ("prune", "normalise", "none"),
        ("finetune", "distill_output", 0.5),
    ):
        assert (shipped[section].pop(name), own[section].pop(name)) == ("auto", value)
    assert shipped == own
    assert load_params(SHIPPED) == Params()


def recipe(**sections: dict[str, object]) -> dict[str, tuple[str, float, float]]:
    params = parse_params({**sections})
    phases = {"baseline": params.baseline, "sparse": params.sparse, "finetune": params.finetune}
    return {name: (phase.optimizer, phase.momentum, phase.lr0) for name, phase in phases.items()}


def test_auto_takes_the_recipe_for_what_the_pipeline_starts_from() -> None:
    fresh = {"baseline": ("AdamW", 0.9, 0.004), "sparse": ("SGD", 0.937, 0.02), "finetune": ("AdamW", 0.9, 0.002)}
    assert recipe() == recipe(baseline={"lr0": "auto", "weights": ""}, sparse={"optimizer": "auto"}) == fresh
    assert recipe(baseline={"weights": "a.pt"}) == {
        "baseline": ("AdamW", 0.9, 0.001),
        "sparse": ("SGD", 0.937, 0.01),
        "finetune": ("SGD", 0.937, 0.003),
    }


@pytest.mark.parametrize(
    ("imgsz", "prune", "images"),
    [
        (640, {}, 64),
        (320, {"fit_images": "auto"}, 256),
        (160, {}, 256),
        (1280, {}, 16),
        (640, {"fit_images": 12}, 12),
        (640, {"fit_images": 0}, 0),
        (640, {"rounds": 3}, 0),
    ],
)
def test_layers_of_trained_weights_are_fitted(imgsz: int, prune: dict[str, object], images: int) -> None:
    weights = {"imgsz": imgsz, "prune": prune, "baseline": {"weights": "a.pt"}}
    assert parse_params(weights).prune.fit_images == images
    assert parse_params({**weights, "baseline": {}}).prune.fit_images == (12 if images == 12 else 0)


@pytest.mark.parametrize(
    ("prune", "normalise"),
    [({}, "mean"), ({"importance": "l2"}, "mean"), ({"importance": "gamma"}, "none"), ({"normalise": "lamp"}, "lamp")],
)
def test_scores_of_trained_weights_are_taken_over_the_mean_of_their_layer(
    prune: dict[str, object], normalise: str
) -> None:
    given = {"prune": prune, "baseline": {"weights": "a.pt"}}
    assert parse_params(given).prune.normalise == normalise
    assert parse_params({**given, "baseline": {}}).prune.normalise == prune.get("normalise", "none")


@pytest.mark.parametrize(("given", "fresh", "trained"), [({}, 0.5, 2), ({"distill_output": 0.1}, 0.1, 0.1)])
def test_a_teacher_counts_more_for_trained_weights(given: dict[str, object], fresh: float, trained: float) -> None:
    for weights, weight in (("", fresh), ("a.pt", trained)):
        sections = {"baseline": {"weights": weights}, "finetune": given}
        assert parse_params(sections).finetune.distill_output == weight


def test_what_a_person_writes_goes_before_auto() -> None:
    found = recipe(baseline={"weights": "a.pt", "lr0": 0.03}, finetune={"optimizer": "Adam", "momentum": 0.8})
    assert found["baseline"] == ("AdamW", 0.9, 0.03)
    assert found["finetune"] == ("Adam", 0.8, 0.0003)
    for section, message in (({"lr0": "fast"}, "baseline.lr0 = 'fast'"), ({"optimizer": "Lion"}, "baseline.optimizer")):
        with pytest.raises(ConfigError, match=message):
            parse_params({"baseline": section})


def test_shipped_params_load() -> None:
    assert load_params(SHIPPED) == Params()


def test_every_key_of_shipped_params_has_a_comment() -> None:
    keys = [line for line in SHIPPED.read_text().splitlines() if re.match(r"\s*\w+:", line)]
    assert len(keys) > 90
    assert [line for line in keys if not re.search(r"\s# \S", line)] == []


def test_every_section_is_frozen_and_closed_to_unknown_keys() -> None:
    for section in (Params, *sections(Params)):
        assert section.model_config["frozen"]
        assert section.model_config["extra"] == "forbid"
    with pytest.raises(ValidationError, match="frozen"):
        Params().train.batch = 3  # type: ignore[misc]


def test_empty_section_is_all_defaults() -> None:
    assert parse_params({}) == Params()


@pytest.mark.parametrize(
    ("raw", "where", "nearest"),
    [
        ({"percent": [30]}, "percent", "percents"),
        ({"prune": {"importence": "l1"}}, "prune.importence", "importance"),
        ({"train": {"label_smooth": 0.1}}, "train.label_smooth", "label_smoothing"),
        ({"train": {"weights": "x.pt"}}, "train.weights", "baseline.weights"),
    ],
)
def test_unknown_key_names_its_nearest_match(raw: dict[str, Any], where: str, nearest: str) -> None:
    assert f"{where}: unknown key; did you mean '{nearest}'?" in explain(**raw)


def test_key_that_resembles_nothing_lists_the_known_ones() -> None:
    assert "export.zzz: unknown key; known here: opset" in explain(export={"zzz": 1})


@pytest.mark.parametrize(
    ("raw", "where", "limits"),
    [
        ({"train": {"batch": -1}}, "train.batch = -1", "(range: >= 0 and <= 4096)"),
        ({"train": {"mosaic": 1.5}}, "train.mosaic = 1.5", "(range: >= 0 and <= 1)"),
        ({"sparse": {"momentum": 1.0}}, "sparse.momentum = 1.0", "(range: >= 0 and < 1)"),
        ({"baseline": {"lr0": 0}}, "baseline.lr0 = 0", "(range: > 0 and <= 10)"),
        ({"sparse": {"epochs": -1}}, "sparse.epochs = -1", "(range: >= 1 and <= 10000)"),
        ({"prune": {"target_gflops": -2.0}}, "prune.target_gflops = -2.0", "(range: > 0)"),
        ({"percents": [100]}, "percents.0 = 100", "(range: >= 0 and <= 99)"),
        ({"percents": [30, -5]}, "percents.1 = -5", "(range: >= 0 and <= 99)"),
        ({"export": {"opset": 9}}, "export.opset = 9", "(range: >= 11 and <= 18)"),
    ],
)
def test_value_out_of_range_names_its_range(raw: dict[str, Any], where: str, limits: str) -> None:
    message = explain(**raw)
    assert where in message
    assert limits in message


def test_word_that_is_no_choice_names_the_choices() -> None:
    message = explain(prune={"scope": "sorce"})
    assert "prune.scope = 'sorce'" in message
    assert "'source', 'slim', 'free' or 'coupled'" in message


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            {"atc": {"soc_version": "310P3"}},
            "atc.soc_version = '310P3' is not understood; it is: Ascend and the chip that",
        ),
        (
            {"rknn": {"target": "RK 3588"}},
            "rknn.target = 'RK 3588' is not understood; it is: a chip, such as rk3588, rk",
        ),
        ({"rknn_eval": {"target": "ssh"}}, "it is: simulator, local, or ssh://user@host:port/folder"),
        ({"ascend": {"target": "ssh"}}, "it is: local, or ssh://user@host:port/folder"),
        (
            {"quantize": {"runtimes": ["on nx"]}},
            "quantize.runtimes.0 = 'on nx' is not understood; it is: onnxruntime, ",
        ),
        ({"export": {"formats": ["on nx"]}}, "it is: besides onnx: openvino, ncnn, litert, tensorrt"),
    ],
)
def test_text_of_the_wrong_form_is_answered_in_words(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_params(raw)
    assert said in str(raised.value)
    assert "pattern" not in str(raised.value)


def test_value_of_another_type_names_the_value() -> None:
    assert "train.batch = 'many'" in explain(train={"batch": "many"})


def test_all_problems_are_reported_at_once() -> None:
    message = explain(imgsz=100, percents=[100], train={"batchs": 2})
    assert len(message.splitlines()) == 1 + 3


@pytest.mark.parametrize("percent", [0, 95, 99])
def test_extreme_percents_are_accepted(percent: int) -> None:
    assert parse_params({"percents": [percent]}).percents == (percent,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("percents: 50", "percents = 50 is one value where a list belongs; write percents: [50]"),
        ("percents: 30, 50", "percents = '30, 50' is one value where a list belongs; write percents: [30, 50]"),
        (
            "percents: 50\n  - 30\n  - 70",
            "percents has '50' on its own line and a list below, which YAML reads as one text, '50 - 30 - 70'; write "
            "percents: [50] and delete the lines below that begin with a dash, or leave nothing behind percents:",
        ),
        ("percents:\n  30: 50", "percents holds keys where a list belongs; write percents: [...]"),
        (
            "train: {resolutions: 320}",
            "train.resolutions = 320 is one value where a list belongs; write resolutions: [320]",
        ),
        ("quantize: {models: baseline}", "quantize.models = 'baseline' is one value where a list belongs"),
    ],
)
def test_one_value_where_a_list_belongs_is_shown_as_a_list(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_params(tmp_path / "params.yaml")


def test_fraction_of_a_percent_is_refused() -> None:
    assert "percents.0 = 30.5" in explain(percents=[30.5])


def test_percent_named_twice_is_refused() -> None:
    assert "lists a percent twice: [30, 50, 30]" in explain(percents=[30, 50, 30])


def test_image_size_that_does_not_fit_the_strides_names_the_nearest() -> None:
    assert "imgsz = 100: must be a multiple of 32; nearest are 96 and 128" in explain(imgsz=100)


def test_sources_are_the_layouts_and_three_more() -> None:
    assert list(SOURCES) == ["scenes", "voc2007", "auto", *sorted(readers())]
    assert "data.source = 'yoli': no such source; did you mean 'yolo'? there are scenes, " in explain(
        data={"source": "yoli", "path": "x"}
    )


def test_source_voc_needs_a_path() -> None:
    assert "data.path must name a folder or an archive" in explain(data={"source": "voc"})
    assert parse_params({"data": {"source": "voc", "path": "x.tar"}}).data.path == "x.tar"


def test_shares_must_leave_something_to_train_on() -> None:
    assert "leave nothing to train on" in explain(data={"val_share": 0.5, "test_share": 0.5})


def test_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run from the project's folder"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"train: [", "not valid YAML"),
        (b"\xff\xfe\x00", "is not UTF-16"),
        (b"", "must hold sections"),
        (b"- 1", "must hold sections"),
    ],
)
def test_file_that_holds_no_sections_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        load_params(path)


def test_params_file_with_one_value_changes_only_that(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("prune:\n  round_to: 8\n")
    params = load_params(path)
    assert params.prune.round_to == 8
    assert params.model_copy(update={"prune": Params().prune}) == Params()


@pytest.mark.parametrize("line", ["* 2 * * *", "@daily"])
def test_a_cron_line_that_yaml_misreads_is_shown_in_quotes(tmp_path: Path, line: str) -> None:
    (tmp_path / "params.yaml").write_text(f"schedule:\n  cron: {line}  # when\n")
    with pytest.raises(ConfigError, match=re.escape(f'write it in quotes: cron: "{line}"')):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("line", ["0 2 * * *", "'0 2 * * *'", '"0 2 * * *"', "\"'0 2 * * *'\""])
def test_cron_lines_may_be_quoted(tmp_path: Path, line: str) -> None:
    (tmp_path / "params.yaml").write_text(f"schedule:\n  cron: {line}\n")
    assert load_params(tmp_path / "params.yaml").schedule.cron == "0 2 * * *"


def test_processes_that_train_between_rounds_do_not_each_time_the_layers() -> None:
    timed = {"rounds": 2, "cost": "latency", "cost_power": 1}
    said = explain(prune=timed, train={"devices": 2})
    assert "prune.cost latency is measured by each of train.devices=2 processes" in said
    assert "set prune.cost to macs, or one of these to 1" in said
    for changed in ({"prune": timed}, {"prune": timed | {"cost_power": 0}, "train": {"devices": 2}}):
        assert parse_params(changed).prune.rounds == 2


def test_a_model_to_quantize_that_is_not_made_is_named_when_params_are_read() -> None:
    said = explain(percents=[30, 50], quantize={"models": ["baseline", 60]})
    assert "quantize.models names 60, which is not among the percents [30, 50]" in said
    assert "rknn.models names 70, which is not among" in explain(percents=[30, 50], rknn={"models": [70]})
    assert parse_params({"percents": [30, 60], "quantize": {"models": ["baseline", 60]}}).quantize.models[1] == 60


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        (
            {"selection": "latency", "cost_power": 0.5},
            "prune: selection latency: cost_power=0.5 is another way to count",
        ),
        ({"selection": "latency", "target_gflops": 1}, "prune: selection latency: target_gflops=1.0 is another target"),
        ({"selection": "latency", "residual_units": 1}, "the budget would not be met: leave it out, or take selection"),
        (
            {"selection": "flops", "target_speedup": 2},
            "another target; flops takes target_gflops or a",
        ),
        ({"latency_table": "t.json"}, "prune: latency_table t.json is for selection latency"),
        ({"latency_runtime": "tensorrt"}, "prune.latency_runtime = 'tensorrt'"),
        ({"latency_runtime": "ascend", "cost": "latency"}, "latency_runtime ascend is for target_latency_ms"),
    ],
)
def test_what_choosing_by_latency_has_no_use_for_is_refused(prune: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_params({"prune": prune})
    assert parse_params({"prune": {"selection": "latency", "target_speedup": 1.5}}).prune.selection == "latency"
