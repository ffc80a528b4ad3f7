import time
from pathlib import Path

import pytest

from tests.pace import slowness
from yoloslim.config import load_params, parse_params
from yoloslim.documents import parse_json, parse_yaml, read_yaml
from yoloslim.errors import ConfigError, DataError

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{','.join(['*' + a] * 9)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 100000 values"),
        (MERGES, "more than 100000 values"),
        ("a: &a [*a]", "an alias that holds itself"),
        ("[" * 100_000, "nested more than 32 deep"),
        ("a: " + "{b: " * 5_000, "nested more than 32 deep"),
        ("seed: " + "9" * 5_000, "line 1: a number of 5000 digits; 18 are allowed"),
        ("seed: 1\ntrain:\n  batch: 3\n  batch: 4\n", "line 4: the key 'batch' is there already, in line 3"),
        ("seed: 1:30:00", "'1:30:00' would be a number in base 60"),
        ("a: .inf", "'.inf' is no finite number"),
        ("a: .nan", "'.nan' is no finite number"),
        ("a: 1.0e+999", "no finite number"),
        ("a: 2001-99-99", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("? [a]\n: 1\n", "not valid YAML"),
        ("a: !!int ''", "not valid YAML"),
        ("a: b\n" * 300_000, "are allowed"),
    ],
    ids=lambda value: value[:20],
)
def test_hostile_yaml_is_refused_within_a_second(text: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "params.yaml")
    assert time.process_time() - start < slowness()
    assert message in str(caught.value)
    assert len(str(caught.value)) < 700


def test_aliases_in_moderation_are_read() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}", "p") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
def test_marked_yaml_is_read_in_its_encoding(tmp_path: Path, codec: str) -> None:
    (tmp_path / "p.yaml").write_bytes("model: größe\n".encode(codec))
    assert read_yaml(tmp_path / "p.yaml") == {"model": "größe"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1e999}', "no finite number"),
        ('{"a": -12.5E+0999}', "no finite number"),
        ('{"a": 0.5, "b": 1234567890123456789012}', "a number of 22 digits"),
        ('{"a": ' + "9" * 5_000 + "}", "a number of 5000 digits"),
        ("[" * 200_000, "nested too deep"),
        ('{"images": [', "not valid JSON"),
    ],
    ids=lambda value: value[:20],
)
def test_hostile_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_json(text, "x.json", DataError)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"seed": True}, "seed = True: true and false are no numbers"),
        ({"train": {"batch": False}}, "train.batch = False: true and false are no numbers"),
        ({"percents": [True, 30]}, "true and false are no numbers"),
        ({"baseline": {"lr0": float("inf")}}, "baseline.lr0 = inf"),
        ({"baseline": {"lr0": 10**400}}, "baseline.lr0 = 1000"),
    ],
)
def test_params_take_no_truth_for_a_number_and_no_infinity(raw: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_params(raw)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_switches_still_take_true() -> None:
    assert parse_params({"report": {"feature_maps": True}}).report.feature_maps


def test_params_file_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match="line 2: the key 'seed' is there already, in line 1"):
        load_params(tmp_path / "params.yaml")
