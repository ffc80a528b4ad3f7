"""A FAKE of Huawei's atc: it compiles nothing. It obeys the documented contract, so that its caller can be tested.

Behaviour is chosen by the environment variable FAKE_ATC: good (default), or one of the faults below. Like the real
one it checks its options, resolves relative paths from the working folder, appends .om to --output, prints code
lines after the verdict and exits non-zero on failure.
"""

import json
import os
import re
import sys
import time
from pathlib import Path

import onnx

FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
SUCCESS = "ATC run success, welcome to the next use."


class Fault(Exception):
    pass


def parse(arguments: list[str]) -> dict[str, str]:
    options = {}
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not equals:
            raise Fault(f"E10005: Value [{argument}] is not an option.")
        options[name] = value
    for name in ("framework", "model", "output", "soc_version"):
        if not options.get(name):
            raise Fault(f"E10007: [--{name}] is required.")
    return options


def check(options: dict[str, str]) -> None:
    graph = onnx.load(options["model"])
    if not re.fullmatch(r"Ascend310(P[13]|B[14])?", options["soc_version"]):
        raise Fault(f"E10001: Value [{options['soc_version']}] for parameter [--soc_version] is invalid.")
    if graph.opset_import[0].version != 11:
        raise Fault(f"E16002: No parser is registered for Op [ai.onnx::{graph.opset_import[0].version}::Conv].")
    name, _, dims = options["input_shape"].partition(":")
    if name != graph.graph.input[0].name:
        raise Fault(f"E10016: Opname [{name}] specified in [--input_shape] is not found in the model.")
    nodes = {node.name for node in graph.graph.node}
    for item in options["out_nodes"].split(";"):
        if not re.fullmatch(r"[^:]+:\d+", item):
            form = "the correct format is [node_name1:0;node_name1:1;node_name2:0]"
            raise Fault(f"E10001: Value [{item}] for parameter [--out_nodes] is invalid. Reason: {form}")
        if item.split(":")[0] not in nodes:
            raise Fault(f"E10016: Opname [{item.split(':')[0]}] specified in [--out_nodes] is not found.")
    config = Path(options["insert_op_conf"]).read_text()
    batch, _, height, width = dims.split(",")
    gears = options.get("dynamic_batch_size", "")
    if gears and batch != "-1":
        raise Fault("E10031: dynamic batch size needs -1 in [--input_shape].")
    if gears and not 2 <= len(gears.split(",")) <= 100:
        raise Fault("E10035: the number of gears must be 2 to 100.")
    if not gears and batch == "-1":
        raise Fault("E10011: [--input_shape] has a dim that is not positive.")
    if f"src_image_size_w: {width}" not in config or f"src_image_size_h: {height}" not in config:
        raise Fault("E10052: AIPP configuration is invalid. Reason: size.")


def fake_om(options: dict[str, str]) -> bytes:
    """What the fake `acl` of tests/runner/fakes can run: a line of facts, then the graph as it was."""
    facts = {
        "soc_version": options["soc_version"],
        "aipp_input": "nv12" if "YUV420SP_U8" in Path(options["insert_op_conf"]).read_text() else "rgb",
        "gears": [int(gear) for gear in options.get("dynamic_batch_size", "").split(",") if gear],
    }
    return b"FAKE OM " + json.dumps(facts).encode() + b"\n" + Path(options["model"]).read_bytes()


def main() -> int:
    fault = os.environ.get("FAKE_ATC", "good")
    print("ATC start working now, please wait for a moment.", flush=True)
    if fault == "hang":
        time.sleep(600)
    try:
        options = parse(sys.argv[1:])
        check(options)
        if fault == "unknown-code":
            raise Fault("EZ1234: something nobody has seen")
    except Fault as error:
        print(FAILED)
        print(error)
        return 255
    if fault == "crash":
        print("Segmentation fault")
        return 139
    if fault != "no-file":
        Path(options["output"] + ".om").write_bytes(b"" if fault == "empty-file" else fake_om(options))
    if fault == "old-file":
        os.utime(options["output"] + ".om", (0, 0))
    if fault != "silent":
        print(SUCCESS)
    print("W11001: Op [Slice_4] does not hit the high-priority operator information library")
    return 0


sys.exit(main())
