"""Read Arrow IPC stream files as hostile input: bounds and types are judged before any value is used.

Files are mapped into memory, so that declared lengths allocate nothing. Compressed batches are refused: their
declared size would be allocated unchecked. Extension types, which could run code in old versions of pyarrow
(CVE-2023-47248), are never resolved: only plain columns are used, and old versions are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privaudit.data.decoded import MALFORMED
from privaudit.data.optional import optional
from privaudit.errors import InputError

OLDEST = 15
"""Oldest major version of pyarrow that is used."""

_END = b"\xff\xff\xff\xff\0\0\0\0"
_MESSAGE_HEADER, _BATCH_COMPRESSION = 2, 3


@dataclass(frozen=True, eq=False)
class Stream:
    """The record batches of a file, validated. trailing: bytes behind the end of the stream, zeros not counted."""

    schema: Any
    batches: tuple[Any, ...]
    trailing: int


def import_pyarrow() -> Any:
    """pyarrow with its `ipc` module. Raises InputError where it is missing or too old."""
    pyarrow = optional("pyarrow", "datasets", "A folder written by save_to_disk")
    if int(str(pyarrow.__version__).partition(".")[0]) < OLDEST:
        raise InputError(
            f"pyarrow {pyarrow.__version__} is too old to read files safely; needed is {OLDEST} or later. Install it: "
            "pip install 'privaudit[datasets]'."
        )
    optional("pyarrow.ipc", "datasets", "A folder written by save_to_disk")
    return pyarrow


@contextmanager
def readable(shown: str) -> Iterator[None]:
    """Every error of pyarrow becomes an InputError: also names and values can be malformed, where they are used."""
    pyarrow = import_pyarrow()
    try:
        yield
    except (pyarrow.ArrowException, *MALFORMED) as error:
        raise InputError(f"{shown} is truncated, damaged or no Arrow stream. Save the dataset again.") from error


def read_stream(path: Path, shown: str) -> Stream:
    """All batches of the file; `shown` names it in messages.

    Raises InputError for damaged, truncated and compressed files, and for dictionary-encoded columns.
    """
    pyarrow = import_pyarrow()
    with readable(shown):
        if path.stat().st_size == 0:
            raise InputError(f"{shown} is empty (zero bytes). Save the dataset again.")
        source = pyarrow.memory_map(str(path))
        first = pyarrow.ipc.read_message(source)
        if first.type != "schema":
            raise ValueError
        schema = pyarrow.ipc.read_schema(first)
        batches = []
        while (message := _next(pyarrow, source)) is not None:
            if message.type != "record batch" or _is_compressed(bytes(message.metadata)):
                raise InputError(
                    f"{shown} holds compressed or dictionary-encoded columns, which save_to_disk does not write. "
                    "Save the dataset again with it."
                )
            batch = pyarrow.ipc.read_record_batch(message, schema)
            batch.validate(full=True)
            batches.append(batch)
        end = source.tell()
        source.seek(end - len(_END))
        if source.read(len(_END)) != _END:
            raise EOFError
        return Stream(schema, tuple(batches), _trailing(source))


def _next(pyarrow: Any, source: Any) -> Any:
    try:
        return pyarrow.ipc.read_message(source)
    except EOFError:
        return None


def _trailing(source: Any) -> int:
    count = 0
    while block := source.read(2**20):
        count += len(block) - block.count(0)
    return count


def _is_compressed(metadata: bytes) -> bool:
    """Whether a record batch message declares compressed buffers (Message.header, RecordBatch.compression)."""
    message = struct.unpack_from("<I", metadata)[0]
    header = _field(metadata, message, _MESSAGE_HEADER)
    if header is None:
        raise ValueError
    return _field(metadata, header + struct.unpack_from("<I", metadata, header)[0], _BATCH_COMPRESSION) is not None


def _field(metadata: bytes, table: int, number: int) -> int | None:
    """Where a field of a FlatBuffers table lies; None where it is absent."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    if not 0 <= vtable < len(metadata):
        raise ValueError
    place = 4 + 2 * number
    if place + 2 > struct.unpack_from("<H", metadata, vtable)[0]:
        return None
    offset = int(struct.unpack_from("<H", metadata, vtable + place)[0])
    return table + offset if offset else None
