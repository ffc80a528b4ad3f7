"""What the pages say to type, which test types it exactly as printed, and why the rest is typed nowhere here."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (
    *("README.md", "README.zh-CN.md"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
)
PROGRAM = r"(?:[A-Z_]+=\S+ )?(?:yoloslim|dvc|make|python -m|git|gto|pip|prefect|mlflow|bash|source) "


def commands_of(page: Path) -> list[str]:
    """What it says to type: the lines of its blocks of shell, without comments, and commands that it quotes."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", "").splitlines()
    typed = [" ".join(re.split(r"\s+# ", line)[0].split()) for line in lines if line.strip()]
    quoted = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    said = [words for words in (" ".join(each.split()) for each in quoted) if re.match(PROGRAM, words)]
    return list(dict.fromkeys([*typed, *(words for words in said if not is_name(words))]))


def is_name(words: str) -> bool:
    """Whether a quoted text only names a command of yoloslim, perhaps with an option: that is nothing to type."""
    return re.fullmatch(r"yoloslim (data |toolchain )?[a-z-]+( --[a-z]+)?", words) is not None


@cache
def all_commands() -> tuple[str, ...]:
    """Those of all pages, each once."""
    return tuple(dict.fromkeys(command for page in PAGES for command in commands_of(ROOT / page)))


IN_THE_PROJECT = r"yoloslim .*"
"""tests/stages/test_pipeline.py types them in a finished tiny project."""

ON_THE_STAND_IN = (
    r"dvc .*",
    r"gto .*",
    r"make (help|setup|track|ui|docs)",
    r"pip install 'yoloslim\[(prefect|dask|ray|runtimes|litert|postgresql|remotes)\]'",
    r"source \S+",
    r"export .*",
    r"python -m (pipeline|yoloslim)\..*",
)
"""tests/test_page_commands.py types them where DVC's stages are real and what they compute is made up."""

SERVED = "tests/tracking/test_served.py"
BY_OTHERS = {
    SERVED: (
        "mlflow models serve --model-uri models:/yoloslim@champion --env-manager local --port 5001",
        """printf '{"dataframe_records": [{"image": "%s"}], "params": {"conf": 0.25}}' "$(base64 -w0 photo.jpg)" """
        "| curl --data @- --header 'Content-Type: application/json' http://127.0.0.1:5001/invocations",
    ),
    "tests/orchestration/test_schedule.py": (
        "prefect server start",
        "prefect work-pool create machines --type process",
        "prefect work-pool create kubernetes --type kubernetes --base-job-template flows/kubernetes.json",
        "YOLOSLIM_CHECKOUT=$PWD prefect worker start --pool machines",
        *("make deploy", "make serve", "python -m flows.schedule deploy kubernetes"),
    ),
    "tests/orchestration/test_shown.py": ("yoloslim sweep objective=smallest max_map_drop=0.02", "make flow"),
    "tests/orchestration/test_side_by_side.py": ("make repro", "python -m yoloslim.orchestration.side_by_side"),
    "tests/orchestration/test_sweep_flow.py": ("make sweep",),
    "tests/orchestration/test_typed.py": (
        *("yoloslim sweep", "yoloslim sweep --no-prefect", "yoloslim sweep step=5 objective=fastest"),
        "yoloslim sweep --apply scope=free,round_to=8",
    ),
    "tests/deploy/ascend/test_atc.py": ("bash atc.sh",),
    "tests/deploy/ascend/test_compiled_elsewhere.py": (
        "scp -r models/atc/50 compiler:",
        "ssh compiler 'cd 50 && bash atc.sh'",
        "mkdir -p compiled && scp -r compiler:50 compiled/",
    ),
    "tests/runner/test_mindx.py": ("BACKEND=mindx bash run.sh detect IMAGE_SET IMAGE_DIR",),
    "tests/runner/test_run_script.py": (
        "bash run.sh detect IMAGE_SET IMAGE_DIR",
        "bash run.sh speed IMAGE_SET IMAGE_DIR",
        "bash run.sh eval VOCdevkit/",
    ),
}
"""A test that needs a server or a board of its own -> what it types."""

ELSEWHERE = {
    r"make test": "is the tests; CI types it",
    r"(git clone .* make setup|.*pip install .*)": "installs from PyPI: minutes, and another environment than this",
    r"python -m benchmarks\..*": "measures for minutes to hours, some on data sets that are not ours",
    r"(FUZZ_EXAMPLES=\d+ )?python -m (pytest )?tests[./]campaigns.*": "a campaign: minutes to hours",
    r"docker .*|POSTGRES_PASSWORD=.* docker .*": "needs Docker; tests/test_containers.py runs what the images run",
    r"mlflow server .*user@host.*": "a database elsewhere; tests/tracking/test_postgres.py starts it on one here",
    r"python -m distributed\.cli\.dask_worker tcp://host.*": "a scheduler elsewhere; test_typed.py starts one here",
    r"yoloslim toolchain install .*": "installs a gigabyte",
    r"yoloslim detect models/export/50 (0|.* rtsp:.*)": "cameras; tests/tasks/test_streams.py has made-up ones",
    r"yoloslim import https://host/.*": "an address and a checksum of the reader's",
    r"yoloslim import darknet53\S+ .*": "160 MB of weights; tests/models/foreign/darknet reads drawn ones",
    r"yoloslim train (photos/ --model yolov5n --out trained|DATA --profile)": "trains for minutes; tests/tasks smaller",
    r"yoloslim prune model\.pt .*--board .*": "compiles for a board; tests/deploy/ascend/test_clock.py has fakes",
}
"""Commands, as patterns, that are typed nowhere here as printed, and why.

tests/test_page_commands_parse.py sees that what they name exists and takes the options.
"""


def where(command: str) -> str:
    """The test that types it, or the reason why none does in parentheses; empty if nobody has said."""
    for file, commands in BY_OTHERS.items():
        if command in commands:
            return file
    if any(re.fullmatch(known, command) for known in ON_THE_STAND_IN):
        return "tests/test_page_commands.py"
    for known, reason in ELSEWHERE.items():
        if re.fullmatch(known, command):
            return f"({reason})"
    return "tests/stages/test_pipeline.py" if re.fullmatch(IN_THE_PROJECT, command) else ""


def typed_by(file: str) -> list[str]:
    """Commands that this test types."""
    return [command for command in all_commands() if where(command) == file]
