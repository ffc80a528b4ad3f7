"""A trained head for other classes, and anchors for another image size."""

import logging
from pathlib import Path

import pytest
import torch

from tests.tiny import shake_norms, tiny_detector
from yoloslim.errors import WeightsError
from yoloslim.models.detector import Detector, build_detector
from yoloslim.models.foreign.adapt import read_names, with_classes, with_imgsz
from yoloslim.models.foreign.classes import match_classes
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.certified_cut import prune


@pytest.fixture
def trained() -> Detector:
    model = tiny_detector(("cat", "dog", "hen"))
    shake_norms(model)
    return model.eval()


def heads(model: Detector) -> list[torch.Tensor]:
    with torch.no_grad():
        return model(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))


def test_the_same_classes_change_nothing(trained: Detector) -> None:
    assert with_classes(trained, ("cat", "dog", "hen")) is trained


def test_known_classes_keep_what_the_head_learnt_about_them(trained: Detector) -> None:
    fewer = with_classes(trained, ("hen", "cat"))
    assert fewer.spec.classes == ("hen", "cat")
    assert not fewer.training
    for found, wanted in zip(heads(fewer), heads(trained), strict=True):
        torch.testing.assert_close(found, wanted[..., [0, 1, 2, 3, 4, 7, 5]])


def test_classes_of_the_same_name_keep_their_weights_beside_new_ones(
    trained: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        other = with_classes(trained, ("fox", "hen", "owl", "Cat"))
    assert "head: kept what the file knows of 2 of 4 classes; afresh: fox, owl" in caplog.text
    assert "other spellings of the same: Cat is its cat" in caplog.text
    for found, wanted in zip(heads(other), heads(trained), strict=True):
        torch.testing.assert_close(found[..., [0, 1, 2, 3, 4, 6, 8]], wanted[..., [0, 1, 2, 3, 4, 7, 5]])


def test_unknown_classes_start_the_head_afresh_and_keep_the_rest(
    trained: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        other = with_classes(trained, ("fox", "owl", "elk", "emu"))
    assert "head: initialised afresh for 4 classes, as the file knows none of them" in caplog.text
    old, new = trained.state_dict(), other.state_dict()
    assert all(torch.equal(new[name], old[name]) for name in old if not name.startswith("model.6."))
    assert not torch.equal(new["model.6.m.0.weight"][:5], old["model.6.m.0.weight"][:5])
    assert [head.shape[-1] for head in heads(other)] == [9, 9, 9]


def test_spellings_of_voc_and_coco_mean_the_same() -> None:
    coco = ("person", "airplane", "motorcycle", "potted plant", "couch", "tv", "dining table", "bed")
    voc = ("tvmonitor", "person", "aeroplane", "motorbike", "pottedplant", "sofa", "diningtable", "cat")
    assert match_classes(voc, coco) == {
        "tvmonitor": "tv",
        "person": "person",
        "aeroplane": "airplane",
        "motorbike": "motorcycle",
        "pottedplant": "potted plant",
        "sofa": "couch",
        "diningtable": "dining table",
    }
    assert match_classes(coco[:6], voc)["couch"] == "sofa"
    assert match_classes(("TV", "tv"), ("tv", "TV")) == {"TV": "TV", "tv": "tv"}


def test_a_pruned_model_takes_other_classes_too(trained: Detector) -> None:
    pruned = prune(trained, PruneRequest(percent=50, scope="coupled", imgsz=64, round_to=1)).model
    assert [head.shape[-1] for head in heads(with_classes(pruned, ("a",)).eval())] == [6, 6, 6]
    assert with_classes(pruned, ("dog",)).spec.widths.keys() == pruned.spec.widths.keys()


def test_anchors_follow_the_image_size_or_stay(trained: Detector) -> None:
    before = trained.spec.head
    assert with_imgsz(trained, 64, lambda head, size: pytest.fail("its own size")).spec.head == before
    proposed = with_imgsz(trained, 128, lambda head, size: head).spec
    assert (proposed.imgsz, proposed.head) == (128, before)
    with pytest.raises(WeightsError, match="100 is not a multiple of 32"):
        with_imgsz(trained, 100, lambda head, size: head)


def test_names_come_from_text_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.names").write_text("cat\n\n dog \n")
    assert read_names(str(tmp_path / "x.names")) == ("cat", "dog")
    assert read_names("cat, dog") == ("cat", "dog")


@pytest.mark.parametrize("text", ["", "cat,,dog", "cat,dog,cat"])
def test_bad_names_are_refused(text: str) -> None:
    with pytest.raises(WeightsError, match="classes"):
        read_names(text)


def test_head_without_anchors_keeps_its_towers_for_fewer_and_for_other_classes() -> None:
    many = tuple(f"class {i}" for i in range(80))  # at this size the towers grow with the number of classes
    model = build_detector("yolov8n", many, imgsz=64).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before, few, other = model(x), with_classes(model, many[7:4:-1])(x), with_classes(model, ("new", "newer"))(x)
    for a, b, c in zip(before, few, other, strict=True):
        # three outputs are computed by other kernels than eighty: the last bit may differ
        torch.testing.assert_close(b, a[:, [*range(64), 64 + 7, 64 + 6, 64 + 5]], rtol=1e-6, atol=1e-6)
        assert torch.equal(c[:, :64], a[:, :64])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.txt", None, "it is missing; give a file with one name a line, or a,b,c"),
        ("gone.names", None, "it is missing"),
        ("data.yaml", "names: [cat, dog]\n", "it holds more than names; give a file with one name a line"),
    ],
)
def test_a_file_that_holds_no_names_is_no_class(tmp_path: Path, name: str, content: str | None, reason: str) -> None:
    if content:
        (tmp_path / name).write_text(content)
    with pytest.raises(WeightsError, match=reason):
        read_names(str(tmp_path / name))
