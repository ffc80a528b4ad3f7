"""Feeds at a camera that is really behind a connection: an HTTP server that sends MJPEG, as cheap cameras do."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from yoloslim.tasks import feeds as feeds_module
from yoloslim.tasks.feeds import Feed, rounds

FRAMES = 40


class Camera(BaseHTTPRequestHandler):
    """Frames of one grey level a connection, then it hangs up; when the levels are used up it is gone."""

    levels: list[int]

    def do_GET(self) -> None:
        if not self.levels:
            self.send_error(503)
            return
        picture = np.full((48, 64, 3), self.levels.pop(0), np.uint8)
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
        for _ in range(FRAMES):
            self.wfile.write(head + jpeg + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def address() -> Iterator[str]:
    Camera.levels = [40, 200]
    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://me:secret@127.0.0.1:{server.server_port}/cam.mjpg"
        server.shutdown()
        thread.join()


def test_a_network_camera_that_hangs_up_is_connected_again_and_given_up_when_it_is_gone(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "yoloslim")
    monkeypatch.setattr(feeds_module, "FIRST_WAIT_S", 0.1)
    feed = Feed(address, threading.Condition(), patience_s=0.5)
    assert feed.live
    feed.start(lambda image: (image, None))
    taken = [frame.image for one in rounds([feed]) for _, frame in one]
    levels = [round(float(image.mean()), -1) for image in taken]
    assert levels == sorted(levels)
    assert set(levels) == {40, 200}
    assert {image.shape for image in taken} == {(48, 64, 3)}
    assert FRAMES < len(taken) + feed.passed_over <= 2 * FRAMES
    said = ["camera 127.0.0.1-cam.mjpg broke off; connecting again", "camera 127.0.0.1-cam.mjpg is back"]
    assert [text for text in said if text not in caplog.messages] == []
    assert feed.failure.startswith("camera 127.0.0.1-cam.mjpg has sent nothing for ")
    assert "secret" not in caplog.text + feed.failure
