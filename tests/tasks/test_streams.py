"""Several videos and cameras at once, through the commands that people type."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.disks import small_disk
from yoloslim.cli import app
from yoloslim.errors import ConfigError, DataError
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.tasks import feeds as feeds_module
from yoloslim.tasks import film, streams
from yoloslim.tasks.feeds import Feed, Image, rounds
from yoloslim.tasks.sources import Stream
from yoloslim.tasks.splice import Tiles, read_tile

runner = CliRunner()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three of different sizes and lengths."""
    folder, made = tmp_path_factory.mktemp("videos"), []
    for number, (size, frames) in enumerate([((80, 60), 6), ((64, 64), 4), ((40, 96), 5)]):
        noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        made.append(folder / f"cam{number}.avi")
        writer = cv2.VideoWriter(str(made[-1]), cv2.VideoWriter.fourcc(*"MJPG"), 10, size)
        for i in range(frames):
            writer.write(np.roll(cv2.resize(noise, size), 3 * i, axis=1))
        writer.release()
    return made


def run(*arguments: object) -> str:
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def labels(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((folder / "labels").iterdir())}


def test_streams_give_what_each_gives_alone_one_by_one_and_as_a_batch(
    model: Path, videos: list[Path], tmp_path: Path
) -> None:
    common = ("--conf", "0.0001", "--save-txt", "--out")
    alone: dict[str, str] = {}
    for video in videos:
        run("detect", model, video, *common, tmp_path / video.stem)
        alone |= labels(tmp_path / video.stem)
    assert len(alone) == 15
    for name, options in {"by one": (), "batch": ("--batch", "4")}.items():
        output = run("detect", model, *videos, *options, *common, tmp_path / name)
        assert output.startswith("15 images")
        assert labels(tmp_path / name).keys() == alone.keys()
        for key, text in labels(tmp_path / name).items():
            found, wanted = (np.array([line.split() for line in t.splitlines()], float) for t in (text, alone[key]))
            np.testing.assert_allclose(found, wanted, atol=2e-3)
    for video, frames, shape in zip(videos, (6, 4, 5), ((60, 80, 3), (64, 64, 3), (96, 40, 3)), strict=True):
        stream = Stream(str(tmp_path / "batch" / f"{video.stem}.mp4"))
        assert stream.expected == frames
        assert {frame.shape for frame in stream.frames()} == {shape}


def test_tiles_hand_boxes_back_to_their_stream_in_its_own_pixels(
    model: Path, videos: list[Path], tmp_path: Path
) -> None:
    output = run("detect", model, *videos, "--tile", "2x2", "--conf", "0.0001", "--save-txt", "--out", tmp_path / "t")
    assert output.startswith("15 images")
    assert sorted(p.name for p in (tmp_path / "t").glob("*.mp4")) == ["cam0.mp4", "cam1.mp4", "cam2.mp4"]
    boxes = [line.split() for text in labels(tmp_path / "t").values() for line in text.splitlines()]
    assert boxes
    cx, cy, w, h = np.array(boxes, float)[:, 1:].T
    assert (cx - w / 2 >= -1e-5).all()
    assert (cx + w / 2 <= 1 + 1e-5).all()
    assert (cy - h / 2 >= -1e-5).all()
    assert (cy + h / 2 <= 1 + 1e-5).all()


def test_a_box_of_a_cell_comes_back_where_it_was_in_its_frame() -> None:
    tiles = Tiles(2, 2, 64, 114)
    image = np.full((30, 60, 3), 200, np.uint8)
    part, (box, width, height) = tiles.prepare(3, image)
    picture = tiles.splice([(part, box)])
    assert (picture[40:56, 32:] == 200).all()
    assert (picture[:32] == 114).all()
    true = np.array([[6, 3, 30, 24]], np.float32)
    rows = np.concatenate([box.to_canvas(true), [[0.9, 1]]], axis=1).astype(np.float32)
    of_first, of_last = tiles.divide(rows, [0, 3])
    assert len(of_first) == 0
    np.testing.assert_allclose(box.detections_to_image(of_last, width, height)[0], [6, 3, 30, 24, 0.9, 1], rtol=1e-5)


