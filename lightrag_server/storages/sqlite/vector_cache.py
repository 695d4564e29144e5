"""A disposable int8 copy of one namespace's vectors: a file that all processes map and so share.

Layout: one page of header, then blocks of `BLOCK` rows; a block is its int8 rows followed by one float32 scale per
row, so every slot has a fixed place for ever. Scale 0 marks a free slot.

The header says which changes the file holds *at least*: rows are written before the header, and writing them again is
harmless, so a process killed half-way leaves a file that the next one completes. Nothing is synced to disk: the header
names the boot it was written in, and after a restart of the machine the file is built anew.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightrag_server.file_locks import HAS_FILE_LOCKS, locked
from lightrag_server.storages.sqlite.dot_products import dot_products

BLOCK = 4096
MAX_MAPPED_FILES = 64
DEVIATIONS = 4
"""Rounding to eight bits puts each component of two unit vectors off by up to half a step, evenly spread. What that
comes to in the difference of two products stays below so many standard deviations but for once in ten thousand."""
MOST_NEARLY_EQUAL = 300
_HEADER_BYTES = 4096
_SCALE_BYTES = 4
_SMALLEST_SCALE = np.float32(1e-30)
_FIELDS = struct.Struct("<8s16s36sIQQ")
_CHECKSUM = struct.Struct("<I")
_MAGIC = b"lrsvec\x00\x01"

Floats = NDArray[np.float32]
Slots = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mark:
    """What is held: the vectors of `epoch` as of `change`, in the first `slots` places."""

    epoch: bytes
    dimension: int
    slots: int
    change: int


NOTHING = Mark(b"", 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Changes:
    """New contents of slots, ascending; `vectors` is (n, d), a row of zeros with `is_free` where nothing is left."""

    slots: Slots
    vectors: Floats
    is_free: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A mapped file. Only valid while the lock it was handed out under is held."""

    mark: Mark
    mapped: mmap.mmap | None

    def scores(self, query: Floats) -> tuple[Floats, float]:
        """Approximate cosine similarities by slot, minus infinity for free slots; and by how much what is less by them
        may be more in truth."""
        result = np.empty(self.mark.slots, np.float32)
        codes, scales = quantised(query[None, :])
        coarsest = 0.0
        for first in range(0, self.mark.slots, BLOCK):
            part = result[first : first + BLOCK]
            rows, row_scales = self._block(first, len(part))
            np.multiply(dot_products(codes, rows), row_scales, out=part, casting="unsafe")
            part[row_scales == 0] = -np.inf
            coarsest = max(coarsest, float(row_scales.max()))
        result *= scales[0]
        return result, DEVIATIONS * math.sqrt(2) * math.hypot(float(scales[0]), coarsest) / math.sqrt(12)

    def holds(self, changes: Changes) -> bool:
        """Whether the rows are those of these slots."""
        codes, scales = quantised(changes.vectors)
        scales[changes.is_free] = 0
        for start, end in _runs(changes.slots):
            block, row = divmod(int(changes.slots[start]), BLOCK)
            rows, row_scales = self._block(block * BLOCK, row + end - start)
            if not np.array_equal(row_scales[row:], scales[start:end]) or not np.array_equal(
                rows[row:][scales[start:end] > 0], codes[start:end][scales[start:end] > 0]
            ):
                return False
        return True

    def _block(self, first: int, rows: int) -> tuple[NDArray[np.int8], Floats]:
        assert self.mapped is not None
        dimension = self.mark.dimension
        start = _HEADER_BYTES + first // BLOCK * _block_bytes(dimension)
        codes = np.frombuffer(self.mapped, np.int8, rows * dimension, start).reshape(rows, dimension)
        return codes, np.frombuffer(self.mapped, np.float32, rows, start + BLOCK * dimension)


class VectorCache:
    """One file. Every operation opens it anew, so that threads lock each other out as processes do."""

    def __init__(self, path: Path) -> None:
        self._path = path if HAS_FILE_LOCKS else path.with_name(f"{path.name}-{os.getpid()}")
        self._mapping: tuple[tuple[int, int], mmap.mmap] | None = None

    @contextmanager
    def shared(self) -> Iterator[Matrix]:
        """The file as it is, kept from changing meanwhile; an empty matrix when there is none or it is damaged."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            yield Matrix(NOTHING, None)
            return
        try:
            with locked(descriptor, is_exclusive=False):
                mark = _read_mark(descriptor)
                yield Matrix(mark, self._mapped(descriptor) if mark.slots else None)
        finally:
            os.close(descriptor)

    @contextmanager
    def exclusive(self) -> Iterator[CacheWriter]:
        """Alone with the file, made if need be."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with locked(descriptor, is_exclusive=True):
                yield CacheWriter(descriptor)
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        with suppress(OSError):
            self._path.unlink()

    def _mapped(self, descriptor: int) -> mmap.mmap:
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        kept = self._mapping
        if kept is not None and kept[0] == identity and len(kept[1]) == status.st_size:
            return kept[1]
        mapped = mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ)
        self._mapping = identity, mapped
        return mapped


