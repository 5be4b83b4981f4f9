"""Compiled programs kept on disk, beside JAX's own cache and without its switches, which are the whole process's."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import platform

import jax
from jax.experimental import serialize_executable

from ... import cache
from ...fingerprints import libraries

CODE = "code"
_TROUBLE = (ValueError, NotImplementedError, TypeError, AttributeError)
_FLAGS = ("XLA_FLAGS", "JAX_PLATFORMS", "LIBTPU_INIT_ARGS")


def compiled(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """The compiled program of an earlier process, or a new one that is kept for the next.

    The function has to be jitted with ``keep_unused=True``: what it does not read is then still in the program's text,
    and no two functions of other arguments share it.
    """
    if cache.folder() is None:
        return lowered.compile()
    key = _key(lowered)
    content = cache.read(CODE, key)
    if content is not None:
        try:
            return _loaded(content, lowered)
        except Exception:  # whatever is wrong with it, it is compiled anew
            pass
    made = lowered.compile()
    try:
        cache.write(CODE, key, _bytes(made))
    except (*_TROUBLE, pickle.PicklingError, jax.errors.JaxRuntimeError):  # callbacks, say, cannot be kept
        pass
    return made


def _bytes(made) -> bytes:
    """A compiled program behind the numbers of the devices that it runs on."""
    devices = [(device.platform, device.id) for device in made.runtime_executable().local_devices()]
    return json.dumps(devices).encode() + b"\n" + serialize_executable.serialize(made)[0]


def _loaded(content: bytes, lowered) -> jax.stages.Compiled:
    numbers, _, code = content.partition(b"\n")
    asked = json.loads(numbers)
    known = {device.id: device for device in jax.local_devices(backend=asked[0][0])}
    devices = [known[number] for _, number in asked]
    return serialize_executable.deserialize_and_load(
        code, lowered.in_tree, lowered.out_tree, devices[0].client, devices
    )


def _key(lowered) -> str:
    """Digest of the program with its constants, wherever its lines stand, and of all else that compilation looks at."""
    known = f"{versions()}\n{_machine()}\n{lowered.args_info}\n{lowered.out_tree}\n"
    return hashlib.sha256(f"{known}{lowered.as_text()}".encode()).hexdigest()


@functools.cache
def versions() -> str:
    """Versions of the libraries that have a part in a trace or in its compilation."""
    return json.dumps(libraries())


def _machine() -> str:
    """The devices, the processor, whose instructions are in the code, and XLA's flags."""
    devices = [f"{device.platform} {device.device_kind}" for device in jax.devices()]
    return json.dumps([devices, _processor(), [os.environ.get(name) for name in _FLAGS]])


@functools.cache
def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line for line in file if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return f"{platform.machine()} {platform.processor()}"
