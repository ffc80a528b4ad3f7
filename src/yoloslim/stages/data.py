"""Stage `data`: any source of images and boxes becomes one folder in VOC layout, with a validation report."""

from yoloslim.config import Params
from yoloslim.data.prepare import prepare
from yoloslim.data.source_state import remember
from yoloslim.data.summary import show
from yoloslim.files import write_json
from yoloslim.stages.common import DATA, METRICS, stage


def run(params: Params) -> None:
    """Write data/voc and metrics/data.json."""
    report = prepare(params.data, DATA)
    counts = {f"{split}_images": count for split, count in report["images"].items()}
    boxes = {f"{split}_boxes": sum(report["boxes"][split].values()) for split in report["boxes"]}
    problems = {
        "classes": len(report["classes"]),
        "dropped_boxes": len(report["dropped_boxes"]),
        "left_out_images": len(report["left_out"]),
        "duplicates": len(report["duplicates"]),
    }
    write_json(METRICS / "data.json", counts | boxes | problems)
    remember(params.data)
    show(report)


def main() -> None:
    """Run the stage."""
    stage(run)
