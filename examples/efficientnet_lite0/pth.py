"""A PyTorch checkpoint in the legacy (before 1.6) format, without PyTorch.

The file is five pickles (magic number, protocol, system, the state, the keys of
its storages), then each storage as a little-endian count and its elements.
"""

import collections
import pickle
import struct

import numpy as np

TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8", "DoubleStorage": "<f8", "IntStorage": "<i4"}


class _Tensor:
    """A view of a storage that is not read yet."""

    def __init__(self, storage, offset, size, stride):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, saved):
        kind, storage, key, _location, count, _view = saved
        assert kind == "storage"
        return (storage, key, count)

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _Tensor(storage, offset, size, stride)
        if module == "torch" and name in TYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a state dict")


def load(path):
    """Name -> array, contiguous."""
    with open(path, "rb") as file:
        magic, _protocol, _system = (pickle.load(file) for _ in range(3))
        assert magic == 0x1950A86A20F9469CFC6C, "no legacy checkpoint"
        state = _Unpickler(file).load()
        keys = pickle.load(file)
        kinds = {t.storage[1]: t.storage[0] for t in state.values()}
        storages = {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            dtype = np.dtype(TYPES[kinds[key]])
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    arrays = {}
    for name, t in state.items():
        flat = storages[t.storage[1]][t.offset :]
        strides = [s * flat.itemsize for s in t.stride]
        arrays[name] = np.lib.stride_tricks.as_strided(flat, t.size, strides).copy()
    return arrays
