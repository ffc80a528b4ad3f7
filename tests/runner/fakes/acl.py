"""A FAKE of Huawei's `acl` (pyACL): no Ascend chip takes part. It runs what the fake `atc` packed, in ONNX Runtime.

It obeys the documented contract, so that its callers can be tested: values come as (value, ret), acts as ret, nothing
works before `init` and a context, a model runs in the context only that it was loaded in, resetting the device frees
all that is on it, models load on the chip only that they were compiled for, buffers must have the right size. FAKE_ACL
chooses a fault: `no-device`, `execute` (fails at the third call), `die` (kills the process there) or `old` (no
bytes_to_ptr, as in early CANN). FAKE_ACL_SOC is the chip. Calls are counted in `calls`.
"""

import ctypes
import itertools
import json
import os
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from yoloslim.runner import nv12

FAULT = os.environ.get("FAKE_ACL", "")
calls: Counter[str] = Counter()
_state: dict[str, Any] = {"ready": False, "context": None, "batch": None}
_memory: dict[int, Any] = {}
_models: dict[int, SimpleNamespace] = {}
_contexts: set[int] = set()
_numbers = itertools.count(1)


def init(config: str = "") -> int:
    calls["init"] += 1
    if _state["ready"]:
        return 100002
    _state["ready"] = True
    return 0


def finalize() -> int:
    calls["finalize"] += 1
    _state["ready"] = False
    return 0


def _set_device(device: int) -> int:
    return 0 if _state["ready"] and device == 0 and FAULT != "no-device" else 500004


def _reset_device(device: int) -> int:
    _contexts.clear()
    _models.clear()
    _memory.clear()
    return 0


def _create_context(device: int) -> tuple[int, int]:
    if not _state["ready"]:
        return 0, 100001
    number = next(_numbers)
    _contexts.add(number)
    return number, _set_context(number)


def _set_context(context: int) -> int:
    _state["context"] = context if context in _contexts else None
    return 0 if context in _contexts else 107002


def _destroy_context(context: int) -> int:
    _contexts.discard(context)
    if _state["context"] == context:
        _state["context"] = None
    return 0


def _malloc(size: int, policy: int) -> tuple[int, int]:
    assert policy in (0, 1, 2)
    buffer = ctypes.create_string_buffer(size)
    address = ctypes.addressof(buffer)
    _memory[address] = buffer
    calls["malloc"] += 1
    return address, 0


def _free(pointer: int) -> int:
    calls["free"] += 1
    return 0 if _memory.pop(pointer, None) is not None else 100000


def _memcpy(target: int, room: int, source: int, size: int, kind: int) -> int:
    on_device = [address in _memory for address in (source, target)]
    if size > room or kind not in (0, 1, 2, 3):
        return 100000
    if kind in (1, 2) and on_device != [kind == 2, kind == 1]:
        return 100000
    ctypes.memmove(target, source, size)
    return 0


def _load(path: str) -> tuple[int, int]:
    if not (_state["ready"] and _state["context"]):
        return 0, 100001
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            head, _, graph = stream.read().partition(b"\n")
    except OSError:
        return 0, 100003
    if not head.startswith(b"FAKE OM "):
        return 0, 100013
    facts = json.loads(head[len("FAKE OM ") :])
    if facts["soc_version"] != os.environ.get("FAKE_ACL_SOC", "Ascend310"):
        return 0, 507008
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    fixed, _, size, _ = session.get_inputs()[0].shape
    pixels = size * size * 3 // (2 if facts["aipp_input"] == "nv12" else 1)
    gears = facts["gears"]
    step = fixed if isinstance(fixed, int) else 1
    batch = max((step, *gears))
    shapes = [(batch, *o.shape[1:]) for o in session.get_outputs()]
    number = next(_numbers)
    sizes = {"size": size, "pixels": pixels, "batch": batch, "step": step, "shapes": shapes}
    _models[number] = SimpleNamespace(session=session, source=facts["aipp_input"], gears=gears, **sizes)
    _models[number].context = _state["context"]
    return number, 0


