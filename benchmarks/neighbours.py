"""Exact nearest neighbours beside faiss.IndexFlatL2, on the same inputs, both cores, each in a process of its own.

    python -m benchmarks.neighbours --part pixels        CIFAR-size images: 5,000 to 50,000 on each side
    python -m benchmarks.neighbours --part descriptors   1,000,000 x 100,000 descriptors of 128 numbers

Needs faiss-cpu. Peak memory is that of the process, with its inputs. Pixels and numbers are drawn at random:
neither method looks at what is in them.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.recording import write_result

SIZES = ((5_000, 5_000), (10_000, 10_000), (10_000, 20_000), (20_000, 20_000), (50_000, 50_000))
DESCRIPTORS = (100_000, 1_000_000)
GROWTH = ((100_000, 250_000), (100_000, 500_000), DESCRIPTORS)
WIDTH = 128
THREADS = 2
METHODS = ("privaudit", "faiss")


def _measured(part: str, method: str, queries: int, others: int) -> tuple[float, float, NDArray[np.int64]]:
    """Seconds, peak memory in GiB, and the row of the nearest of each query."""
    import torch

    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(queries + others)
    if part == "pixels":
        asked, theirs = (rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8) for count in (queries, others))
        rows = _pixels(method, asked, theirs)
    else:
        floats = [rng.standard_normal((count, WIDTH), dtype=np.float32) for count in (queries, others)]
        rows = _descriptors(method, *floats)
    started = time.perf_counter()
    found = rows()
    seconds = time.perf_counter() - started
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, found


def _pixels(method: str, queries: NDArray[np.uint8], others: NDArray[np.uint8]) -> Any:
    from privaudit.pixel_distances import nearest

    if method == "privaudit":
        return lambda: nearest(queries, others).rows
    return lambda: _faiss(*(images.reshape(len(images), -1).astype(np.float32) for images in (queries, others)))


def _descriptors(method: str, queries: NDArray[np.float32], others: NDArray[np.float32]) -> Any:
    import torch

    from privaudit.nearest_rows import nearest_rows

    if method == "faiss":
        return lambda: _faiss(queries, others)

    def between(rows: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        return torch.cdist(rows, theirs, compute_mode="use_mm_for_euclid_dist")

    tensors = torch.from_numpy(queries), torch.from_numpy(others)
    return lambda: nearest_rows(*tensors, 1, between)[1][:, 0].numpy()


def _faiss(queries: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.int64]:
    faiss: Any = importlib.import_module("faiss")
    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatL2(queries.shape[1])
    index.add(others)
    return np.asarray(index.search(queries, 1)[1][:, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("pixels", "descriptors"), required=True)
    options = parser.parse_args()
    rows = []
    for queries, others in SIZES if options.part == "pixels" else GROWTH:
        row: dict[str, Any] = {"queries": queries, "others": others}
        found = {}
        for method in METHODS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                seconds, peak, found[method] = pool.submit(_measured, options.part, method, queries, others).result()
            row[method] = {"seconds": round(seconds, 2), "peak_memory_gib": round(peak, 2)}
        row["ratio"] = round(row["privaudit"]["seconds"] / row["faiss"]["seconds"], 3)
        row["nanoseconds_per_pair"] = round(1e9 * row["privaudit"]["seconds"] / queries / others, 2)
        row["same"] = float(np.mean(found["privaudit"] == found["faiss"]))
        print(row, flush=True)
        rows.append(row)
    command = f"python -m benchmarks.neighbours --part {options.part}"
    print(write_result(f"neighbours_{options.part}", {"threads": THREADS, "rows": rows}, seeds=[], command=command))


if __name__ == "__main__":
    main()
