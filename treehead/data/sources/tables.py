"""Tables of pictures: parquet or arrow files, several of a split, with or without the hub's types.

A picture is a struct of bytes and path, as the hub's `Image` is, plain bytes, or a path relative to
its file. The names of the hub's `ClassLabel` are in the schema's metadata.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from treehead.artifacts import InputError
from treehead.data.sources import source
from treehead.data.sources.source import Entry, Source

SUFFIXES = (".parquet", ".arrow", ".feather")

_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
# Rows that are read at a time.
_BATCH = 256


def look(files: dict[str, str | None], settings: dict[str, Any]) -> Source:
    """List the pictures of some tables.

    Args:
        files: the part of each file, None where the file does not tell it.
        settings: of the `dataset` part of the config: `columns` and `splits`.
    """
    entries, starts, unlabelled = [], {}, []
    schemas = {path: _schema(path) for path in files}
    columns = _columns(schemas, settings)
    used = [name for key, name in columns.items() if key != "image" and name]
    for path, told in files.items():
        parts = [batch.select(used) for batch in batches(path, used)]
        table = pa.Table.from_batches(parts, pa.schema([schemas[path].field(n) for n in used]))
        # A test whose labels are secret, as those of competitions on the hub.
        if all(label in (-1, None) for label in table[columns["label"]].to_pylist()):
            unlabelled.append(f"{path} has no labels and is left out")
            continue
        starts[path] = len(entries)
        values = {key: _values(path, table, name) for key, name in columns.items() if name in used}
        for row, label in enumerate(values["label"]):
            place = f"{path}, row {row}"
            part = values["split"][row] if "split" in values else None
            group = values["group"][row] if "group" in values else None
            entries.append(
                Entry(
                    place,
                    label,
                    source.named_part(part, place, settings["splits"]) if part else told,
                    (values["parent"][row],) if "parent" in values else (),
                    None if group is None else str(group),
                )
            )
    if not entries:
        raise InputError(
            f"{' and '.join(files)}: the column {columns['label']} has no labels; name another one "
            "in dataset.columns.label."
        )
    names = {key: _class_names(schemas, columns[key]) for key in ("label", "parent")}

    def read(places: list[int]) -> Iterator[bytes | Path]:
        wanted = set(places)
        for path, start in starts.items():
            for row, content in enumerate(_pictures(path, columns["image"]), start):
                if row in wanted:
                    yield content

    remarks = [f"{key} is the column {name}" for key, name in columns.items() if name]
    return Source(
        entries,
        read,
        files=tuple(files),
        class_names=names["label"],
        parent_names=names["parent"],
        remarks=(*remarks, *unlabelled),
    )


def batches(path: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file, or of an arrow file in either of its forms."""
    try:
        if path.endswith(".parquet"):
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(_BATCH, columns=columns)
            return
        with pa.memory_map(path) as memory:
            for batch in _arrow(memory):
                yield batch.select(columns)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        kind = os.path.splitext(path)[1][1:]
        raise InputError(
            f"{path} is not a complete {kind} file ({reason}); download or write it again."
        ) from error


def _arrow(memory: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    try:
        file = pa.ipc.open_file(memory)
    except pa.ArrowInvalid:
        memory.seek(0)
        yield from pa.ipc.open_stream(memory)
        return
    for number in range(file.num_record_batches):
        yield file.get_batch(number)


def _schema(path: str) -> pa.Schema:
    if not Path(path).is_file():
        raise InputError(f"The file {path} does not exist; check dataset.source.")
    try:
        if path.endswith(".parquet"):
            return pq.read_schema(path)
        with pa.memory_map(path) as memory:
            try:
                return pa.ipc.open_file(memory).schema
            except pa.ArrowInvalid:
                memory.seek(0)
                return pa.ipc.open_stream(memory).schema
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        kind = os.path.splitext(path)[1][1:]
        raise InputError(
            f"{path} is not a complete {kind} file ({reason}); download or write it again."
        ) from error


def _columns(schemas: dict[str, pa.Schema], settings: dict[str, Any]) -> dict[str, str | None]:
    """The column of the picture, the label and so on; those of the first file, which all have."""
    first = next(iter(schemas))
    schema = schemas[first]
    for path, other in schemas.items():
        if absent := set(schema.names) - set(other.names):
            raise InputError(
                f"{path} has no column {min(absent)}, which {first} has; give one dataset a folder."
            )
    kinds = {name: kind.get("_type") for name, kind in _features(schema).items()}
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    # The hub's sound and video are structs of bytes too.
    images = {name for name in schema.names if kinds.get(name) in ("Image", "Value", None)}
    pictures = [each.name for each in schema if each.name in images and _is_picture(each.type)]
    usual = {
        "image": (*pictures, *source.PICTURE),
        "label": (*source.LABEL, *(labels if len(labels) == 1 else [])),
        "parent": source.PARENT,
        "split": source.SPLIT,
        "group": source.GROUP,
    }
    columns = {
        key: source.chosen_column(first, key, schema.names, settings, names)
        for key, names in usual.items()
    }
    for key in ("image", "label"):
        if columns[key] is None:
            known = ", ".join(f"{field.name} ({field.type})" for field in schema)
            raise InputError(
                f"{first} has no column of the {key}: its columns are {known}; name the right one "
                f"in dataset.columns.{key}."
            )
    return columns


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The hub's types of the columns, as `datasets` stores them in the metadata."""
    stored = (schema.metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(stored).get("info", {}).get("features", {})
    return {name: kind for name, kind in features.items() if isinstance(kind, dict)}


def _class_names(schemas: dict[str, pa.Schema], column: str | None) -> tuple[str, ...] | None:
    found = {
        tuple(names)
        for schema in schemas.values()
        if column and (names := _features(schema).get(column, {}).get("names"))
    }
    if len(found) > 1:
        raise InputError(
            f"{' and '.join(schemas)} number the classes of {column} in different ways; write "
            "them with the same names."
        )
    return found.pop() if found else None


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and any(test(kind[place].type) for test in _BYTES)
    return any(test(kind) for test in _BYTES)


def _values(path: str, table: pa.Table, name: str) -> list[Any]:
    """The numbers or names of a column, none of which may be missing."""
    kind = table.schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_integer(kind) or any(test(kind) for test in _TEXT)):
        raise InputError(
            f"{path}: the column {name} is {kind}; it must hold whole numbers or names."
        )
    values = table[name].to_pylist()
    if None in values:
        raise InputError(
            f"{path}, row {values.index(None)}: {name} is empty; correct or remove that row."
        )
    return values


def _pictures(path: str, column: str) -> Iterator[bytes | Path]:
    """The content of each row: its bytes, or where its file is."""
    row = 0
    for batch in batches(path, [column]):
        for value in batch.column(0).to_pylist():
            where = value.get("path") if isinstance(value, dict) else value
            content = value.get("bytes") if isinstance(value, dict) else value
            if isinstance(content, bytes) and content:
                yield content
            elif isinstance(where, str) and where:
                yield Path(path).parent / where
            else:
                yield b""
            row += 1
