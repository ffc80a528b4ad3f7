"""What each operation does to channels: the tables, and how to add to them."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import fx, nn

from yoloslim.errors import PruneError, TraceError
from yoloslim.models.split_blocks import AttentionCore, Split
from yoloslim.nearest import check_name

OpKind = Literal["unary", "binary", "spatial", "reduce", "along", "mix", "move"]
"""What an operation may do to channels; see `register_op`."""

UNARY_MODULES = (
    nn.AlphaDropout,
    nn.CELU,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.ELU,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softsign,
    nn.Tanh,
)
SPATIAL_MODULES = (
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.ReflectionPad1d,
    nn.ReflectionPad2d,
    nn.ReplicationPad1d,
    nn.ReplicationPad2d,
    nn.Upsample,
    nn.UpsamplingBilinear2d,
    nn.UpsamplingNearest2d,
    nn.ZeroPad1d,
    nn.ZeroPad2d,
    nn.ZeroPad3d,
)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCENORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
LAYERNORMS = (nn.LayerNorm, nn.RMSNorm)
MODULE_KINDS: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
    ("convolution", CONVOLUTIONS + TRANSPOSED),
    ("batchnorm", BATCHNORMS + INSTANCENORMS),
    ("layernorm", LAYERNORMS),
    ("groupnorm", (nn.GroupNorm,)),
    ("linear", (nn.Linear,)),
    ("embedding", (nn.Embedding,)),
    ("prelu", (nn.PReLU,)),
    ("unary", UNARY_MODULES),
    ("spatial", SPATIAL_MODULES),
    ("along", (nn.Softmax, nn.LogSoftmax)),
    ("move", (nn.Flatten,)),
    ("shuffle", (nn.ChannelShuffle,)),
    ("parts", (Split,)),
    ("attention", (AttentionCore,)),
    ("mix", (nn.MultiheadAttention, nn.LSTM, nn.GRU, nn.RNN, nn.Bilinear)),
)
NAME_KINDS: dict[str, str] = {
    name: kind
    for kind, names in {
        "unary": "abs alpha_dropout bfloat16 bool celu clamp clamp_max clamp_min clip clone contiguous cos detach "
        "double dropout dropout1d dropout2d dropout3d elu erf exp expm1 feature_alpha_dropout float gelu "
        "half hardsigmoid hardswish hardtanh int leaky_relu log log1p logsigmoid long mish neg negative "
        "pow reciprocal relu relu6 rpow rsqrt selu sigmoid silu sin softplus softsign sqrt square tan "
        "tanh to type type_as",
        "binary": "add addcdiv addcmul atan2 div divide eq fmod ge gt iadd imul isub itruediv le lerp lt masked_fill "
        "maximum minimum mul multiply ne rdiv rsub rtruediv sub subtract true_divide truediv where",
        "spatial": "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
        "adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d interpolate lp_pool2d max_pool1d "
        "max_pool2d max_pool3d upsample",
        "pad": "pad",
        "reduce": "all amax amin any linalg_vector_norm logsumexp mean norm sum",
        "along": "cumsum log_softmax normalize roll softmax",
        "mix": "argmax argsort baddbmm addmm cosine_similarity einsum gather glu grid_sample index_select max "
        "median min multi_head_attention_forward prod sort std take_along_dim topk unfold fold var var_mean "
        "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear layer_norm "
        "rms_norm group_norm instance_norm batch_norm embedding",
        "constant": "empty_like full_like new_empty new_full new_ones new_tensor new_zeros ones_like rand_like "
        "randn_like zeros_like",
        "move": "cat concat flatten flip movedim moveaxis permute swapaxes swapdims t transpose unsqueeze",
        "squeeze": "squeeze",
        "stack": "stack",
        "view": "reshape reshape_as unflatten view",
        "expand": "broadcast_to expand expand_as repeat",
        "split": "chunk split split_with_sizes tensor_split unbind",
        "getitem": "getitem narrow select",
        "setitem": "setitem",
        "matmul": "bmm matmul",
        "dot_product": "scaled_dot_product_attention",
        "shuffle": "channel_shuffle",
        "pixels": "pixel_shuffle pixel_unshuffle",
    }.items()
    for name in names.split()
}
_registered: dict[Any, str] = {}


def register_op(operation: str | Callable[..., Any], kind: OpKind) -> None:
    """Teach pruning what an operation does to channels.

    Args:
        operation: a function (`torch.special.i0`), its name (also of a Tensor method), or a module class, whose
            modules then count as one operation.
        kind: `unary` works elementwise on one tensor; `binary` elementwise on several; `spatial` on each channel
            (N, C, ...) by itself, and may change the positions; `reduce` takes `dim` and `keepdim` as `mean` does;
            `along` works along `dim`, and keeps the shape; `move` only moves values, so that it runs on integers,
            too; `mix` needs every channel, so that nothing before it may go: always right, and the least.

    Raises:
        PruneError: no such kind, or nothing that could be an operation.
    """
    if not callable(operation) and not (isinstance(operation, str) and operation):
        raise PruneError(f"operation {operation!r} is neither a function, nor its name, nor a module class")
    if isinstance(operation, nn.Module):
        raise PruneError(f"operation is a {type(operation).__name__}; give its class: {type(operation).__name__}")
    check_name("kind", kind, get_args(OpKind), PruneError)
    _registered[operation.strip("_") if isinstance(operation, str) else operation] = kind


def leaf_modules() -> tuple[type[nn.Module], ...]:
    """Classes whose modules are one operation each."""
    taught = [kind for kind in _registered if isinstance(kind, type)]
    return (*(kind for _, kinds in MODULE_KINDS for kind in kinds), *taught)


def describe(node: fx.Node) -> str:
    """Name a node for people: what it does, and the module whose code does it."""
    what = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"node '{node.name}' ({node.op} {what}) in module '{scope_of(node) or '<root>'}'"


def name_of(node: fx.Node) -> str:
    """Name of a function or method without the underscores of its in-place form; of a module, its path."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return name.strip("_")


