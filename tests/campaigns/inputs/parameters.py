"""params.yaml: bombs, depth, tags, wrong types; given to a stage, to `preset` and to `doctor`."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.campaigns.assets import Assets
from tests.campaigns.harness import ROOT, Case

PARAMS = (ROOT / "params.yaml").read_text()
for _key, _value in (("train_images", 2), ("val_images", 1), ("test_images", 1), ("workers", 1)):
    PARAMS = re.sub(rf"^(  {_key}:) *\d+", rf"\1 {_value}", PARAMS, count=1, flags=re.MULTILINE)


def _bomb(levels: int = 9, width: int = 9) -> str:
    lines = [f'a0: &a0 ["x"{", x" * (width - 1)}]']
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def _set(key: str, value: str) -> str:
    """params.yaml with the first line of that key changed."""
    lines = PARAMS.splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
    lines[at] = f"{lines[at][: lines[at].index(key)]}{key}: {value}"
    return "\n".join(lines) + "\n"


BROKEN: dict[str, str | bytes] = {
    "empty": "",
    "a list": "- 1\n- 2\n",
    "a word": "hello\n",
    "a number": "5\n",
    "null": "null\n",
    "tabs": "data:\n\tsource: scenes\n",
    "unclosed": "percents: [1, 2\n",
    "two documents": PARAMS + "---\nseed: 1\n",
    "binary": bytes(range(256)),
    "latin-1": "# ü\nseed: 0\n".encode("latin-1"),
    "utf-16": PARAMS.encode("utf-16"),
    "a NUL": PARAMS.replace("seed: 0", "seed: \0"),
    "alias bomb": PARAMS + _bomb(),
    "alias bomb in a key": PARAMS + _bomb() + "? *a8\n: 1\n",
    "alias bomb as percents": _bomb() + PARAMS.replace("percents:", "percents: *a8\nold:"),
    "an alias of itself": PARAMS + "x: &x [*x]\n",
    "merge bomb": "a: &a {b: 1}\n" + "".join(f"c{i}: {{<<: [*a, *a]}}\n" for i in range(2000)) + PARAMS,
    "1000 brackets": "percents: " + "[" * 1000 + "]" * 1000 + "\n",
    "100000 brackets": "percents: " + "[" * 100000 + "]" * 100000 + "\n",
    "100000 braces": "percents: " + "{a: " * 100000 + "}" * 100000 + "\n",
    "2000 indents": "\n".join(" " * i + "a:" for i in range(2000)) + "\n",
    "python object": PARAMS + "x: !!python/object/apply:os.system ['touch pwned']\n",
    "python name": PARAMS + "x: !!python/name:os.system\n",
    "unknown tag": PARAMS + "x: !thing 5\n",
    "a number of 5000 digits": _set("seed", "9" * 5000),
    "a number of 5000 hexadecimal digits": _set("seed", "0x" + "f" * 5000),
    "a number in base 60": _set("seed", "1:30:00"),
    "a negative seed": _set("seed", "-1"),
    "true for a number": _set("seed", "true"),
    "yes for a number": _set("epochs", "yes"),
    "text for a number": _set("epochs", "many"),
    "a fraction for a whole number": _set("epochs", "1.5"),
    "infinity": _set("lr0", ".inf"),
    "minus infinity": _set("lr0", "-.inf"),
    "nan": _set("lr0", ".nan"),
    "1e400": _set("lr0", "1.0e+400"),
    "a date": _set("seed", "2020-01-01"),
    "null for a number": _set("seed", "null"),
    "a list for a number": _set("seed", "[1]"),
    "imgsz of 0": _set("imgsz", "0"),
    "imgsz of 33": _set("imgsz", "33"),
    "imgsz of a million": _set("imgsz", "1000000"),
    "a percent of 100": PARAMS.replace("percents:", "percents: [100]\nold:"),
    "percents twice": PARAMS.replace("percents:", "percents: [30, 30]\nold:"),
    "a duplicate key": "seed: 1\n" + PARAMS,
    "a duplicate key in a section": PARAMS.replace("baseline:", "baseline:\n  epochs: 1", 1),
    "an unknown section": PARAMS + "wat: {}\n",
    "an unknown key": PARAMS.replace("sparse:", "sparse:\n  epoch: 3", 1),
    "a number as key": PARAMS + "5: {}\n",
    "a list as key": PARAMS + "? [1, 2]\n: x\n",
    "a section that is a list": PARAMS.replace("prune:", "prune: []\nx:", 1),
    "a section that is null": PARAMS.replace("prune:", "prune: ~\nx:", 1),
    "a wrong choice": _set("scope", "all"),
    "a wrong model": _set("model", "yolov99"),
    "a cron of nonsense": _set("cron", "99 99 * * *"),
    "an unknown time zone": _set("timezone", "Mars/Olympus"),
    "a soc with a space": _set("soc_version", '"Ascend 310; rm -rf ~"'),
    "a target of nonsense": _set("target", "ftp://board"),
    "a target with an option": _set("target", '"ssh://-oProxyCommand=touch pwned/x"'),
    "epochs of 10**30": _set("epochs", "1" + "0" * 30),
    "a batch of -1": _set("batch", "-1"),
}
IN_STAGES_ONLY = ("a wrong model", "a target with an option")
"""What only later stages can know."""
RIGHT = ("utf-16", "a cron of nonsense")
"""UTF-16 with its mark can be read, and the cron line is read by who starts a schedule: `make serve` refuses it."""


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    for name, text in BROKEN.items():
        if name in IN_STAGES_ONLY:
            continue
        expected = "answered" if name in RIGHT else "refused"
        yield Case(f"yaml/stage: {name}", _command(text, "python", "-m", "pipeline.data"), expected, "params")  # type: ignore[arg-type]
    later = ("empty", "a list", "alias bomb", "100000 brackets", "python object", "a number of 5000 digits", "binary")
    later += ("a duplicate key", "tabs", "a NUL", "an alias of itself", "a word", "1000 brackets", "nan")
    for name in later:
        yield Case(f"yaml/preset: {name}", _command(BROKEN[name], "yoloslim", "preset", "scratch-low"), hint="params")
    for name in ("alias bomb", "100000 brackets", "binary", "a target of nonsense", "a target with an option"):
        yield Case(f"yaml/doctor: {name}", _command(BROKEN[name], "yoloslim", "doctor"), "refused")
    for name in ("alias bomb", "binary", "infinity", "a duplicate key"):
        yield Case(f"yaml/sweep: {name}", _sweep(BROKEN[name]), "refused", "params")
    yield Case("yaml/wrong model", _command(BROKEN["a wrong model"], "python", "-m", "pipeline.baseline"), "refused")
    yield Case("yaml/missing", lambda folder: ["python", "-m", "pipeline.data"], hint="params.yaml")
    yield Case("yaml/a folder", _folder, hint="params.yaml")


def _write(folder: Path, text: str | bytes) -> None:
    (folder / "params.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())


def _command(text: str | bytes, *command: str) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        _write(folder, text)
        return command

    return make


def _sweep(text: str | bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        _write(folder, text)
        (folder / "dvc.yaml").write_text("stages: {}\n")
        (folder / "flows").symlink_to(ROOT / "flows")
        (folder / "pipeline").symlink_to(ROOT / "pipeline")
        return ["yoloslim", "sweep"]

    return make


def _folder(folder: Path) -> Sequence[str]:
    (folder / "params.yaml").mkdir()
    return ["python", "-m", "pipeline.data"]
