"""The speed of BN matching on a GPU: `benchmarks.matching_speed` with batches that fill it.

python -m benchmarks.gpu.matching_speed
"""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.matching_speed import PARTS, measure
from benchmarks.recording import write_result


def main() -> None:
    if not torch.cuda.is_available():
        print("skipped: this machine has no CUDA device")
        return
    part = replace(PARTS["resnet20-32"], steps=30)
    found = {str(batch): measure("cuda", replace(part, batch=batch)) for batch in (100, 1000, 4000)}
    path = write_result("gpu_matching_speed", found, seeds=0, command="python -m benchmarks.gpu.matching_speed")
    for batch, result in found.items():
        print(batch, result["image_steps_per_second"], result["ratios"])
    print(path)


if __name__ == "__main__":
    main()
