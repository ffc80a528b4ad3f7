"""Read a pickle as data: classes become inert records, nothing that it names is ever imported or called.

`pickle.Unpickler` is not used at all. The opcodes are decoded by `pickletools` and carried out here on lists,
dictionaries and records. Of the callables a pickle may name, a fixed few build plain data; a call of any other is
refused with the name of what the file tried. The protocol is described in CPython's `Lib/pickletools.py`.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from yoloslim.errors import WeightsError
from yoloslim.models.foreign.records import Global, Record, describe, shorten


class Stream(Protocol):
    """Bytes with a position: an open `io.BytesIO` or `mmap.mmap`."""

    def read(self, n: int, /) -> bytes:
        """At most n bytes from the position on."""

    def readline(self) -> bytes:
        """Bytes up to the next line end."""


Call = Callable[..., Any]

MAX_INT_BITS = 128
"""No honest integer is longer; hashing millions of digits again and again would take for ever."""

_PLAIN: dict[str, Call] = {
    "collections.OrderedDict": lambda: {},
    "collections.defaultdict": lambda factory=None: {},
    "torch.Size": lambda sizes=(): _expect(sizes, tuple),
}
"""Callables that give plain data."""

_BUILTINS = ("getattr", "bytearray", "complex", "frozenset", "range", "set", "slice")
_PATHS = ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
_INERT: dict[str, tuple[str, ...]] = {
    "__builtin__": _BUILTINS,
    "_codecs": ("encode",),
    "argparse": ("Namespace",),
    "builtins": _BUILTINS,
    "collections": ("Counter", "deque"),
    "copy_reg": ("_reconstructor",),
    "copyreg": ("_reconstructor",),
    "datetime": ("date", "datetime", "timedelta", "timezone"),
    "numpy": ("dtype", "ndarray"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "torch": ("device",),
}
"""Callables met in honest checkpoints whose results are of no use here: the call becomes a record."""


def read_pickle(stream: Stream, calls: Mapping[str, Call], persistent: Call) -> Any:
    """Carry out one pickle up to its STOP; the stream stands behind it afterwards.

    Args:
        stream: where the pickle begins.
        calls: what may be called besides dictionaries and the like, by full name, and what stands for it here.
        persistent: gives the object for a persistent id.

    Raises:
        WeightsError: damaged, or it asks for a call that is not allowed.
    """
    machine = _Machine({**_PLAIN, **calls}, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
            machine.step(opcode.name, argument)
        return machine.pop()
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise WeightsError(f"its pickle is damaged ({type(error).__name__}: {shorten(str(error))})") from error


class _Machine:
    """The stack machine; one `_op_*` method or table entry an opcode."""

    def __init__(self, calls: Mapping[str, Call], persistent: Call) -> None:
        self.calls, self.persistent = calls, persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            if isinstance(argument, int) and argument.bit_length() > MAX_INT_BITS:
                raise OverflowError(f"an integer of {argument.bit_length()} bits")
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _IGNORED:
            pass
        else:
            operation = getattr(self, f"_op_{name.lower()}", None)
            if operation is None:
                raise WeightsError(f"it is refused: its pickle uses {name}, which no checkpoint needs")
            operation(argument)

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        above, self.stack = self.stack, self.marks.pop()
        return above

    def _op_mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _op_pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def _op_pop_mark(self, _: Any) -> None:
        self.pop_mark()

    def _op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _op_put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    _op_binput = _op_long_binput = _op_put

    def _op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _op_get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    _op_binget = _op_long_binget = _op_get

    def _op_tuple(self, _: Any) -> None:
        parts = self.pop_mark()
        self.stack.append(tuple(parts))

    def _tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("stack underflow")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _op_tuple1(self, _: Any) -> None:
        self._tuple_of(1)

    def _op_tuple2(self, _: Any) -> None:
        self._tuple_of(2)

    def _op_tuple3(self, _: Any) -> None:
        self._tuple_of(3)

    def _op_list(self, _: Any) -> None:
        parts = self.pop_mark()
        self.stack.append(parts)

    _op_frozenset = _op_list  # a set would hash its elements; nothing here needs one

    def _op_dict(self, _: Any) -> None:
        parts = self.pop_mark()
        self.stack.append(_dictionary(parts))

    def _op_append(self, _: Any) -> None:
        self._extend([self.pop()])

    def _op_appends(self, _: Any) -> None:
        self._extend(self.pop_mark())

    _op_additems = _op_appends

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        (target.items if isinstance(target, Record) else _expect(target, list)).extend(values)

    def _op_setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self._update([key, value])

    def _op_setitems(self, _: Any) -> None:
        self._update(self.pop_mark())

    def _update(self, parts: list[Any]) -> None:
        target = self.stack[-1]
        (target.mapping if isinstance(target, Record) else _expect(target, dict)).update(_dictionary(parts))

    def _op_global(self, argument: str) -> None:
        self.stack.append(_global(argument))

    def _op_stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.stack.append(Global(_expect(module, str), _expect(name, str)))

    def _op_reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        self.stack.append(self._call(function, _expect(arguments, tuple)))

    def _op_inst(self, argument: str) -> None:
        arguments = self.pop_mark()
        self.stack.append(self._call(_global(argument), tuple(arguments)))

    def _op_obj(self, _: Any) -> None:
        function, *arguments = self.pop_mark() or [None]
        self.stack.append(self._call(function, tuple(arguments)))

    def _call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Stand in for a call: plain data, a record, or refusal."""
        name = str(_expect(function, Global))
        if name in self.calls:
            return self.calls[name](*arguments)
        if function.name not in _INERT.get(function.module, ()):
            raise WeightsError(
                f"it is refused: on loading it would call {name}{describe(arguments)}; "
                f"a checkpoint needs no such call, so do not open it with torch.load either"
            )
        if function.name == "_reconstructor" and arguments and isinstance(arguments[0], Global):
            return Record(arguments[0], arguments[1:])
        return Record(function, arguments)

    def _op_newobj(self, _: Any) -> None:
        arguments, cls = self.pop(), self.pop()
        self._new(cls, arguments)

    def _op_newobj_ex(self, _: Any) -> None:
        _keywords, arguments, cls = self.pop(), self.pop(), self.pop()
        self._new(cls, arguments)

    def _new(self, cls: Any, arguments: Any) -> None:
        _expect(arguments, tuple)
        plain = _PLAIN.get(str(_expect(cls, Global)))
        self.stack.append(plain(*arguments) if plain else Record(cls, arguments))

    def _op_build(self, _: Any) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Global):
            raise WeightsError(f"it is refused: on loading it would change {target}")
        if not isinstance(target, Record):
            return  # attributes of a dictionary or tensor, such as the `_metadata` of a state dict
        if target.state:  # and merging copies, which a hostile file could repeat until memory is full
            raise ValueError("an object with two states")
        attributes = state[0] if isinstance(state, tuple) and state else state  # (attributes, slots) or attributes
        target.state = attributes if isinstance(attributes, dict) else {}

    def _op_binpersid(self, _: Any) -> None:
        self.stack.append(self.persistent(self.pop()))


_VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
)
"""Opcodes that push the value they carry."""

_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}

_IGNORED = frozenset(["PROTO", "FRAME", "STOP"])


def _global(argument: str) -> Global:
    module, _, name = argument.partition(" ")
    return Global(module, name)


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} stands where {kind.__name__} belongs")
    return value


def _dictionary(parts: list[Any]) -> dict[Any, Any]:
    """Keys and values in turn, as a dictionary. Nested tuples are no keys: hashing them can take for ever."""
    if len(parts) % 2:
        raise ValueError("a dictionary with a key but no value")
    for key in parts[::2]:
        for part in key if isinstance(key, tuple) else (key,):
            if not isinstance(part, (str, bytes, int, float, Record, Global, type(None))):
                raise TypeError(f"{type(part).__name__} as a key")
    return dict(zip(parts[::2], parts[1::2], strict=True))
