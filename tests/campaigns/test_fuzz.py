"""Whatever is done to a sound file, its reader gives a value or an error made for people, and nothing else.

`make test` replays some hundred changes. For longer: FUZZ_EXAMPLES=20000 python -m pytest tests/campaigns/test_fuzz.py
"""

import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.campaigns.assets import XML, jpeg
from tests.campaigns.harness import ROOT
from tests.models.foreign.darknet.nets import CFG
from tests.tiny import tiny_detector
from yoloslim.config import load_params
from yoloslim.data.archives import extract
from yoloslim.data.images import read_image
from yoloslim.data.voc import parse_annotation
from yoloslim.errors import YoloslimError
from yoloslim.files import read_json
from yoloslim.models.foreign.checkpoint import read_torch_checkpoint
from yoloslim.models.foreign.darknet.cfg import read_cfg
from yoloslim.models.foreign.darknet.spec import spec_from_cfg
from yoloslim.models.store import load_model, save_model
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.voc import read_image_set, read_truth

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
TOKENS = (
    *(b"\0", b"\xff", b"\n", b"\r\n", b"\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    *(b"{", b"}", b"[", b"]", b"<", b">", b"&x;", b'"', b"'", b"#", b":", b",", b"=", b"-", b"*a", b"&a ", b"!!x "),
    *(b"nan", b"inf", b"-1", b"0", b"1e999", b"9" * 30, b"0x10", b"true", b"null", b"../", b"/etc/passwd", b"$(id)"),
    *(b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"PK\x03\x04", b"\x80\x02", b"cos\nsystem\n(S'id'\ntR."),
)
"""What parsers stumble over."""


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name in ("a/x.xml", "a/y.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"12345"))
    return stream.getvalue()


def _checkpoint() -> bytes:
    stream = io.BytesIO()
    torch.save({"model": dict(list(tiny_detector().state_dict().items())[:3])}, stream)
    return stream.getvalue()


def _model() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_model(tiny_detector(), path := Path(folder) / "m.safetensors")
        return path.read_bytes()


def _picture() -> bytes:
    import numpy as np

    return jpeg(np.random.default_rng(0))


SEEDS: Mapping[str, tuple[Callable[[], bytes], Callable[[Path], object]]] = {
    "params.yaml": ((ROOT / "params.yaml").read_bytes, load_params),
    "a.xml": (lambda: XML.format(name="a", label="b").encode(), parse_annotation),
    "board.xml": (lambda: XML.format(name="a", label="b").encode(), lambda path: read_truth(path, ["b"])),
    "a.json": (lambda: b'{"version": 2, "files": {"a": "b"}, "shape": [1, 3.5, null, true]}', read_json),
    "a.cfg": (CFG.encode, lambda path: spec_from_cfg(read_cfg(path), None, "a")),
    "a.pt": (_checkpoint, read_torch_checkpoint),
    "a.safetensors": (_model, load_model),
    "a.jpg": (_picture, read_image),
    "a.tar.gz": (_tar, lambda path: extract(path, path.parent / "out")),
    "a.txt": (lambda: b"image00\nimage01 1\n", read_image_set),
}
"""A file's name -> how to make a sound one, and what reads it."""


@cache
def seed_of(name: str) -> bytes:
    return SEEDS[name][0]()


Change = tuple[str, float, float, bytes]
changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "replace", "repeat", "move"]),
        st.floats(0, 1),
        st.floats(0, 0.05),
        st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=8)),
    ),
    min_size=1,
    max_size=4,
)


def changed(data: bytes, edits: list[Change]) -> bytes:
    """The bytes with each edit made: where, how long a part, and what goes there."""
    for kind, where, length, token in edits:
        start = int(where * len(data))
        end = min(len(data), start + 1 + int(length * len(data)))
        part, rest = data[start:end], data[end:]
        data = (
            data[:start]
            + {
                "flip": bytes(b ^ (token or b"\1")[0] for b in part) + rest,
                "cut": b"",
                "insert": token + part + rest,
                "replace": token + rest,
                "repeat": part * 3 + rest,
                "move": rest + part,
            }[kind]
        )
    return data


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_a_changed_file_is_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    read = SEEDS[name][1]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,  # the same every time in continuous integration
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changes)
    def fuzz(edits: list[Change]) -> None:
        path = tmp_path / name
        path.write_bytes(changed(seed_of(name), edits))
        try:
            read(path)
        except (YoloslimError, RunnerError) as error:
            if not str(error):
                pytest.fail("refused without a word")

    fuzz()


@pytest.mark.parametrize("name", [name for name in SEEDS if name not in ("a.txt", "a.pt")])
def test_the_sound_file_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(seed_of(name))
    SEEDS[name][1](tmp_path / name)


def test_changes_change() -> None:
    assert changed(b"abcd", [("cut", 0.5, 0, b"")]) == b"ab"
    assert changed(b"abcd", [("insert", 0.25, 0, b"X")]) == b"aXbcd"
    assert changed(b"abcd", [("move", 0, 0, b"X")]) == b"bcda"
    assert changed(b"ab", [("flip", 0, 0, b"\x01")]) == b"`b"
