"""Downloads (VOC2007, weights): several addresses, resumed where they broke off, believed by checksum only."""

import hashlib
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

import requests
import urllib3
from tqdm import tqdm

from yoloslim.errors import DataError
from yoloslim.within import within

logger = logging.getLogger(__name__)

VOC2007_MD5: Mapping[str, str] = MappingProxyType(
    {
        "VOCtrainval_06-Nov-2007.tar": "c52e279531787c972589f7e41ab4ae64",
        "VOCtest_06-Nov-2007.tar": "b6e924de25625d8de591ea690078ad9f",
    }
)
"""MD5 by archive name."""

VOC2007_MIRRORS = (
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
    "https://pjreddie.com/media/files/",
)
"""Where the archives lie, in the order they are tried; MD5 makes plain http acceptable."""

CHUNK = 2**18
"""Bytes read at once, and at most lost when a connection breaks off."""
TRIES = 4
"""Connections a mirror is given as long as it breaks off; every one goes on where the last stopped."""
TIMEOUT_S = 30
"""Seconds that a server may be silent, that the head of its answer may take in all, and over which speed is judged."""
SLOWEST_B_S = 1000
"""Bytes a second under which a server that drips is left for the next one."""


@dataclass(frozen=True)
class Checksum:
    """What a file's bytes must hash to."""

    algorithm: Literal["md5", "sha256"]
    hexdigest: str

    def of(self, path: Path) -> str:
        """The same hash of a file that is there."""
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.new(self.algorithm, usedforsecurity=False)).hexdigest()


class DownloadParams(Protocol):
    """What `fetch_voc2007` reads of the section `data`."""

    @property
    def mirrors(self) -> Sequence[str]:
        """Folders of the archives as URLs; empty takes the usual ones."""

    @property
    def download_dir(self) -> str:
        """Where archives are kept between runs."""


def fetch_voc2007(params: DownloadParams, md5: Mapping[str, str] | None = None) -> list[Path]:
    """Paths of the trainval and test archives, downloaded where they are not there yet.

    Other archives can be asked for by giving `md5`, checksums by name; None means VOC2007's own.

    Raises:
        DataError: no mirror gave an archive with the right checksum, or the disk is full.
    """
    mirrors = tuple(params.mirrors) or VOC2007_MIRRORS
    return [
        fetch(name, checksum, mirrors, Path(params.download_dir)) for name, checksum in (md5 or VOC2007_MD5).items()
    ]


def fetch(name: str, md5: str, mirrors: Sequence[str], folder: Path) -> Path:
    """Download one archive into `folder`, or take the one that lies there.

    Raises:
        DataError: as `fetch_voc2007`; the message tells what each mirror answered and how to help oneself.
    """
    urls = [f"{mirror.rstrip('/')}/{name}" for mirror in mirrors]
    advice = "add a mirror to data.mirrors, or take data.source=scenes, which needs none"
    return fetch_file(folder / name, Checksum("md5", md5), urls, advice)


def fetch_file(path: Path, checksum: Checksum, urls: Sequence[str], advice: str) -> Path:
    """Download one file to `path`, or take the one that lies there.

    An unfinished download stays as `<name>.part` and is resumed, also by the next run and from another address. A
    wrong checksum deletes it.

    Args:
        path: where to.
        checksum: what it must hash to.
        urls: where it lies, in the order they are tried.
        advice: what else a person could do, for the message.

    Raises:
        DataError: no address gave a file with that checksum, or the disk is full.
    """
    if path.is_file():
        if checksum.of(path) == checksum.hexdigest:
            return path
        logger.warning("%s has a wrong checksum and is downloaded again", path)
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    failures = []
    for url in urls:
        resumed = part.exists()
        failure = _from_url(url, part, checksum)
        if failure and resumed and not part.exists():
            failure = _from_url(url, part, checksum)  # the old part may have been the wrong half
        if not failure:
            part.replace(path)
            return path
        logger.warning("%s: %s", url, failure)
        failures.append(f"{url}: {failure}")
    raise DataError(
        f"{path.name} could not be downloaded ({'; '.join(failures)}). Check the network, "
        f"put the file into {path.parent} by hand, or {advice}"
    )


def _from_url(url: str, part: Path, checksum: Checksum) -> str:
    """Complete `part` from one address; returns what went wrong, empty when nothing did."""
    failure = ""
    for _ in range(TRIES):
        before = part.stat().st_size if part.exists() else 0
        try:
            _append(url, part)
        except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError) as error:
            failure = f"{type(error).__name__}: {error}"
            if part.exists() and part.stat().st_size > before:
                continue
            return failure
        except OSError as error:
            raise DataError(
                f"cannot write {part}: {error.strerror or error}; point data.download_dir elsewhere"
            ) from error
        found = checksum.of(part)
        if found == checksum.hexdigest:
            return ""
        part.unlink()
        return f"{checksum.algorithm.upper()} is {found}, not {checksum.hexdigest}"
    return failure


def _append(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    # identity: a compressed answer would make byte positions meaningless
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with within(TIMEOUT_S, requests.get, url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing, or the part is too long: the checksum tells
        answer.raise_for_status()
        resumes = answer.status_code == requests.codes.partial_content
        have = have if resumes else 0
        length = answer.headers.get("Content-Length", "0")
        if not (length.isdecimal() and len(length) < 19):
            raise requests.exceptions.InvalidHeader(f"its Content-Length is '{length[:40]}'")
        missing = int(length)
        _check_space(part, missing)
        with (
            part.open("ab" if resumes else "wb") as stream,
            tqdm(
                total=have + missing or None,
                initial=have,
                unit="B",
                unit_scale=True,
                desc=part.stem,
                disable=None,
            ) as bar,
        ):
            received, begun = 0, time.monotonic()
            while chunk := answer.raw.read1(CHUNK):  # what is there, however little: a full one could take for ever
                stream.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
                seconds = time.monotonic() - begun
                if seconds > TIMEOUT_S and received < SLOWEST_B_S * seconds:
                    raise requests.Timeout(f"{received} bytes in {seconds:.0f} s, under {SLOWEST_B_S} a second")
    if received < missing:  # older urllib3 ends a cut connection as if it were complete
        raise requests.ConnectionError(f"broke off after {received} of {missing} bytes")


def _check_space(part: Path, missing: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise DataError(
            f"{part.parent} has {free / 1e6:.0f} MB left, {missing / 1e6:.0f} MB are missing of {part.stem}; "
            f"make room, or point data.download_dir elsewhere"
        )
