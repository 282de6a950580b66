"""The victim's and the reader's half of the encoder that runs a network backwards."""

from __future__ import annotations

import numpy as np

from privaudit.attack import Evidence, Seen, Source
from privaudit.attacks.model_memorization.decoding import READABLE, count_readable
from privaudit.attacks.model_memorization.honest import NETWORK, RIGHT
from privaudit.attacks.model_memorization.rows import Rows
from privaudit.attacks.model_memorization.storage import Storage
from privaudit.attacks.model_memorization.transpose import (
    Reversible,
    Transpose,
    answered_right,
    kept_in,
    parameter_count,
    revealed,
)
from privaudit.images import Images

_PER_CLASS, _SIZE = "hidden images of each class", "size"


def transposed(host: Transpose, images: Images, rows: Rows, storage: Storage) -> Seen:
    """Weights of the malicious host, and how many images of each class it hides: what the reader makes codes of."""
    hidden = rows.hidden[np.argsort(images.labels[rows.hidden], kind="stable")]
    secret, clean, held_out = images.take(hidden), images.take(rows.trained), images.take(rows.held_out)
    classes = int(images.labels.max(initial=0)) + 1
    per_class = np.bincount(secret.labels, minlength=classes).astype(np.int64)
    network = kept_in(host.hide(secret, clean, classes, per_class), storage)
    counts = {READABLE: (count_readable(revealed(network, per_class, images.size), secret), len(secret))}
    if len(held_out):
        honest = host.honest(clean, classes, per_class)
        for name, one in (("host", network), ("honest host", honest)):
            counts[f"{name} {RIGHT}"] = answered_right(one, held_out, classes), len(held_out)
    arrays = {f"{NETWORK}{name}": array for name, array in network.arrays().items()}
    arrays[_PER_CLASS] = per_class
    arrays[_SIZE] = np.asarray(images.size, dtype=np.int64)
    return Seen(arrays, source=Source(hidden, np.zeros(len(hidden), np.int64), counts))


def revelation(seen: Seen) -> Evidence:
    """The images that the network makes of the codes, with the labels that these tell."""
    parts = {name.removeprefix(NETWORK): array for name, array in seen.arrays.items() if name.startswith(NETWORK)}
    network = Reversible.from_arrays(parts)
    height, width, channels = (int(number) for number in seen.arrays[_SIZE])
    images = revealed(network, np.asarray(seen.arrays[_PER_CLASS]), (height, width, channels))
    weights = parameter_count(network)
    diagnostics = {
        "hidden images per million parameters": 1e6 * len(images) / weights,
        "pixel values per parameter": len(images) * height * width * channels / weights,
    }
    return Evidence(recovered=images, diagnostics=diagnostics)
