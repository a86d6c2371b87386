"""Relations laid out in shared memory, and results read from it, neither of them copied twice."""

import fcntl
import mmap
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from engine.cage.worker import shared_file

_SMALLEST = 1 << 20
_KEPT = 64 << 20  # of a worker's memory for relations; what is larger goes after its statement
_COPIED = 1 << 20  # results up to here are copied, so that they keep no file open
_ALIGNED = 64


@dataclass(slots=True)
class Arena:
    """One worker's memory for relations; its pages stay, so that writing into them is cheap."""

    file: int = -1
    capacity: int = 0
    _memory: mmap.mmap | None = field(default=None)

    def lay_out(self, relations: Mapping[str, pa.Table]) -> tuple[list[tuple[str, int, int]], bool]:
        """Write relations one after another; return their places, and whether the file is new."""
        places, stop = [], 0
        for name, table in relations.items():
            size = _size(table)
            places.append((name, stop, size))
            stop += -(-size // _ALIGNED) * _ALIGNED
        renewed = stop > self.capacity
        if renewed:
            self._renew(stop)
        for (_, start, size), table in zip(places, relations.values(), strict=True):
            assert self._memory is not None
            part = memoryview(self._memory)[start : start + size]
            _write(table, pa.FixedSizeBufferWriter(pa.py_buffer(part)))
        return places, renewed

    def trim(self) -> None:
        """Give memory back that only a large statement needed."""
        if self.capacity > _KEPT:
            self.close()

    def close(self) -> None:
        """Give all memory back."""
        if self.file >= 0:
            os.close(self.file)
        self.file, self.capacity, self._memory = -1, 0, None

    def _renew(self, size: int) -> None:
        self.close()
        self.file = shared_file("relations")
        self.capacity = max(_SMALLEST, 1 << (size - 1).bit_length())
        os.ftruncate(self.file, self.capacity)
        self._memory = mmap.mmap(self.file, self.capacity)
        if sys.platform == "linux":  # the worker may look, and no more
            fcntl.fcntl(
                self.file,
                fcntl.F_ADD_SEALS,
                _SEAL_FUTURE_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW,
            )


_SEAL_FUTURE_WRITE = 0x10  # not in fcntl's names


def _size(table: pa.Table) -> int:
    sink = pa.MockOutputStream()
    _write(table, sink)
    return sink.size()


def _write(table: pa.Table, sink: pa.NativeFile) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def read_result(file: int) -> pa.Table:
    """Read the table that a worker wrote; from now on nobody can change it."""
    size = os.fstat(file).st_size
    if sys.platform == "linux":
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    if size <= _COPIED:
        buffer = pa.py_buffer(os.pread(file, size, 0))
    else:
        buffer = pa.py_buffer(mmap.mmap(file, size, prot=mmap.PROT_READ))
    table = pa.ipc.open_stream(buffer).read_all()
    table.validate(full=True)
    return table
