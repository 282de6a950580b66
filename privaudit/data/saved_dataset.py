"""A folder written by `save_to_disk` of Hugging Face `datasets`: read from its files, `datasets` is never imported.

Its own reader follows whatever file names `state.json` holds, builds feature classes named in `dataset_info.json`, and
needs a cache and an environment kept offline. The files themselves are two JSON files and Arrow streams
(https://huggingface.co/docs/datasets/about_arrow): read here without network, code or cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.data.arrow_streams import Stream, import_pyarrow, read_stream, readable
from privaudit.data.decoded import Window
from privaudit.data.npy import printable
from privaudit.data.places import check_inside
from privaudit.data.resizing import describe, plural
from privaudit.data.saved_columns import Columns, find_columns, read_groups, read_images, read_labels
from privaudit.data.stored import EmbeddedImage, decode_all
from privaudit.data.tables import group_notes
from privaudit.errors import InputError
from privaudit.images import Dataset, Images

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"

_MAX_JSON = 64 * 2**20
_MAX_FILES = 100_000


@dataclass(frozen=True, eq=False)
class SavedDataset:
    """What a folder holds, images not yet decoded, in row order.

    paths: the path that each image was saved with, empty where there is none. files: all files of the dataset.
    info: the content of dataset_info.json. trailing: bytes behind the ends of the Arrow streams.
    """

    images: list[EmbeddedImage]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    groups: NDArray[np.str_] | None
    paths: tuple[str, ...]
    columns: Columns
    files: tuple[Path, ...]
    info: Mapping[str, Any]
    trailing: int

    @property
    def names(self) -> tuple[str, ...]:
        """The file name that each image was saved with, without folders; else its row number."""
        stems = (PurePosixPath(path.replace("\\", "/")).name for path in self.paths)
        return tuple(name or str(row) for row, name in enumerate(stems))


def is_saved(path: Path) -> bool:
    """Whether the folder was written by `save_to_disk` (a Dataset, or a DatasetDict of several)."""
    return (path / SPLITS).is_file() or ((path / STATE).is_file() and (path / INFO).is_file())


def load_saved(
    source: str, folder: Path, *, window: Window | None, size: tuple[int, int] | None, channels: int | None
) -> Dataset:
    """The dataset of such a folder."""
    saved = read_saved(folder)
    pixels, notes = decode_all(saved.images, window=window, size=size, channels=channels)
    detected = [
        f"Read as a dataset written by save_to_disk: {plural(len(saved.images), 'image')} in "
        f"{plural(len(saved.class_names), 'class', 'classes')}, {describe(*pixels.shape[1:])}."
    ]
    others = saved.columns.others
    if others:
        shown = ", ".join(printable(name) for name in others[:5]) + (", ..." if len(others) > 5 else "")
        detected.append(f"{plural(len(others), 'further column')} of the dataset not read: {shown}.")
    return Dataset(
        Images(pixels, saved.labels),
        saved.class_names,
        saved.groups,
        saved.names,
        source,
        (*detected, *notes, *group_notes(saved.groups, "the dataset")),
    )


def read_saved(folder: Path) -> SavedDataset:
    """The dataset's rows, all images still encoded.

    Raises InputError for a DatasetDict (naming its splits), for damaged files, for columns that are missing,
    ambiguous or of another type, and for images that are a mere path.
    """
    if not (folder / STATE).is_file() or not (folder / INFO).is_file():
        raise _several(folder)
    import_pyarrow()
    state, info = _json(folder / STATE, folder), _json(folder / INFO, folder)
    files = _data_files(state, folder)
    streams = [read_stream(path, printable(path.name)) for path in files]
    with readable("The dataset written by save_to_disk"):
        columns = find_columns(info.get("features"), _common_schema(streams))
        batches = [batch for stream in streams for batch in stream.batches]
        images, paths = read_images(columns, batches)
        if not images:
            raise InputError("The dataset written by save_to_disk has no rows. Save at least one image.")
        labels, class_names = read_labels(columns, batches)
        groups = read_groups(columns, batches)
    used = (folder / STATE, folder / INFO, *files)
    trailing = sum(stream.trailing for stream in streams)
    return SavedDataset(images, labels, class_names, groups, paths, columns, used, info, trailing)


def _several(folder: Path) -> InputError:
    splits = sorted(path.parent.name for path in folder.glob(f"*/{STATE}"))[:10]
    shown = ", ".join(printable(name) for name in splits)
    if not splits:
        return InputError(f"The folder has a {SPLITS}, but no split in it is complete. Save the dataset again.")
    return InputError(
        f"The folder holds several datasets (a DatasetDict): {shown}. Give the folder of one of them: "
        f"FOLDER/{printable(splits[0])[1:-1]}."
    )


def _json(path: Path, folder: Path) -> Mapping[str, Any]:
    check_inside(path, folder)
    try:
        if path.stat().st_size > _MAX_JSON:
            raise InputError(f"{path.name} is larger than {_MAX_JSON // 2**20} MiB. Save the dataset again.")
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not as save_to_disk writes it. Save the dataset again.") from error
    return content


def _data_files(state: Mapping[str, Any], folder: Path) -> list[Path]:
    """The Arrow files that state.json names: plain names in the folder itself, nothing else is ever opened."""
    if state.get("_indices_data_files"):
        raise InputError(
            f"{STATE} is of an old version of datasets, with rows chosen by an index. Load and save the dataset again."
        )
    listed = state.get("_data_files")
    names = (
        [one.get("filename") if isinstance(one, dict) else None for one in listed] if isinstance(listed, list) else []
    )
    if not 0 < len(names) <= _MAX_FILES or len(set(map(str, names))) != len(names):
        raise InputError(f"{STATE} names no data files, or some of them twice. Save the dataset again.")
    files = []
    for name in names:
        if not isinstance(name, str) or not name.endswith(".arrow") or {"/", "\\", "\0"} & set(name):
            raise InputError(
                f"{STATE} names a data file {printable(str(name))}; allowed are .arrow files in the folder itself."
            )
        check_inside(folder / name, folder)
        if not (folder / name).is_file():
            raise InputError(f"{printable(name)} is no file. Save the dataset again.")
        files.append(folder / name)
    return files


def _common_schema(streams: Sequence[Stream]) -> Any:
    schema = streams[0].schema
    if len(set(schema.names)) != len(schema.names):
        raise InputError("The dataset has two columns of one name. Rename one and save it again.")
    if any(not stream.schema.equals(schema) for stream in streams):
        raise InputError("The Arrow files of the dataset have different columns. Save the dataset again.")
    return schema
