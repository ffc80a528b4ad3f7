"""Archives that are damaged, cut short, bombs, or want to write elsewhere: `data.path` of params.yaml."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.campaigns.assets import Assets, data_stage
from tests.campaigns.harness import Case

Member = tuple[tarfile.TarInfo, bytes]


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    plain = _tar(assets, "w")
    packed = {"tgz": gzip.compress(plain), "xz": lzma.compress(plain), "bz2": bz2.compress(plain)}
    for kind, data in {"tar": plain, **packed}.items():
        for where in (0.1, 0.5, 0.9):
            yield _bytes(f"{kind} cut at {where:.0%}", data[: int(len(data) * where)], kind)
    for kind, data in packed.items():
        for where in (0.02, 0.3, 0.6, 0.95):
            yield _bytes(f"{kind} with a flipped byte at {where:.0%}", _flip(data, where), kind)
        yield _bytes(f"{kind} whose checksum is wrong", data[:-6] + bytes(b ^ 255 for b in data[-6:]), kind)
    for where in (0.001, 0.5):
        yield _bytes(f"tar with a damaged header at {where:.1%}", _flip(plain, where, 512), "tar", "answered")
    yield _bytes("empty file", b"", "tar")
    yield _bytes("text", b"no archive\n" * 100, "tar")
    yield _bytes("zeros", bytes(10240), "tar")
    yield _bytes("a picture", next((assets.root / "voc/JPEGImages").iterdir()).read_bytes(), "tar")
    yield _bytes("two gzip layers", gzip.compress(packed["tgz"]), "tgz")
    yield Case("archives/zip", lambda folder: _zip(folder))
    for name in ("../out.txt", "/tmp/out.txt", "a/../../out.txt", "C:\\out.txt", "..\\out.txt", "a/./../../x"):
        yield _members(assets, f"member {name}", [(_info(name), b"x")], hint="refused")
    yield _members(assets, "symbolic link", [(_info("link", tarfile.SYMTYPE, "/etc/passwd"), b"")], hint="refused")
    yield _members(assets, "hard link", [(_info("link", tarfile.LNKTYPE, "/etc/passwd"), b"")], hint="refused")
    yield _members(assets, "device", [(_info("null", tarfile.CHRTYPE), b"")], hint="refused")
    yield _members(assets, "pipe", [(_info("pipe", tarfile.FIFOTYPE), b"")], hint="refused")
    yield _members(assets, "a 2000 deep path", [(_info("d/" * 2000 + "f"), b"x")])
    yield _members(assets, "a name of 5000 characters", [(_info("n" * 5000), b"x")])
    yield _members(assets, "a name that is not UTF-8", [(_info("b\udcff\udcfe.txt"), b"x")], "answered")
    yield _members(assets, "a name with a NUL", [(_info("a\0b"), b"x")], "answered")
    yield _members(assets, "a name with a newline", [(_info("a\nb"), b"x")], "answered")
    yield _members(assets, "a file where a folder is", [(_info("Annotations"), b"x")], "answered")
    yield _members(assets, "a folder where a file is", [(_info("VOC/Annotations/image00.xml/x"), b"x")])
    yield Case("archives/says 80 GB", lambda folder: _huge(folder))
    yield Case("archives/bomb of 400 MB of zeros", lambda folder: _bomb(folder), "answered")
    yield Case("archives/missing", lambda folder: data_stage(folder, folder / "none.tar"), hint="none.tar")
    yield Case("archives/a folder without the layout", lambda folder: data_stage(folder, folder), hint="VOC layout")


def _bytes(name: str, data: bytes, suffix: str, expected: str = "refused") -> Case:
    def make(folder: Path) -> Sequence[str]:
        path = folder / f"data.{suffix}"
        path.write_bytes(data)
        return data_stage(folder, path)

    return Case(f"archives/{name}", make, expected)  # type: ignore[arg-type]


def _members(assets: Assets, name: str, members: Sequence[Member], expected: str = "refused", hint: str = "") -> Case:
    def make(folder: Path) -> Sequence[str]:
        path = folder / "data.tar"
        path.write_bytes(_tar(assets, "w", lambda tar: [tar.addfile(i, io.BytesIO(d)) for i, d in members]))
        return data_stage(folder, path)

    return Case(f"archives/{name}", make, expected, hint)  # type: ignore[arg-type]


def _tar(assets: Assets, mode: str, more: Callable[[tarfile.TarFile], object] = lambda tar: None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        tar.add(assets.root / "voc", "VOC")
        more(tar)
    return stream.getvalue()


def _info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 1 if kind == tarfile.REGTYPE else 0
    return info


def _flip(data: bytes, where: float, count: int = 1) -> bytes:
    start = int(len(data) * where)
    return data[:start] + bytes(b ^ 0x5A for b in data[start : start + count]) + data[start + count :]


def _zip(folder: Path) -> Sequence[str]:
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    return data_stage(folder, folder / "data.zip")


def _huge(folder: Path) -> Sequence[str]:
    info = _info("VOC/big")
    info.size = 80 * 2**30
    (folder / "data.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    return data_stage(folder, folder / "data.tar")


def _bomb(folder: Path) -> Sequence[str]:
    info = _info("VOC/zeros")
    info.size = 400 * 2**20
    with lzma.open(folder / "data.tar.xz", "wb", preset=0) as out:
        out.write(info.tobuf(tarfile.PAX_FORMAT))
        block = bytes(2**20)
        for _ in range(400):
            out.write(block)
        out.write(bytes(1024))
    return data_stage(folder, folder / "data.tar.xz")
