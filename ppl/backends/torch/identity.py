"""Digest of a function of tensors: the operations that it makes of them, and every constant in these."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from ...fingerprints import array_bytes


class Listening(TorchDispatchMode):
    """Writes down operations as they are made; tensors go by number, those from outside by their content.

    Attributes
    ----------
    captured : int
        Numbers of the tensors from outside.
    leaving : bool
        Whether numbers that depend on an argument were handed to Python: other arguments may take another way.
    """

    def __init__(self, arguments):
        super().__init__()
        self._digest, self._numbers, self._bound = hashlib.sha256(), WeakIdKeyDictionary(), set()
        self._count, self.captured, self.leaving = 0, 0, False
        for tensor in pytree.tree_leaves(arguments):
            if isinstance(tensor, torch.Tensor):
                self._bound.add(self._number(tensor))
                self._put(f"{tensor.dtype}{tuple(tensor.shape)}")

    def _put(self, words: str) -> None:
        self._digest.update(words.encode() + b";")

    def _number(self, tensor) -> int:
        self._numbers[tensor] = self._count
        self._count += 1
        return self._count - 1

    def _read(self, value) -> bool:
        """Write an operand down; says whether it depends on an argument."""
        if not isinstance(value, torch.Tensor):
            self._put(type(value).__name__ if " at 0x" in repr(value) else repr(value))
            return False
        known = self._numbers.get(value)
        if known is None:
            with torch.no_grad():
                self._digest.update(array_bytes(value.detach().numpy()))
            self._number(value)
            self.captured += value.numel()
            return False
        self._put(f"%{known}")
        return known in self._bound

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self._put(str(func))
        operands, tree = pytree.tree_flatten((args, kwargs))
        self._put(str(tree))
        bound = any([self._read(value) for value in operands])
        found = func(*args, **kwargs)
        for value in pytree.tree_leaves(found):
            if isinstance(value, torch.Tensor):
                number = self._number(value)
                if bound:
                    self._bound.add(number)
            elif bound:
                self.leaving = True
        return found

    def result(self, found) -> str:
        """The digest, once it is said which tensors the function gives."""
        for value in pytree.tree_leaves(found):
            self._read(value)
        return self._digest.hexdigest()


def traced(fn: Callable, *args) -> tuple[str, int, bool]:
    """Digest of the operations of `fn`, the same in another process; numbers that it captures; whether they may be others
    elsewhere."""
    with Listening(args) as heard:
        found = fn(*args)
    return heard.result(found), heard.captured, heard.leaving
