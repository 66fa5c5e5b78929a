"""Tables of pictures: parquet or arrow files, several of a split, with or without the hub's types.

A picture is a struct of bytes and path, as the hub's `Image` is, plain bytes, or a path relative to
its file. The names of the hub's `ClassLabel` are in the schema's metadata.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from treehead.artifacts import InputError, lacks_memory
from treehead.data.sources import folder, lists, source
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
    schemas = {path: _schema(path) for path in files}
    columns = _columns(schemas, settings)
    as_path = _is(schemas[next(iter(files))].field(columns["image"]).type, *_TEXT)
    used = {key: name for key, name in columns.items() if name and (as_path or key != "image")}
    names = {key: _class_names(schemas, columns[key]) for key in ("label", "parent")}
    entries, rows, lines, skipped, unlabelled = [], [], [], Counter(), []
    for path, told in files.items():
        values = _values(path, schemas[path], used)
        # A test whose labels are secret, as those of competitions on the hub.
        if all(label in (source.UNLABELLED, None) for label in values["label"]):
            unlabelled.append(f"{path} has no labels and is left out")
            continue
        _check_filled(path, used, values)
        for row, label in enumerate(values["label"]):
            place, part = f"{path}, row {row}", told
            if names["label"] and label == source.UNLABELLED:
                skipped[source.WITHOUT_LABEL] += 1
                continue
            if "split" in used:
                split = values["split"][row]
                part = source.named_part(split, place, settings["splits"])
                if part is None:
                    skipped[f"of the split {split}"] += 1
                    continue
            above = (values["parent"][row],) if "parent" in used else ()
            group = values["group"][row] if "group" in used else None
            entry = Entry(place, label, part, above, None if group in (None, "") else str(group))
            if as_path:
                root = Path(path).parent
                picture = str(root / folder.inside(place, values["image"][row], root))
                lines.append((place, entry._replace(place=picture)))
            else:
                entries.append(entry)
                rows.append((path, row))
    if len(unlabelled) == len(files):
        raise InputError(
            f"{' and '.join(files)}: the column {columns['label']} has no labels; name another one "
            "in dataset.columns.label."
        )
    if as_path:
        entries = lists.checked(Path(), lines, skipped)

    def read(places: list[int]) -> Iterator[bytes | Path]:
        return _pictures(files, columns["image"], {rows[place] for place in places})

    remarks = [f"{key} is the column {name}" for key, name in columns.items() if name]
    return Source(
        entries,
        lists.reader(Path(), entries) if as_path else read,
        files=tuple(files),
        class_names=names["label"],
        parent_names=names["parent"],
        skipped=dict(skipped),
        remarks=(*remarks, *unlabelled),
        version=folder.version("", [entry.place for entry in entries]) if as_path else None,
    )


@contextmanager
def _opened(path: str) -> Iterator[tuple[pa.Schema, Callable[[list[str]], Iterator]]]:
    """The schema of a parquet file, or of an arrow file in either of its forms, and its rows."""
    if not Path(path).is_file():
        raise InputError(f"The file {path} does not exist; check dataset.source.")
    try:
        if path.endswith(".parquet"):
            with pq.ParquetFile(path) as file:
                # pyarrow waits forever for a thread that can't start, and of one column uses none.
                rows = partial(file.iter_batches, _BATCH, None, use_threads=False)
                yield file.schema_arrow, rows
        else:
            with pa.memory_map(path) as memory:
                schema, rows = _arrow(memory)
                _ = schema.names  # fails on one that is no text
                yield schema, lambda columns: (batch.select(columns) for batch in rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if lacks_memory(error):
            raise
        reason = str(error).splitlines()[0]
        kind = os.path.splitext(path)[1][1:]
        raise InputError(
            f"{path} is not a complete {kind} file ({reason}); download or write it again."
        ) from error


def _arrow(memory: pa.NativeFile) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
    try:
        file = pa.ipc.open_file(memory)
    except pa.ArrowInvalid:
        memory.seek(0)
        stream = pa.ipc.open_stream(memory)
        return stream.schema, stream
    return file.schema, map(file.get_batch, range(file.num_record_batches))


def _schema(path: str) -> pa.Schema:
    with _opened(path) as (schema, _):
        return schema


def batches(path: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a table."""
    with _opened(path) as (_, rows):
        yield from rows(columns)