class CacheWriter:
    """Writes with `pwrite`, not through the mapping: a full disk is then an error and not a signal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.mark = _read_mark(descriptor)

    def begin(self, mark: Mark) -> int:
        """Make room for `mark`; return the change after which rows are to be applied, 0 when all are."""
        if self.mark.epoch != mark.epoch or self.mark.dimension != mark.dimension or self.mark.change > mark.change:
            os.ftruncate(self._descriptor, 0)
            self.mark = NOTHING
        size = _file_bytes(mark)
        if os.fstat(self._descriptor).st_size < size:
            os.ftruncate(self._descriptor, size)
        return self.mark.change

    def apply(self, dimension: int, changes: Changes) -> None:
        if not len(changes.slots):
            return
        codes, scales = quantised(changes.vectors)
        scales[changes.is_free] = 0
        for start, end in _runs(changes.slots):
            block, row = divmod(int(changes.slots[start]), BLOCK)
            offset = _HEADER_BYTES + block * _block_bytes(dimension)
            _write_all(self._descriptor, codes[start:end].tobytes(), offset + row * dimension)
            scales_offset = offset + BLOCK * dimension + row * _SCALE_BYTES
            _write_all(self._descriptor, scales[start:end].tobytes(), scales_offset)

    def finish(self, mark: Mark) -> None:
        fields = _FIELDS.pack(_MAGIC, mark.epoch, _boot_id(), mark.dimension, mark.slots, mark.change)
        _write_all(self._descriptor, fields + _CHECKSUM.pack(zlib.crc32(fields)), 0)
        self.mark = mark


@functools.lru_cache(maxsize=MAX_MAPPED_FILES)
def cache_at(path: Path) -> VectorCache:
    """The process's one mapping of a file: store handles come and go, its pages need mapping once."""
    return VectorCache(path)


def quantised(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Rows as int8 and the factor of each row that turns them back; no factor is 0."""
    scales = np.maximum(np.abs(vectors).max(axis=1) / np.float32(127), _SMALLEST_SCALE)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def best(scores: Floats, wanted: int, margin: float, least: float) -> Slots:
    """Slots, unordered, of all that may be among the `wanted` largest scores of `least` or more when what is less by up
    to `margin` may be more in truth; of too many that are nearly equal, those that look best."""
    if not len(scores) or not wanted:
        return np.empty(0, np.int64)
    bound = _nth_largest(scores[::16], wanted)  # of a sample: never above that of the whole, and cheap
    slots = np.flatnonzero(scores >= max(bound, least) - margin)
    slots = slots[scores[slots] >= _nth_largest(scores[slots], wanted) - margin]
    slots = slots[np.isfinite(scores[slots])]
    if len(slots) > (most := 4 * wanted + MOST_NEARLY_EQUAL):
        slots = slots[np.argsort(-scores[slots], kind="stable")[:most]]
    return slots


def _nth_largest(scores: Floats, n: int) -> np.float32:
    return np.partition(scores, len(scores) - n)[len(scores) - n] if n < len(scores) else np.float32(-np.inf)


def _runs(slots: Slots) -> Iterable[tuple[int, int]]:
    """Bounds of the stretches of neighbouring slots that lie in one block."""
    breaks = np.flatnonzero((np.diff(slots) != 1) | (slots[1:] % BLOCK == 0)) + 1
    edges = [0, *breaks.tolist(), len(slots)]
    return pairwise(edges)


def _block_bytes(dimension: int) -> int:
    return BLOCK * (dimension + _SCALE_BYTES)


def _file_bytes(mark: Mark) -> int:
    return _HEADER_BYTES + -(-mark.slots // BLOCK) * _block_bytes(mark.dimension)


def _read_mark(descriptor: int) -> Mark:
    """What the file holds; nothing when its header or its size is not as we left it."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    data = os.read(descriptor, _FIELDS.size + _CHECKSUM.size)
    fields = data[: _FIELDS.size]
    if len(data) < _FIELDS.size + _CHECKSUM.size or data[_FIELDS.size :] != _CHECKSUM.pack(zlib.crc32(fields)):
        return NOTHING
    magic, epoch, boot, dimension, slots, change = _FIELDS.unpack(fields)
    mark = Mark(epoch, dimension, slots, change)
    is_ours = magic == _MAGIC and boot == _boot_id() and os.fstat(descriptor).st_size >= _file_bytes(mark)
    return mark if is_ours else NOTHING


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@functools.cache
def _boot_id() -> bytes:
    """36 bytes that change when the machine restarts; constant where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()[:36].ljust(36)
    except OSError:
        return b" " * 36
