"""`yoloslim data`: look at a data set of any layout, or write it in another, without a pipeline."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yoloslim.errors import DataError

if TYPE_CHECKING:
    from yoloslim.config import DataParams
    from yoloslim.data.layouts import Found

app = typer.Typer(help=__doc__, no_args_is_help=True)
Source = Annotated[str, typer.Option("--layout", help="auto, or voc, yolo, coco, cvat, labelme")]
FROM = typer.Argument(help="folder, archive (tar, zip), data.yaml or JSON")


@app.command()
def check(
    path: Annotated[Path, FROM],
    layout: Source = "auto",
    page: Annotated[Path, typer.Option(help="HTML page with pictures of random and suspicious boxes")] = Path(
        "boxes.html"
    ),
) -> None:
    """Say what a data set holds, what is wrong with it, and draw some of its boxes."""
    from yoloslim.data.gallery import write_gallery, write_refusal
    from yoloslim.data.prepare import look
    from yoloslim.data.summary import show

    with tempfile.TemporaryDirectory(prefix="yoloslim-check-") as folder:
        prepared = Path(folder) / "prepared"
        try:
            report = _prepared(path, layout, prepared)
        except DataError as error:
            reason = str(error)

            def draw(found: "Found | None") -> None:
                write_refusal(found, page, str(path), reason)
                if found and any(item.image for item in found.items):
                    typer.echo(f"refused; what was read is drawn in {page}")

            look(_params(path, layout), prepared, draw)
            raise
        typer.echo(f"{path}: layout {report.get('layout', layout)}, {len(report['classes'])} classes")
        show(report)
        write_gallery(prepared, page, str(path), report)
    typer.echo(f"pictures: {page}")


@app.command()
def convert(
    path: Annotated[Path, FROM],
    target: Annotated[Path, typer.Argument(help="folder to write; must not be there")],
    to: Annotated[str, typer.Option("--to", help="voc, yolo or coco")],
    layout: Source = "auto",
) -> None:
    """Write the sound part of a data set in another layout: upright 8-bit JPEG, splits kept."""
    from typing import get_args

    from yoloslim.data.summary import show
    from yoloslim.data.writers import Layout, export_dataset
    from yoloslim.files import atomic_folder

    if to not in get_args(Layout):
        raise DataError(f"--to {to} is unknown; take one of {', '.join(get_args(Layout))}")
    if target.exists():
        raise DataError(f"{target} is there already; name a folder that is not")
    with tempfile.TemporaryDirectory(prefix=".yoloslim-convert-", dir=_existing(target)) as folder:
        prepared = Path(folder) / "prepared"
        report = _prepared(path, layout, prepared)
        with atomic_folder(target) as out:
            export_dataset(prepared, out, to)  # type: ignore[arg-type]
    show(report)
    typer.echo(f"{target}: {sum(report['images'].values())} images as {to}")


def _prepared(path: Path, layout: str, out: Path) -> dict[str, Any]:
    from yoloslim.data.prepare import prepare

    return prepare(_params(path, layout), out)


def _params(path: Path, layout: str) -> "DataParams":
    from yoloslim.config import DataParams
    from yoloslim.data.layouts import check_layout

    check_layout(layout)
    return DataParams.model_validate({"source": layout, "path": str(path)})


def _existing(path: Path) -> Path:
    parent = path.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    return parent
