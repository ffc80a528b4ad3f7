"""The sound files that bad ones are made from: a small data set, a model, its export and bundle, foreign weights."""

import copy
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from tests.campaigns.harness import ROOT, run_forked

IMAGES = 12
XML = """<annotation><folder>JPEGImages</folder><filename>{name}.jpg</filename>
<size><width>64</width><height>48</height><depth>3</depth></size>
<object><name>{label}</name><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"""


@dataclass(frozen=True)
class Assets:
    """Where they lie."""

    root: Path

    @property
    def model(self) -> Path:
        """A model of two classes, 64 px."""
        return self.root / "model.safetensors"

    @property
    def export(self) -> Path:
        """Folder of its ONNX export."""
        return self.root / "export"

    @property
    def bundle(self) -> Path:
        """Folder of its Ascend bundle, not compiled."""
        return self.root / "bundle"

    @property
    def checkpoint(self) -> Path:
        """A state dict of yolov5n."""
        return self.root / "yolov5n.pt"

    @property
    def darknet(self) -> Path:
        """A cfg; its weights and names are beside it."""
        return self.root / "small.cfg"

    def voc(self, folder: Path) -> Path:
        """A data set of 12 images in `folder`."""
        shutil.copytree(self.root / "voc", folder, dirs_exist_ok=True)
        return folder

    def copy(self, path: Path, folder: Path) -> Path:
        """A file or folder of these, copied into `folder`."""
        target = folder / path.name
        if path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copyfile(path, target)
        return target


def make_assets(root: Path) -> Assets:
    """Make them in an empty folder; exports run in forks, so that no thread starts here."""
    import torch

    from tests.models.foreign.darknet.nets import CFG
    from tests.tiny import tiny_detector
    from yoloslim.models.detector import build_detector
    from yoloslim.models.foreign.darknet.cfg import parse_cfg
    from yoloslim.models.foreign.darknet.spec import spec_from_cfg
    from yoloslim.models.foreign.darknet.weights import count_floats
    from yoloslim.models.store import save_model

    assets = Assets(root)
    make_voc(root / "voc")
    save_model(tiny_detector(), assets.model)
    torch.save(build_detector("yolov5n", ("a", "b"), 64).state_dict(), assets.checkpoint)
    assets.darknet.write_text(CFG)
    spec = spec_from_cfg(parse_cfg(CFG), None, "small")
    from yoloslim.models.detector import Detector

    with torch.device("meta"):
        count = count_floats(Detector(spec))
    header = np.array([0, 2, 5], np.int32).tobytes() + np.array([0], np.int64).tobytes()
    values = np.random.default_rng(0).normal(0, 0.1, count).astype(np.float32)
    assets.darknet.with_suffix(".weights").write_bytes(header + np.abs(values).tobytes())
    for command in (
        ["yoloslim", "export", str(assets.model), "--out", str(assets.export)],
        ["yoloslim", "compile", str(assets.export), "--out", str(assets.bundle)],
    ):
        code, output, *_ = run_forked(command, root)
        assert code == 0, output
    return assets


def make_voc(root: Path) -> None:
    """A data set in VOC layout: noise with a bright square."""
    rng = np.random.default_rng(0)
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for i in range(IMAGES):
        name = f"image{i:02d}"
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(jpeg(rng))
        (root / "Annotations" / f"{name}.xml").write_text(XML.format(name=name, label="ab"[i % 2]))
    names = [f"image{i:02d}\n" for i in range(IMAGES)]
    for split, part in (("train", names[:8]), ("val", names[8:10]), ("test", names[10:])):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(part))


def jpeg(rng: np.random.Generator, width: int = 64, height: int = 48) -> bytes:
    """A sound photograph."""
    pixels = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
    pixels[6:40, 5:30] = 250
    return bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def params(**sections: Any) -> dict[str, Any]:
    """params.yaml with changes, as nested dictionaries."""
    found: dict[str, Any] = copy.deepcopy(_PARAMS)
    for name, change in sections.items():
        found[name] = found[name] | change if isinstance(found.get(name), dict) and isinstance(change, dict) else change
    return found


def write_params(folder: Path, **sections: Any) -> None:
    """Write params.yaml with changes, for a data set in VOC layout."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params(**sections), sort_keys=False))


def data_stage(folder: Path, path: Path, **data: Any) -> list[str]:
    """The command that prepares the data set at `path`."""
    write_params(folder, imgsz=64, data={"source": "voc", "path": str(path), "workers": 1} | data)
    return ["python", "-m", "pipeline.data"]


def edited_json(path: Path, change: Any) -> None:
    """Rewrite a JSON file with what `change`, a function of its value, makes of it; None takes the edited value."""
    value = json.loads(path.read_text())
    found = change(value)
    path.write_text(json.dumps(value if found is None else found))


def torch_bytes(value: Any) -> bytes:
    """What `torch.save` writes."""
    import torch

    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


_PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
