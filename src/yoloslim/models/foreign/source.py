"""Where weights lie: a file, or an http(s) address with its checksum."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from yoloslim.data.download import Checksum, fetch_file
from yoloslim.errors import WeightsError
from yoloslim.files import sha256_file
from yoloslim.models.zoo import way_to

SHA256 = re.compile(r"[0-9a-f]{64}")


def find_weights(source: str, folder: Path) -> Path:
    """The file that a value such as `yolov5n.pt` or `https://host/yolov5n.pt#sha256=...` stands for.

    Args:
        source: a path or an http(s) address. An address needs `#sha256=<64 hex digits>` behind it, a path may have it.
            A `.cfg` stands for the `.weights` beside it.
        folder: where downloads are kept; a file that lies there with the right checksum is not fetched again.

    Raises:
        WeightsError: no such file, no checksum where one is needed, or a wrong one.
        DataError: the download failed.
    """
    address, _, fragment = source.partition("#")
    key, _, digest = fragment.lower().partition("=")
    if fragment and (key != "sha256" or not SHA256.fullmatch(digest)):
        raise WeightsError(f"{source}: behind '#' stands sha256= and 64 hexadecimal digits")
    if re.match(r"https?://", address, re.IGNORECASE):
        if not digest:
            raise WeightsError(
                f"{address} needs its checksum, so that the same file is used every time: "
                f"{address}#sha256=<what `sha256sum` says of it>"
            )
        name = re.sub(r"[^\w.-]", "_", Path(unquote(urlsplit(address).path)).name)[-80:] or "weights"
        advice = "check the address"
        return fetch_file(folder / f"{digest[:12]}-{name}", Checksum("sha256", digest), [address], advice)
    path = Path(address)
    path = path.with_suffix(".weights") if path.suffix == ".cfg" else path
    if not path.is_file():
        what = "a folder" if path.is_dir() else "missing"
        raise WeightsError(f"weights file {path} is {what}; {way_to(path, 'check the name')}")
    if digest and sha256_file(path) != digest:
        raise WeightsError(f"{path} has SHA-256 {sha256_file(path)}, not {digest}; it is not the file that was meant")
    return path