@pytest.mark.parametrize(("text", "match"), [("2", "rows x columns"), ("0x2", "rows"), ("2x2", "room for 4 streams")])
def test_a_tile_that_cannot_be_had_is_refused(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        read_tile(text, 5)


def test_a_stream_that_never_starts_is_told_and_the_others_go_on(
    model: Path, videos: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    arguments = ["detect", model, videos[0], broken, tmp_path / "gone.avi", "--out", tmp_path / "out"]
    result = runner.invoke(app, [str(a) for a in arguments])
    assert isinstance(result.exception, DataError)
    assert "broken.mp4 cannot be opened" in str(result.exception)
    assert "gone.avi is missing" in str(result.exception)
    assert "the other streams go on" in caplog.text
    assert Stream(str(tmp_path / "out/cam0.mp4")).expected == 6


def test_streams_are_opened_all_at_a_time_and_one_that_keeps_the_others_is_named(
    model: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    together = threading.Barrier(len(videos), timeout=300)

    def slow(source: str) -> Stream:
        together.wait()
        deadline = time.monotonic() + 60
        while "cam2 does not answer yet" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        return Stream(source)

    monkeypatch.setattr(feeds_module, "Stream", slow)
    monkeypatch.setattr(streams, "SOON_S", 0.0)
    run("detect", model, *videos, "--tile", "2x2", "--frames", "2", "--out", tmp_path / "out")
    assert "cam2 does not answer yet; all begin when it does, or is given up" in caplog.text
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["cam0", "cam1", "cam2"]


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose copy takes more than half a megabyte."""
    path, random = tmp_path_factory.mktemp("noise") / "noise.avi", np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(60):
        writer.write(random.integers(0, 256, (240, 320, 3), dtype=np.uint8))
    writer.release()
    return path


def test_a_disk_that_gets_full_ends_a_video_while_it_can_be_finished(model: Path, noise: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4300k") as disk:  # 4.4 MB, of which 4 are left alone
        result = runner.invoke(app, ["detect", str(model), str(noise), "--out", str(disk / "out")])
        assert isinstance(result.exception, DataError)
        assert "make room" in str(result.exception)
        assert f"what was written is in {disk}/out" in str(result.exception)
        (video,) = (disk / "out").iterdir()
        kept = sum(1 for _ in Stream(str(video)).frames())
    assert f"stopped after {kept} frames" in str(result.exception)
    assert 0 < kept < 60


def test_a_video_that_the_disk_refused_is_an_error_and_no_file(
    model: Path, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film, "ROOM_MB", 0.0)  # as where a quota, not the disk, is what is full
    with small_disk(tmp_path / "disk", "128k") as disk:
        result = runner.invoke(app, ["detect", str(model), str(noise), "--out", str(disk / "out")])
        assert "noise.mp4 could not be written: 0 of its 60 frames can be read again" in str(result.exception)
        assert list((disk / "out").iterdir()) == []


def test_what_breaks_while_a_video_is_written_leaves_what_was_written(
    model: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, calls = PredictorInference.find, count()

    def fail(self: PredictorInference, heads: list[np.ndarray], place: object) -> np.ndarray:
        if next(calls) == 3:
            raise ZeroDivisionError
        return find(self, heads, place)  # type: ignore[arg-type]

    monkeypatch.setattr(PredictorInference, "find", fail)
    result = runner.invoke(app, ["detect", str(model), str(videos[0]), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, ZeroDivisionError)
    assert 0 < sum(1 for _ in Stream(str(tmp_path / "out/cam0.mp4")).frames()) <= 3


def test_no_thread_outlives_the_command_which_its_end_would_abort(
    model: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = PredictorInference.prepare

    def slow(self: PredictorInference, image: Image) -> object:
        time.sleep(0.2)
        return prepare(self, image)

    monkeypatch.setattr(PredictorInference, "prepare", slow)
    (tmp_path / "file").write_text("in the way")
    result = runner.invoke(app, ["detect", str(model), str(videos[0]), "--out", str(tmp_path / "file/out")])
    assert "Not a directory" in str(result.exception)
    run("detect", model, videos[0], "--frames", "1", "--out", tmp_path / "out")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("feed ")]


def test_cells_too_small_to_find_anything_in_are_refused(model: Path, videos: list[Path], tmp_path: Path) -> None:
    result = runner.invoke(app, ["detect", str(model), str(videos[0]), "--tile", "3x2", "--out", str(tmp_path / "o")])
    assert isinstance(result.exception, ConfigError)
    assert "--tile 3x2 leaves each stream 21 px of the model's 64" in str(result.exception)


def test_what_cannot_be_combined_is_refused(model: Path, videos: list[Path], tmp_path: Path) -> None:
    cases = {
        "cannot both be had": [*videos, "--tile", "2x2", "--batch", "2"],
        "is no video or camera": [videos[0], tmp_path],
        "are for videos and cameras": [tmp_path, "--batch", "2"],
    }
    for message, arguments in cases.items():
        result = runner.invoke(app, ["detect", str(model), *map(str, arguments), "--out", str(tmp_path / "o")])
        assert message in str(result.exception)


def test_two_streams_of_one_name_have_files_of_their_own(model: Path, videos: list[Path], tmp_path: Path) -> None:
    run("detect", model, videos[1], videos[1], "--frames", "2", "--out", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cam1-2.mp4", "cam1.mp4"]


def test_speed_gives_frames_a_second_of_each_way(model: Path, videos: list[Path], tmp_path: Path) -> None:
    output = run("speed", model, *videos, "--tile", "2x2", "--frames", "3", "--out", tmp_path / "s.json")
    figures = json.loads((tmp_path / "s.json").read_text())
    assert set(figures["fps"]) == {"--batch 1", "--batch 3", "--tile 2x2"}
    assert all(value > 0 for value in figures["fps"].values())
    assert output.count("frames/s") == 3


class Camera:
    """Sends what a script says: lists of frames, one list a connection; None refuses it."""

    fps, live = 25.0, True

    def __init__(self, script: list[list[int] | None]) -> None:
        self.script = script

    def open(self, source: str) -> "Camera":
        now = self.script.pop(0) if self.script else None
        if now is None:
            raise DataError(f"camera {source} does not answer")
        self.now = now
        return self

    def frames(self) -> Iterator[Image]:
        for value in self.now:
            yield np.full((4, 4, 3), value, np.uint8)


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[list[int] | None]], Feed]:
    def connect(script: list[list[int] | None]) -> Feed:
        camera, clock = Camera(script), count()  # time stands still while there is something to send
        monkeypatch.setattr(feeds_module, "Stream", camera.open)
        ticks = SimpleNamespace(monotonic=lambda: 0 if camera.script else next(clock))
        monkeypatch.setattr(feeds_module, "time", ticks)
        monkeypatch.setattr(feeds_module, "LONGEST_WAIT_S", 0.0)
        monkeypatch.setattr(feeds_module, "FIRST_WAIT_S", 0.0)
        return Feed("rtsp://me:secret@cam/1", threading.Condition())

    return connect


def test_a_camera_that_drops_out_is_connected_again_and_given_up_in_the_end(
    camera: Callable[[list[list[int] | None]], Feed], caplog: pytest.LogCaptureFixture
) -> None:
    feed = camera([[1, 2], None, [], [3]])
    feed.start(lambda image: (image, None))
    values = [int(frame.image[0, 0, 0]) for taken in rounds([feed]) for _, frame in taken]
    assert values == [1, 2, 3]
    assert "camera cam-1 broke off; connecting again" in caplog.text
    assert feed.failure == "camera cam-1 has sent nothing for 30 s and is given up"


def test_a_camera_is_not_waited_for_and_what_it_sends_too_fast_is_counted(
    camera: Callable[[list[list[int] | None]], Feed],
) -> None:
    feed = camera([list(range(20))])
    feed.start(lambda image: (image, None))
    with feed.changed:
        feed.changed.wait_for(lambda: bool(feed.failure))
    kept = [int(frame.image[0, 0, 0]) for taken in rounds([feed]) for _, frame in taken]
    assert kept == list(range(20 - feeds_module.AHEAD, 20))
    assert feed.passed_over == 20 - feeds_module.AHEAD


def test_what_breaks_in_a_thread_of_a_stream_reaches_the_caller(videos: list[Path]) -> None:
    def prepare(image: Image) -> tuple[Image, None]:
        raise ZeroDivisionError

    feed = Feed(str(videos[0]), threading.Condition())
    feed.start(prepare)
    with pytest.raises(ZeroDivisionError):
        list(rounds([feed]))
