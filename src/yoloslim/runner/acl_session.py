"""A compiled model (.om) on an Ascend device, through Huawei's Python binding `acl` (pyACL)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .errors import RunnerError

ACL_ERRORS = {
    100000: "invalid parameter",
    100001: "ACL is not initialised",
    100002: "ACL was initialised twice",
    100003: "the model file cannot be used: missing, not readable or not an .om",
    100013: "the model cannot be parsed",
    100014: "the model cannot be read",
    100015: "the model's size is invalid: truncated on its way?",
    107002: "the thread has no context",
    107004: "the model was loaded in another context",
    145000: "invalid parameter in the graph engine",
    145001: "the graph engine is not initialised",
    145003: "no model is loaded under this number",
    145011: "the input does not fit the dynamic batch gears",
    200000: "out of memory",
    500000: "internal error",
    500002: "the graph engine failed",
    500003: "the runtime failed",
    500004: "the driver failed; look at `npu-smi info`",
    507008: "the model was compiled for another chip: set atc.soc_version to the name in `npu-smi info` with Ascend "
    "in front, and compile again",
    507011: "the model's execution failed",
    507015: "an AI Core raised an exception",
    545601: "the execution timed out",
}
"""Meaning of ACL's error numbers, after Huawei's headers."""

_FLOAT_TYPES = {0: np.float32, 1: np.float16}
_DYNAMIC_BATCH = "ascend_mbatch_shape_data"
_NORMAL_PAGES = 2

_users: Counter[tuple[Any, ...]] = Counter()
"""Sessions that use ACL itself, and each device: both are opened once in a process and closed with the last session."""


class AclError(RunnerError):
    """A call of ACL returned an error number; `code` holds it."""

    def __init__(self, step: str, code: int) -> None:
        meaning = ACL_ERRORS.get(code, "not in the list of known numbers")
        super().__init__("acl", f"acl.{step} returned {code}: {meaning}")
        self.code = code


def import_acl() -> Any:
    """The module `acl`.

    Raises:
        RunnerError: it is not there.
    """
    try:
        import acl
    except ImportError as error:
        raise RunnerError(
            "device",
            f"Python cannot import acl ({error}): source set_env.sh of Huawei's CANN runtime first, usually "
            "/usr/local/Ascend/nnrt/set_env.sh or /usr/local/Ascend/ascend-toolkit/set_env.sh",
        ) from error
    return acl


def _leave(key: tuple[Any, ...], end: Callable[[], int]) -> None:
    _users[key] -= 1
    if not _users[key]:
        del _users[key]
        end()


class AclSession:
    """One model on one device, with buffers that are allocated once.

    Not safe for two threads at a time, as ACL demands of one model.
    """

    def __init__(self, path: str, device: int = 0, gears: tuple[int, ...] = ()) -> None:
        """Load the model.

        Args:
            path: the .om file.
            device: number of the chip.
            gears: batch sizes it was compiled for with `--dynamic_batch_size`; empty for a fixed batch.

        Raises:
            RunnerError: there is no `acl`.
            AclError: ACL refused.
        """
        self._acl = import_acl()
        self._undo: list[tuple[Any, tuple[Any, ...]]] = []
        self._context: Any = None
        self._gears = tuple(sorted(gears))
        try:
            self._open(path, device)
        except Exception:
            self.close()
            raise

    def _open(self, path: str, device: int) -> None:
        acl = self._acl
        self._share("init", (acl,), acl.init, acl.finalize)
        use, leave = partial(acl.rt.set_device, device), partial(acl.rt.reset_device, device)
        self._share("rt.set_device", (acl, device), use, leave)
        self._context = self._value("rt.create_context", acl.rt.create_context(device))
        self._undo.append((acl.rt.destroy_context, (self._context,)))
        on_device = self._value("rt.get_run_mode", acl.rt.get_run_mode()) == 0
        self._to_device, self._to_host = (3, 3) if on_device else (1, 2)
        self._model = self._value("mdl.load_from_file", acl.mdl.load_from_file(path))
        self._undo.append((acl.mdl.unload, (self._model,)))
        self._description = acl.mdl.create_desc()
        self._undo.append((acl.mdl.destroy_desc, (self._description,)))
        self._check("mdl.get_desc", acl.mdl.get_desc(self._description, self._model))
        inputs, outputs = acl.mdl.get_num_inputs(self._description), acl.mdl.get_num_outputs(self._description)
        self._in = self._dataset([acl.mdl.get_input_size_by_index(self._description, i) for i in range(inputs)])
        self._out = self._dataset([acl.mdl.get_output_size_by_index(self._description, i) for i in range(outputs)])
        self.output_shapes = []
        self._types = []
        for index in range(outputs):
            dims = self._value("mdl.get_output_dims", acl.mdl.get_output_dims(self._description, index))["dims"]
            number = acl.mdl.get_output_data_type(self._description, index)
            if number not in _FLOAT_TYPES:
                raise RunnerError("model", f"output {index} has ACL data type {number}; compile with float outputs")
            self.output_shapes.append(tuple(int(d) for d in dims))
            self._types.append(_FLOAT_TYPES[number])
        self.batch = self._gears[-1] if self._gears else self.output_shapes[0][0]
        self.input_bytes = self._in[1][0][1] // self.batch

    def infer(self, images: np.ndarray) -> list[np.ndarray]:
        """Run the model.

        Args:
            images: uint8, one image a row of the first axis, in the layout that the model's AIPP expects.

        Returns:
            The outputs as float32, each with the batch in front, in the model's order.

        Raises:
            RunnerError: the images have another size than the model takes.
            AclError: ACL refused.
        """
        count = len(images)
        if images.dtype != np.uint8 or images.nbytes != count * self.input_bytes:
            raise RunnerError(
                "model",
                f"the model takes {self.input_bytes} bytes an image, not {images.nbytes // max(1, count)} of "
                f"{images.dtype}: it was compiled for another size or AIPP input",
            )
        acl = self._acl
        self._check("rt.set_context", acl.rt.set_context(self._context))  # another session may have set its own
        gear = self._gear(count)
        data = images.tobytes() + bytes((gear - count) * self.input_bytes)
        pointer, size = self._in[1][0]
        source, data = self._host(data)
        self._check("rt.memcpy", acl.rt.memcpy(pointer, size, source, len(data), self._to_device))
        self._check("mdl.execute", acl.mdl.execute(self._model, self._in[0], self._out[0]))
        outputs = []
        for (pointer, size), shape, kind in zip(self._out[1], self.output_shapes, self._types):
            target, buffer = self._host(bytes(size))
            self._check("rt.memcpy", acl.rt.memcpy(target, size, pointer, size, self._to_host))
            values = np.frombuffer(buffer, kind, int(np.prod(shape[1:])) * count)
            outputs.append(values.reshape((count, *shape[1:])).astype(np.float32))
        return outputs

    def _host(self, data: bytes) -> tuple[int, Any]:
        """Address of host memory with these bytes, and the object that owns it and must live as long."""
        util = self._acl.util
        if hasattr(util, "bytes_to_ptr"):
            return util.bytes_to_ptr(data), data
        array = np.frombuffer(data, np.uint8).copy()  # CANN before 5.1
        return util.numpy_to_ptr(array), array

    def close(self) -> None:
        """Give everything back, last first; errors are not reported, since nothing can be done about them."""
        if self._undo and self._context is not None:
            self._acl.rt.set_context(self._context)
        while self._undo:
            function, arguments = self._undo.pop()
            function(*arguments)

    def _share(self, step: str, key: tuple[Any, ...], start: Callable[[], int], end: Callable[[], int]) -> None:
        """Start what the sessions of a process share, unless another one has; it ends with the last of them."""
        if not _users[key]:
            self._check(step, start())
        _users[key] += 1
        self._undo.append((_leave, (key, end)))

    def _gear(self, count: int) -> int:
        """The batch that will run: the smallest that holds `count` images."""
        gear = next((g for g in self._gears or (self.batch,) if g >= count), None)
        if gear is None:
            raise RunnerError("model", f"the model's largest batch is {self.batch}, not {count}")
        if not self._gears:
            return gear
        acl = self._acl
        found = acl.mdl.get_input_index_by_name(self._description, _DYNAMIC_BATCH)
        index = self._value("mdl.get_input_index_by_name", found)
        answer = acl.mdl.set_dynamic_batch_size(self._model, self._in[0], index, gear)
        self._check("mdl.set_dynamic_batch_size", answer)
        return gear

    def _dataset(self, sizes: list[int]) -> tuple[Any, list[tuple[int, int]]]:
        """A data set with one device buffer a size: its handle, and (pointer, bytes) of each buffer."""
        acl = self._acl
        handle, buffers = acl.mdl.create_dataset(), []
        self._undo.append((acl.mdl.destroy_dataset, (handle,)))
        for size in sizes:
            pointer = self._value("rt.malloc", acl.rt.malloc(size, _NORMAL_PAGES))
            self._undo.append((acl.rt.free, (pointer,)))
            buffer = acl.create_data_buffer(pointer, size)
            self._undo.append((acl.destroy_data_buffer, (buffer,)))
            self._value("mdl.add_dataset_buffer", acl.mdl.add_dataset_buffer(handle, buffer))
            buffers.append((pointer, size))
        return handle, buffers

    @staticmethod
    def _check(step: str, code: int) -> None:
        if code != 0:
            raise AclError(step, code)

    def _value(self, step: str, answer: tuple[Any, int]) -> Any:
        value, code = answer
        self._check(step, code)
        return value
