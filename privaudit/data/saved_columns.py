"""Which columns of a Hugging Face dataset hold image, label and group, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.data.arrow_streams import import_pyarrow
from privaudit.data.folders import MAX_NAME
from privaudit.data.npy import printable
from privaudit.data.npz import MAX_CLASSES
from privaudit.data.stored import EmbeddedImage
from privaudit.errors import InputError

GROUP = "group"


@dataclass(frozen=True)
class Columns:
    """Names of the columns. class_names: those of a ClassLabel; others: columns that are not read."""

    image: str
    label: str
    group: str | None
    class_names: tuple[str, ...] | None
    others: tuple[str, ...]


def find_columns(features: Any, schema: Any) -> Columns:
    """The image and label column by their feature type (Image, ClassLabel), else those named 'image' and 'label'.

    features: the content of dataset_info.json (JSON); schema: the Arrow schema. Raises InputError where a column is
    missing, ambiguous, or of a type that is not read.
    """
    known = {
        str(name): feature
        for name, feature in (features.items() if isinstance(features, dict) else ())
        if isinstance(feature, dict) and name in schema.names
    }
    image = _only("Image", "image", known, schema)
    label = _only("ClassLabel", "label", known, schema)
    group = GROUP if GROUP in schema.names else None
    types = import_pyarrow().types
    _check_image(image, schema.field(image).type, types)
    for name in (label, group):
        found = None if name is None else schema.field(name).type
        if found is not None and not (
            types.is_integer(found) or types.is_string(found) or types.is_large_string(found)
        ):
            raise InputError(
                f"The column {printable(str(name))} holds values of type {str(found)[:40]}; allowed are whole numbers "
                "and text. Cast it, and save the dataset again."
            )
    feature = known.get(label, {})
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    if names is not None and not types.is_integer(schema.field(label).type):
        raise InputError(f"The column {printable(label)} is a ClassLabel, but holds no whole numbers. Save it again.")
    others = tuple(name for name in schema.names if name not in (image, label, group))
    return Columns(image, label, group, None if names is None else _checked_names(names), others)


def _only(kind: str, name: str, features: Mapping[str, Mapping[str, Any]], schema: Any) -> str:
    found = [column for column, feature in features.items() if feature.get("_type") == kind]
    if len(found) == 1:
        return found[0]
    if name in (found or schema.names):
        return name
    columns = ", ".join(printable(column) for column in (found or schema.names)[:10]) or "none"
    if found:
        raise InputError(
            f"The dataset has {len(found)} columns of type {kind}: {columns}. Name the right one '{name}'."
        )
    raise InputError(
        f"The dataset has no column of type {kind} and none named '{name}'; found: {columns}. Cast the column with "
        f"cast_column(..., datasets.{kind}(...)), and save the dataset again."
    )


def _check_image(name: str, found: Any, types: Any) -> None:
    content = found
    if types.is_struct(found):
        fields = {found.field(number).name: found.field(number).type for number in range(found.num_fields)}
        content = fields.get("bytes")
        path = fields.get("path")
        if content is not None and path is not None and not (types.is_string(path) or types.is_large_string(path)):
            content = None
    if content is None or not (types.is_binary(content) or types.is_large_binary(content)):
        raise InputError(
            f"The column {printable(name)} holds values of type {str(found)[:60]}, not image files. Cast it with "
            "cast_column(..., datasets.Image()), and save the dataset again."
        )


def _checked_names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not 0 < len(names) <= MAX_CLASSES:
        raise InputError(f"The ClassLabel needs a list of 1 to {MAX_CLASSES} names. Save the dataset again.")
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable() for name in names):
        raise InputError(f"The ClassLabel's names must be printable and at most {MAX_NAME} letters long.")
    if len(set(names)) != len(names):
        raise InputError("The ClassLabel has a name twice. Names of classes must differ.")
    return tuple(names)


def read_images(columns: Columns, batches: Sequence[Any]) -> tuple[list[EmbeddedImage], tuple[str, ...]]:
    """The images, not decoded, and the path that each was saved with ('' where there is none)."""
    images: list[EmbeddedImage] = []
    paths: list[str] = []
    for batch in batches:
        column = batch.column(columns.image)
        packed = hasattr(column.type, "num_fields") and column.type.num_fields > 0
        contents = column.field("bytes") if packed else column
        has_path = packed and column.type.get_field_index("path") >= 0
        places = column.field("path").to_pylist() if has_path else [None] * len(column)
        for row in range(len(column)):
            name = f"row {len(images)}"
            if not (column[row].is_valid and contents[row].is_valid):
                raise InputError(
                    f"'{name}' holds no image, or only the path of one, which is not followed. Fill it in or remove "
                    "it, and save the dataset with its images (datasets does so by default)."
                )
            images.append(EmbeddedImage(name, memoryview(contents[row].as_buffer())))
            paths.append(places[row] or "")
    return images, tuple(paths)


def read_labels(columns: Columns, batches: Sequence[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class numbers and class names; text becomes numbers in the order of the sorted names."""
    values = [value for batch in batches for value in batch.column(columns.label).to_pylist()]
    if None in values:
        raise InputError(f"Row {values.index(None)} has no label. Give every image one, or remove it.")
    if isinstance(values[0], str):
        for row, value in enumerate(values):
            if not (0 < len(value) <= MAX_NAME and value.isprintable()):
                raise InputError(
                    f"Row {row} has a label that is empty, unprintable or longer than {MAX_NAME} letters. Correct it."
                )
        names = tuple(sorted(set(values)))
        number = {name: place for place, name in enumerate(names)}
        return np.array([number[value] for value in values], np.int64), names
    most = MAX_CLASSES if columns.class_names is None else len(columns.class_names)
    for row, value in enumerate(values):
        if not 0 <= value < most:
            raise InputError(
                f"Row {row} has the label {value}; allowed are 0 to {most - 1}. Remove rows without a known class, or "
                "correct the names of the ClassLabel."
            )
    return np.array(values, np.int64), columns.class_names or tuple(map(str, range(max(values) + 1)))


def read_groups(columns: Columns, batches: Sequence[Any]) -> NDArray[np.str_] | None:
    """The group of each row as text, '' where it is unknown; None without a column of groups."""
    if columns.group is None:
        return None
    values = [value for batch in batches for value in batch.column(columns.group).to_pylist()]
    groups = ["" if value is None else str(value).strip() for value in values]
    for row, group in enumerate(groups):
        if len(group) > MAX_NAME or not group.isprintable():
            raise InputError(
                f"Row {row} has a group that is unprintable or longer than {MAX_NAME} letters. Correct it."
            )
    return np.array(groups, np.str_)
