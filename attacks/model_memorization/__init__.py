"""Model memorization: a malicious trainer hides released images in the network that he trains on the release."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from privaudit.attack import Context, Effort, Evidence, Seen, Settings, Sight, Source
from privaudit.attacks.model_memorization.capacity_abuse import PASSES, CapacityAbuse
from privaudit.attacks.model_memorization.correlated_value import CorrelatedValue
from privaudit.attacks.model_memorization.decoding import decoded
from privaudit.attacks.model_memorization.encoder import Encoder, Host
from privaudit.attacks.model_memorization.least_significant_bits import LeastSignificantBits
from privaudit.attacks.model_memorization.rows import drawn_rows
from privaudit.attacks.model_memorization.signs import Signs
from privaudit.attacks.model_memorization.stored_size import SMALLEST_SIDE, largest_fitting, shrunk
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network, Recipe, logits
from privaudit.release import Release

IMAGES = {"lsb": 64, "correlated-value": 64, "sign": 64, "capacity-abuse": 20}
BATCH_SIZE = 32
STEPS: dict[Effort, int] = {"quick": 500, "standard": 1500, "thorough": 6000}
FEWEST_EPOCHS: dict[Effort, int] = {"quick": 2, "standard": 6, "thorough": 30}
SIGN_STRENGTH, CORRELATION_STRENGTH = 300.0, 10.0
_NETWORK = "network/"


class ModelMemorization(Settings):
    """Released images hidden in the parameters of a network that was trained on the release.

    The trainer holds the release. His network works as promised and carries images beside it; whoever knows how reads
    them from the published parameters, and has the network name their labels. What comes out are released images: what
    the attack finds of the members, the release had. Encoders: least significant bits of the parameters, values of the
    weights correlated with pixels, signs of the weights, and labels of made-up inputs (capacity abuse; that needs only
    the network's answers, though the attack declares to see parameters). Three things are added to the publication:
    images that do not fit at full size are stored smaller; weights are filled from the largest tensor on; values of
    weights are also read at the mean and spread of the reader's own images. Source: Song, Ristenpart, Shmatikov 2017,
    "Machine Learning Models that Remember Too Much", doi 10.1145/3133956.3134077; written from the paper.
    """

    name: ClassVar[str] = "model-memorization"
    version: ClassVar[int] = 1
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.PARAMETERS})
    threat_model: ClassVar[str] = (
        "A network is trained on the release by code that its owner did not write. The network works as promised, but "
        "the code hides released images in its parameters. An accomplice who gets the published network, and nothing "
        "else, reads them out."
    )

    encoder: Literal["lsb", "correlated-value", "sign", "capacity-abuse"] = Field(
        "lsb", description="where images are hidden: lowest bits, values or signs of weights, labels of made-up inputs"
    )
    network: str = Field(
        "convnet", description="the host: convnet, resnet18, resnet34, resnet20, resnet56, torchvision:NAME"
    )
    images: int | None = Field(
        None, ge=1, description="how many released images are hidden; default: 64, with capacity-abuse 20"
    )
    bits_per_pixel: int = Field(4, ge=1, le=8, description="bits of each pixel value (not used by correlated-value)")
    strength: float | None = Field(
        None, gt=0, description="weight of the penalty; default: 10 for correlated-value, 300 for sign"
    )
    epochs: int | None = Field(
        None, ge=1, description="passes over the release; default by effort: 500, 1,500, 6,000 steps of 32 images"
    )

    def reach(self, n_release: int) -> int:
        """As many images as are hidden."""
        return min(n_release, self.images or IMAGES[self.encoder])

    def expose(self, release: Release, world: Context) -> Seen:
        """Parameters of the malicious host, with the constants of the code that made it.

        A fifth of the release (10 to 1,000 images) is kept from the host, to count how often it is right, beside an
        honest host. Raises InputError where the host is too small for the images, and where a penalty has no room.
        """
        images = release.images
        rows = drawn_rows(len(images), self.reach(len(images)), world.generator)
        seed = int(world.generator.integers(2**62))
        clean, classes = images.take(rows.trained), int(images.labels.max(initial=0)) + 1
        recipe = self._recipe(len(clean), world.effort)
        honest = world.train(recipe, clean, world.seed, classes=classes)
        encoder = self._encoder(images.size, seed, world.effort)
        stored = self._stored_size(encoder, honest, len(rows.hidden), images.size)
        values = shrunk(images.take(rows.hidden), stored)
        host = Host(honest, recipe, clean, classes, world.seed, world.device, world.progress)
        carrier = encoder.hide(values, host)
        arrays = {f"{_NETWORK}{name}": array for name, array in carrier.network.arrays().items()}
        arrays["hidden images"] = np.asarray((len(rows.hidden), *images.size), dtype=np.int64)
        arrays["stored size"] = np.asarray(stored, dtype=np.int64)
        arrays["seed"] = np.asarray(seed, dtype=np.int64)
        counts = dict(carrier.counts)
        held_out = images.take(rows.held_out)
        if len(held_out):
            for name, network in (("host", carrier.network), ("honest host", honest)):
                right = int((logits(network, held_out, world.device).argmax(1) == held_out.labels).sum())
                counts[f"{name} right on held-out released images"] = right, len(held_out)
        return Seen(arrays, source=Source(rows.hidden, np.zeros(len(rows.hidden), np.int64), counts))

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Read the images, and let the network name their labels."""
        parts = {name.removeprefix(_NETWORK): array for name, array in seen.arrays.items() if name.startswith(_NETWORK)}
        network = Network.from_arrays(parts)
        count, height, width, channels = (int(number) for number in seen.arrays["hidden images"])
        tall, wide = (int(number) for number in seen.arrays["stored size"])
        size = height, width, channels
        encoder = self._encoder(size, int(seen.arrays["seed"]), own.effort)
        own.progress("reading", 0.0)
        images, diagnostics = decoded(encoder, network, count, (tall, wide), size, own.reference)
        own.progress("reading", 1.0)
        values = count * tall * wide * channels
        diagnostics |= {
            "stored height": tall,
            "stored width": wide,
            "pixel values per parameter": values / network.parameter_count,
        }
        if self.encoder != "correlated-value":
            diagnostics["bits per parameter"] = values * self.bits_per_pixel / network.parameter_count
        return Evidence(recovered=images, diagnostics=diagnostics)

    def _recipe(self, count: int, effort: Effort) -> Recipe:
        steps = -(-count // BATCH_SIZE)
        epochs = self.epochs or max(FEWEST_EPOCHS[effort], -(-STEPS[effort] // max(1, steps)))
        return Recipe(
            network=self.network, epochs=epochs, batch_size=BATCH_SIZE, learning_rate=0.05, precision="float32"
        )

    def _encoder(self, size: tuple[int, int, int], seed: int, effort: Effort) -> Encoder:
        if self.encoder == "lsb":
            return LeastSignificantBits(self.bits_per_pixel)
        if self.encoder == "correlated-value":
            return CorrelatedValue(self.strength or CORRELATION_STRENGTH)
        if self.encoder == "sign":
            return Signs(self.bits_per_pixel, self.strength or SIGN_STRENGTH)
        return CapacityAbuse(self.bits_per_pixel, size, seed, effort, self.epochs or PASSES)

    def _stored_size(
        self, encoder: Encoder, network: Network, count: int, size: tuple[int, int, int]
    ) -> tuple[int, int]:
        capacity = encoder.capacity(network)
        stored = largest_fitting(size, count, capacity)
        if stored is None:
            raise InputError(
                f"The host '{self.network}' of {network.parameter_count:,} parameters holds {capacity:,} pixel values "
                f"with the encoder '{self.encoder}': {count} images of {SMALLEST_SIDE} pixels on their smaller side do "
                "not fit. Hide fewer images, or choose a larger network or another encoder."
            )
        return stored
