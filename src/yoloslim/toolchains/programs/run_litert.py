"""Runs inside the toolchain `litert`: ONNX to .tflite by onnx2tf, without TensorFlow."""

from __future__ import annotations

import shutil
import tempfile
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any


class Refused(Exception):
    """A reason for people."""


def version() -> str:
    """Of onnx2tf."""
    return version_of("onnx2tf")


def convert(_: Any, source: str, target: str) -> tuple[dict[str, Any], list[Any]]:
    """Write an ONNX file with one input as fp32 .tflite: the input and outputs keep names, shapes and order."""
    import onnx
    import onnx2tf

    graph = onnx.load(source).graph
    with tempfile.TemporaryDirectory() as folder:
        onnx2tf.convert(
            input_onnx_file_path=source,
            output_folder_path=folder,
            keep_shape_absolutely_input_names=[graph.input[0].name],  # NCHW, as every other runtime is fed
            copy_onnx_input_output_names_to_tflite=True,
            not_use_onnxsim=True,
            non_verbose=True,
            disable_model_save=False,
        )
        found = sorted(Path(folder).glob("*_float32.tflite"))
        if not found:
            raise Refused("onnx2tf wrote no float32 model")
        shutil.copyfile(found[0], target)
    return {}, []


def self_test(arrays: Any, source: str) -> tuple[dict[str, Any], list[Any]]:
    """Convert a graph and run it on a float image (1, 3, S, S): what the converted graph gives."""
    from ai_edge_litert.interpreter import Interpreter

    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "model.tflite")
        convert((), source, target)
        run = Interpreter(target, num_threads=1).get_signature_runner()
        (name,) = run.get_input_details()
        return {}, list(run(**{name: arrays[0]}).values())


COMMANDS = {"convert": convert, "self_test": self_test}