def _columns(schemas: dict[str, pa.Schema], settings: dict[str, Any]) -> dict[str, str | None]:
    """The column of the picture, the label and so on; those of the first file, which all have."""
    first = next(iter(schemas))
    schema = schemas[first]
    kinds = {name: kind.get("_type") for name, kind in _features(schema).items()}
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    # The hub's sound and video are structs of bytes too.
    images = {name for name in schema.names if kinds.get(name) in ("Image", "Value", None)}
    pictures = [each.name for each in schema if each.name in images and _is_picture(each.type)]
    # Of several, such as a picture and its mask, one with a usual name is taken.
    likely = [name for name in pictures if source.first_of([name], source.PICTURE)]
    usual = {
        "image": source.PICTURE if not pictures else pictures if len(pictures) == 1 else likely,
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
    chosen = [*filter(None, columns.values())]
    for path, other in schemas.items():
        if absent := {*chosen} - {*other.names}:
            raise InputError(
                f"{path} has no column {min(absent)}, which {first} has; write both with the same "
                "columns, or put them in two folders."
            )
        if twice := [name for name in chosen if other.names.count(name) > 1]:
            raise InputError(f"{path} has the column {twice[0]} twice; rename one.")
    kind = schema.field(columns["image"]).type
    if not _is_picture(kind) and not _is(kind, *_TEXT):
        raise InputError(
            f"{first}: the column {columns['image']} is {kind}; it must hold pictures or paths. "
            "Name the right one in dataset.columns.image."
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


def _is(kind: pa.DataType, *tests: Callable[[pa.DataType], bool]) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(kind) for test in tests)


def _is_picture(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return _is(kind, *_BYTES)
    content, path = (kind.get_field_index(name) for name in ("bytes", "path"))
    only_paths = path >= 0 and _is(kind[path].type, *_TEXT) and pa.types.is_null(kind[content].type)
    return content >= 0 and (only_paths or _is(kind[content].type, *_BYTES))


def _values(path: str, schema: pa.Schema, used: dict[str, str]) -> dict[str, list[Any]]:
    """The numbers in each column of a file, or the names, without spaces around them."""
    names = list(dict.fromkeys(used.values()))
    fields = pa.schema([schema.field(name) for name in names])
    for field in fields:
        if not _is(field.type, pa.types.is_integer, *_TEXT):
            raise InputError(
                f"{path}: the column {field.name} is {field.type}; write it as whole numbers or as "
                "names, or name another one in dataset.columns."
            )
    table = pa.Table.from_batches((batch.select(names) for batch in batches(path, names)), fields)
    return {
        key: [
            value.strip() if isinstance(value, str) and key != "image" else value
            for value in table[name].to_pylist()
        ]
        for key, name in used.items()
    }


def _check_filled(path: str, used: dict[str, str], values: dict[str, list[Any]]) -> None:
    """Check that no row lacks a value; one without a group stands alone."""
    for key, name in used.items():
        empty = [row for row, value in enumerate(values[key]) if value is None or value == ""]
        if empty and key != "group":
            raise InputError(
                f"{path}, row {empty[0]}: {name} is empty; correct or remove that row."
            )


def _pictures(
    files: Iterable[str], column: str, wanted: set[tuple[str, int]]
) -> Iterator[bytes | Path]:
    """The content of each wanted row: its bytes, or where its file is."""
    chosen = {path for path, _ in wanted}
    for path in filter(chosen.__contains__, files):
        row = 0
        for batch in batches(path, [column]):
            for at, value in enumerate(batch.column(0), row):
                if (path, at) in wanted:
                    yield _content(path, value.as_py())
            row += len(batch)


def _content(path: str, value: Any) -> bytes | Path:
    where = None
    if isinstance(value, dict):
        value, where = value.get("bytes"), value.get("path")
    return value or (Path(path).parent / where if where else b"")