def scope_of(node: fx.Node) -> str:
    """Path of the innermost module whose forward made this node; '' is the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    return next(reversed(stack.values()))[0] if stack else ""


def kind_of(node: fx.Node, module: nn.Module | None, varying: bool = True) -> str:
    """Which method of `AbstractInterpreter` understands a node.

    Args:
        node: of the graph.
        module: which it calls, if it does.
        varying: whether it works on something computed from an input; what only parameters go through need not be
            understood: they stay.

    Raises:
        TraceError: none does; shows how to teach it.
    """
    if module is not None:
        if type(module) in _registered:
            return _registered[type(module)]
        for kind, types in MODULE_KINDS:
            if isinstance(module, types):
                return kind
        name = type(module).__name__
    else:
        name = name_of(node)
        found = _registered.get(node.target) or _registered.get(name) or NAME_KINDS.get(name)
        if found:
            return found
    if not varying:
        return "mix"
    raise TraceError(
        f"{describe(node)}: what '{name}' does to channels is not understood. Three lines before pruning teach it, if "
        f"it works on each value by itself:\n\n    import yoloslim\n    # {name}: unary, as ReLU is\n"
        f'    yoloslim.register_op({_reference(node, module)}, "unary")\n\nOther kinds: '
        '"binary" joins tensors value by value; "spatial" works on each channel by itself, as pooling does; '
        '"reduce" and "along" take a dim, as mean and softmax do; "move" only moves values; "mix" needs all '
        "channels, so that nothing before it is cut: that one is always right"
    )


def _reference(node: fx.Node, module: nn.Module | None) -> str:
    """How Python code names an operation."""
    if module is not None:
        return type(module).__name__
    return f'"{name_of(node)}"'
