"""A machine for the opcodes of pickle, protocols 2 to 5, that can only make data.

It works on the opcodes that the standard library's `pickletools` parses, with loops instead of
recursion, and touches no attribute of anything. Names go through `find`, which decides; calls
reach nothing but what `find` gave. Memory and time grow with the length of the file, not with the
numbers in it: a call that copies what it is given is charged for it.
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

__all__ = ["Find", "Machine"]

Find = Callable[[str, str], Any]
_SIZED = (str, bytes, bytearray, tuple, list, dict)


class Machine:
    """Reads one pickle.

    Arguments:
        stream: where it begins; is left behind its end. `read` must not reserve more memory than
            the file has left, whatever number it is asked for.
        find: (module, name) → what a pickle gets for this name; raises if it must not have it.
        length: bytes in the file; what all calls together are given is bounded in proportion.
        persistent: (id) → what a pickle gets for an object kept outside it, if there are such.
    """

    def __init__(
        self,
        stream: IO[bytes],
        find: Find,
        length: int,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._stream = stream
        self._find = find
        # Protocol 2 copies bytes on their way from text through bytes to an array or a tensor.
        self._left = 4 * length
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
            self._step(opcode.name, argument)
        return self._stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "BINPUT" | "LONG_BINPUT" | "PUT":
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
                module, _, attribute = argument.partition(" ")
                stack.append(self._find(module, attribute))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                if type(module) is not str or type(attribute) is not str:
                    raise Malformed("a name in it is not text")
                stack.append(self._find(module, attribute))
            case "REDUCE" | "NEWOBJ":
                arguments, target = stack.pop(), stack.pop()
                stack.append(self._call(target, arguments))
            case "NEWOBJ_EX":
                named, arguments, target = stack.pop(), stack.pop(), stack.pop()
                stack.append(self._call(target, arguments, named))
            case "INST":
                module, _, attribute = argument.partition(" ")
                target = self._find(module, attribute)
                arguments = tuple(self._since_mark())
                self._stack.append(self._call(target, arguments))
            case "OBJ":
                target, *rest = self._since_mark()
                self._stack.append(self._call(target, tuple(rest)))
            case "BUILD":
                state = stack.pop()
                if isinstance(state, tuple):
                    self._charge(state)
                build(stack[-1], state)
            case "BINPERSID":
                if self._persistent is None:
                    raise Malformed("it refers to objects outside it")
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

    def _call(self, target: Any, arguments: Any, named: Any = None) -> Any:
        if not isinstance(arguments, tuple) or not isinstance(named, dict | None):
            raise Malformed("a call in it has no arguments")
        if isinstance(target, InertClass):
            return InertObject(target.name, arguments, named or {})
        if isinstance(target, Function) and not named:
            self._charge(arguments)
            return target.call(*arguments)
        raise Malformed(f"it calls a {type(target).__name__}")

    def _charge(self, arguments: tuple[Any, ...]) -> None:
        """Counts what is copied. A pickle that names one thing often could fill any memory."""
        self._left -= sum(len(value) for value in arguments if isinstance(value, _SIZED))
        if self._left < 0:
            raise Malformed("it unfolds to more than it holds")


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
