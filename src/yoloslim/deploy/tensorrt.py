"""TensorRT's engines, `model.engine`, built from ONNX by the GPU that will run them.

Networks are strongly typed: each tensor has the type that the graph gives it. TensorRT 11 knows no other way, and 10
takes it. So fp16 is a graph in fp16, and int8 one with QuantizeLinear and DequantizeLinear, which TensorRT fuses. TF32,
which keeps ten bits of an fp32 factor, is off: fp32 means fp32.
"""

from pathlib import Path

import onnx

from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor.tensorrt import logger, tensorrt

ENGINE = "model.engine"
USUAL, MOST = 8, 32
"""Images a call that an engine of open batch is tuned for, and that it takes at most."""


def write_engine(graph: onnx.ModelProto, folder: Path) -> list[str]:
    """Build the engine of an ONNX graph into `folder`; takes minutes.

    Raises:
        DeployError: TensorRT or a GPU is missing, it does not know an operation, or the GPU's memory does not do.
    """
    trt = tensorrt()
    log = logger(trt)
    try:
        builder = trt.Builder(log)
    except (TypeError, RuntimeError) as error:  # its constructor gave nothing
        raise DeployError(f"TensorRT does not start on this GPU: {log.reason()}") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph.SerializeToString()):
        reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)) or log.reason()
        raise DeployError(f"TensorRT does not take the graph: {reasons}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    batch, *sides = (side.dim_value for side in graph.graph.input[0].type.tensor_type.shape.dim)
    if not batch:
        profile = builder.create_optimization_profile()
        profile.set_shape(graph.graph.input[0].name, *((count, *sides) for count in (1, USUAL, MOST)))
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise DeployError(f"TensorRT did not build an engine: {log.reason()}")
    (folder / ENGINE).write_bytes(plan)
    return [ENGINE]


def write_engine_fp16(graph: onnx.ModelProto, folder: Path) -> list[str]:
    """Likewise in fp16 throughout; input and outputs stay fp32.

    Raises:
        DeployError: see `write_engine`.
    """
    return write_engine(in_fp16(graph), folder)


def in_fp16(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in fp16, between an input and outputs in fp32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    converted: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return converted
