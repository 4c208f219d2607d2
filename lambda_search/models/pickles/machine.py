"""A machine for the opcodes of pickle, protocols 2 to 5, that can only make data.

It works on the opcodes that the standard library's `pickletools` parses, with loops instead of
recursion, and touches no attribute of anything. Names go through `find`, which decides; calls
reach nothing but what `find` gave. Memory and time grow with the length of the file, not with the
numbers in it: every opcode, and every element that a call is given, is charged to one budget.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from collections.abc import Iterable
from typing import IO
from typing import Any

from lambda_search.models.pickles.values import Function
from lambda_search.models.pickles.values import InertClass
from lambda_search.models.pickles.values import InertObject
from lambda_search.models.pickles.values import Malformed
from lambda_search.models.pickles.values import build
from lambda_search.models.pickles.values import check_key

__all__ = ["Budget", "Find", "Machine"]

Find = Callable[[str, str], Any]
_FREE = 1 << 28
_UNIT, _OBJECT = 64, 512
_COST = {"EMPTY_LIST": 256, "EMPTY_DICT": 256, "MARK": 256, "EMPTY_SET": 512, "FROZENSET": 512}
_LONGEST_NAME, _WIDEST_NUMBER, _FARTHEST_MEMO = 256, 1024, 1 << 32
_BYTES, _CONTAINERS = (str, bytes, bytearray), (tuple, list, dict, set, frozenset)


class Budget:
    """The bytes that all pickles of one file together may still take, whatever they repeat.

    An opcode or an element counts as 64 bytes, which is also about a microsecond. Four million of
    them are free, many times what checkpoints have; beyond, the file has to be as long itself.

    Arguments:
        length: bytes in the file.
    """

    def __init__(self, length: int) -> None:
        # Protocol 2 copies bytes on their way from text through bytes to an array or a tensor.
        self._left = _FREE + 4 * length

    def spend(self, size: int) -> None:
        """Raises Malformed once more than all is spent."""
        self._left -= size
        if self._left < 0:
            raise Malformed("it unfolds to more than it holds")

    def spend_on(self, values: tuple[Any, ...]) -> None:
        """Spends on what a call copies or walks through, one level deep."""
        self.spend(_UNIT * len(values))
        for value in values:
            if isinstance(value, _BYTES):
                self.spend(len(value))
            elif isinstance(value, _CONTAINERS):
                self.spend(_UNIT * len(value))


class Machine:
    """Reads one pickle.

    Arguments:
        stream: where it begins; is left behind its end. `read` must not reserve more memory than
            the file has left, whatever number it is asked for.
        find: (module, name) → what a pickle gets for this name; raises if it must not have it.
        budget: of the file that the pickle lies in.
        persistent: (id) → what a pickle gets for an object kept outside it, if there are such.
    """

    def __init__(
        self,
        stream: IO[bytes],
        find: Find,
        budget: Budget,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._stream = stream
        self._find = find
        self._budget = budget
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The value of the pickle.

        Raises:
            ValueError, LookupError, TypeError, OverflowError: if the pickle makes no sense.
        """
        for opcode, argument, _ in pickletools.genops(self._stream):
            self._budget.spend(_COST.get(opcode.name, _UNIT))
            if type(argument) is int and argument.bit_length() > _WIDEST_NUMBER:
                raise Malformed("it has a huge number")
            self._step(opcode.name, argument)
        return self._stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                if not 0 <= argument < _FARTHEST_MEMO:
                    raise Malformed("it has a huge number")
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(self._memo[argument])
            case "BININT" | "BININT1" | "BININT2" | "INT" | "LONG" | "LONG1" | "LONG4":
                stack.append(argument)
            case "SHORT_BINUNICODE" | "BINUNICODE" | "BINUNICODE8" | "UNICODE":
                stack.append(argument)
            case "SHORT_BINSTRING" | "BINSTRING" | "STRING" | "BINFLOAT" | "FLOAT":
                stack.append(argument)
            case "SHORT_BINBYTES" | "BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "MARK":
                self._marked.append(stack)
                self._stack = []
            case "POP":
                self._pop()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "GLOBAL":
                stack.append(self._named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(self._named(module, attribute))
            case "REDUCE" | "NEWOBJ":
                arguments, target = stack.pop(), stack.pop()
                stack.append(self._call(target, arguments))
            case "NEWOBJ_EX":
                named, arguments, target = stack.pop(), stack.pop(), stack.pop()
                stack.append(self._call(target, arguments, named))
            case "INST":
                target = self._named(*argument.split(" ", 1))
                arguments = tuple(self._since_mark())
                self._stack.append(self._call(target, arguments))
            case "OBJ":
                target, *rest = self._since_mark()
                self._stack.append(self._call(target, tuple(rest)))
            case "BUILD":
                state = stack.pop()
                if isinstance(state, tuple):
                    self._budget.spend_on(state)
                build(stack[-1], state)
            case "BINPERSID":
                if self._persistent is None:
                    raise Malformed("it refers to objects outside it")
                self._budget.spend(_OBJECT)
                stack.append(self._persistent(stack.pop()))
            case _:
                self._collect(name)

    def _collect(self, name: str) -> None:
        """The opcodes of tuples, lists, dicts and sets."""
        stack = self._stack
        match name:
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_SET":
                stack.append(set())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                if len(stack) < count:
                    raise Malformed("a tuple in it has too few parts")
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                parts = self._since_mark()
                self._stack.append(tuple(parts))
            case "LIST":
                parts = self._since_mark()
                self._stack.append(parts)
            case "DICT":
                parts = self._since_mark()
                self._stack.append({})
                _set_items(self._stack[-1], parts)
            case "FROZENSET":
                parts = self._since_mark()
                self._stack.append(frozenset(map(check_key, parts)))
            case "APPEND":
                value = stack.pop()
                _extend(stack[-1], [value])
            case "APPENDS" | "ADDITEMS":
                parts = self._since_mark()
                _extend(self._stack[-1], parts)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack[-1], [key, value])
            case "SETITEMS":
                parts = self._since_mark()
                _set_items(self._stack[-1], parts)
            case _:  # registered extensions, buffers beside the file, ids as text
                raise Malformed(f"it uses '{name}', which no checkpoint needs")

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _since_mark(self) -> list[Any]:
        """Takes away what was pushed after the last mark, and the mark."""
        parts = self._stack
        self._stack = self._marked.pop()
        return parts

    def _named(self, module: Any, attribute: Any) -> Any:
        if type(module) is not str or type(attribute) is not str:
            raise Malformed("a name in it is not text")
        if max(len(module), len(attribute)) > _LONGEST_NAME:
            raise Malformed("it asks for a name that is too long")
        self._budget.spend(_OBJECT)
        return self._find(module, attribute)

    def _call(self, target: Any, arguments: Any, named: Any = None) -> Any:
        if not isinstance(arguments, tuple) or not isinstance(named, dict | None):
            raise Malformed("a call in it has no arguments")
        self._budget.spend(_OBJECT)
        if isinstance(target, InertClass):
            return InertObject(target.name, arguments, named or {})
        if isinstance(target, Function) and not named:
            self._budget.spend_on(arguments)
            return target.call(*arguments)
        raise Malformed(f"it calls a {type(target).__name__}")


def _extend(target: Any, values: list[Any]) -> None:
    if isinstance(target, InertObject):
        target.entries.extend(values)
    elif type(target) is list:
        target.extend(values)
    elif type(target) is set:
        target.update(map(check_key, values))
    else:
        raise Malformed(f"it appends to a {type(target).__name__}")


def _set_items(target: Any, parts: Iterable[Any]) -> None:
    into = target.items if isinstance(target, InertObject) else target
    if type(into) is not dict:
        raise Malformed(f"it sets items of a {type(target).__name__}")
    keys = iter(parts)
    for key, value in zip(keys, keys, strict=True):
        into[check_key(key)] = value