def _get_desc(description: dict[str, Any], model: int) -> int:
    description["model"] = _models[model]
    return 0 if model in _models else 145003


def _input_size(description: dict[str, Any], index: int) -> int:
    model = description["model"]
    return model.batch * model.pixels if index == 0 else 8


def _input_index(description: dict[str, Any], name: str) -> tuple[int, int]:
    return (1, 0) if description["model"].gears and name == "ascend_mbatch_shape_data" else (0, 100000)


def _set_batch(model: int, dataset: list[Any], index: int, batch: int) -> int:
    if index != 1 or batch not in _models[model].gears:
        return 145011
    _state["batch"] = batch
    return 0


def _execute(number: int, inputs: list[Any], outputs: list[Any]) -> int:
    calls["execute"] += 1
    if FAULT == "die" and calls["execute"] == 3:
        os._exit(137)
    if FAULT == "execute" and calls["execute"] == 3:
        return 507011
    model = _models.get(number)
    if model is None or len(inputs) != (2 if model.gears else 1):
        return 145003
    if model.context != _state["context"]:
        return 107004
    batch = _state["batch"] if model.gears else model.batch
    if batch is None:
        return 145011
    data = np.frombuffer(ctypes.string_at(inputs[0][0], batch * model.pixels), np.uint8)
    if model.source == "nv12":
        images = nv12.from_nv12(data.reshape(batch, -1, model.size))
    else:
        images = data.reshape(batch, model.size, model.size, 3)
    pixels = nv12.scale(images)
    name = model.session.get_inputs()[0].name
    parts = [model.session.run(None, {name: pixels[i : i + model.step]}) for i in range(0, batch, model.step)]
    for (pointer, size), level in zip(outputs, zip(*parts, strict=True), strict=True):
        heads = np.concatenate(level).astype(np.float32).tobytes()
        if len(heads) > size:
            return 100000
        ctypes.memmove(pointer, heads, len(heads))
    return 0


def _delete(*_: Any) -> int:
    return 0


def _add_buffer(dataset: list[Any], buffer: tuple[int, int]) -> tuple[list[Any], int]:
    dataset.append(buffer)
    return dataset, 0


def create_data_buffer(pointer: int, size: int) -> tuple[int, int]:
    return pointer, size


def destroy_data_buffer(buffer: tuple[int, int]) -> int:
    return 0


rt = SimpleNamespace(
    set_device=_set_device,
    reset_device=_reset_device,
    create_context=_create_context,
    set_context=_set_context,
    destroy_context=_destroy_context,
    get_run_mode=lambda: (1, 0),
    get_device_count=lambda: (0 if FAULT == "no-device" else 1, 0),
    malloc=_malloc,
    free=_free,
    memcpy=_memcpy,
)
mdl = SimpleNamespace(
    load_from_file=_load,
    unload=lambda number: 0 if _models.pop(number, None) else 145003,
    create_desc=dict,
    get_desc=_get_desc,
    destroy_desc=_delete,
    get_num_inputs=lambda d: 2 if d["model"].gears else 1,
    get_num_outputs=lambda d: len(d["model"].shapes),
    get_input_size_by_index=_input_size,
    get_output_size_by_index=lambda d, i: 4 * int(np.prod(d["model"].shapes[i])),
    get_output_dims=lambda d, i: ({"dims": list(d["model"].shapes[i])}, 0),
    get_output_data_type=lambda d, i: 0,
    get_input_index_by_name=_input_index,
    set_dynamic_batch_size=_set_batch,
    create_dataset=list,
    destroy_dataset=_delete,
    add_dataset_buffer=_add_buffer,
    execute=_execute,
)
util = SimpleNamespace(numpy_to_ptr=lambda array: array.ctypes.data)
if FAULT != "old":
    util.bytes_to_ptr = lambda data: ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
