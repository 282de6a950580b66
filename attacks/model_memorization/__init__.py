"""Model memorization: what a network carries of the release, by its trainer's malice or by itself."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from privaudit.attack import Context, Effort, Evidence, Seen, Settings, Sight, Source
from privaudit.attacks.model_memorization.capacity_abuse import PASSES, CapacityAbuse
from privaudit.attacks.model_memorization.correlated_value import CorrelatedValue
from privaudit.attacks.model_memorization.decoding import READABLE, decoded, readable
from privaudit.attacks.model_memorization.encoder import Encoder, Host
from privaudit.attacks.model_memorization.honest import (
    NETWORK,
    RIGHT,
    honest_parameters,
    published_network,
    ranked_by_loss,
)
from privaudit.attacks.model_memorization.least_significant_bits import LeastSignificantBits
from privaudit.attacks.model_memorization.repetition import Repeated
from privaudit.attacks.model_memorization.rows import Rows, drawn_rows
from privaudit.attacks.model_memorization.signs import Signs
from privaudit.attacks.model_memorization.storage import Storage, kept_in
from privaudit.attacks.model_memorization.stored_size import SMALLEST_SIDE, largest_fitting, shrunk
from privaudit.attacks.model_memorization.transpose import BATCH_SIZE as TRANSPOSE_BATCH
from privaudit.attacks.model_memorization.transpose import WIDTH, Transpose
from privaudit.attacks.model_memorization.transpose_halves import revelation, transposed
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network, Recipe, logits
from privaudit.release import Release

EncoderName = Literal["lsb", "correlated-value", "sign", "capacity-abuse", "transpose", "none"]
IMAGES = {"lsb": 64, "correlated-value": 64, "sign": 64, "capacity-abuse": 20, "transpose": 1000}
BATCH_SIZE = 32
STEPS: dict[Effort, int] = {"quick": 500, "standard": 1500, "thorough": 6000}
FEWEST_EPOCHS: dict[Effort, int] = {"quick": 2, "standard": 6, "thorough": 30}
SIGN_STRENGTH, CORRELATION_STRENGTH = 300.0, 10.0


class ModelMemorization(Settings):
    """Released images hidden in the parameters of a network that was trained on the release.

    The trainer holds the release. His network works as promised and carries images beside it; whoever knows how reads
    them from the published parameters, and has the network name their labels. What comes out are released images: what
    the attack finds of the members, the release had. Encoders: least significant bits of the parameters, values of the
    weights correlated with pixels, signs of the weights, and labels of made-up inputs (capacity abuse; that needs only
    the network's answers, though the attack declares to see parameters). Source: Song, Ristenpart, Shmatikov 2017,
    "Machine Learning Models that Remember Too Much", doi 10.1145/3133956.3134077. Added to it: images that do not fit
    at full size are stored smaller; weights are filled from the largest tensor on; values of weights are also read at
    the mean and spread of the reader's own images; bits that survive float16; copies of all that is hidden.

    transpose: a fully connected network that makes the images of codes when its weights are run backwards (Amit, Levy,
    Mirsky 2024, "Transpose Attack", arXiv 2311.07389), with codes that are counted within each class.

    none: the honest network alone. Suspects are ranked by how small its loss is: what such a network tells without
    anybody's malice. The attack `membership`, where it is installed, asks the same with references.
    """

    name: ClassVar[str] = "model-memorization"
    version: ClassVar[int] = 3
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.PARAMETERS})
    threat_model: ClassVar[str] = (
        "A network is trained on the release by code that its owner did not write. The network works as promised, but "
        "the code hides released images in its parameters. An accomplice who gets the published network, and nothing "
        "else, reads them out."
    )

    encoder: EncoderName = Field(
        "lsb",
        description="where images are hidden: lowest bits, values or signs of weights, labels of made-up inputs, codes "
        "for the network run backwards; none: an honest network",
    )
    network: str = Field(
        "convnet",
        description="the host: convnet, resnet18, resnet34, resnet20, resnet56, torchvision:NAME (not used by "
        "transpose, which has its own)",
    )
    images: int | None = Field(
        None,
        ge=1,
        description="how many released images are hidden; default: 64, with capacity-abuse 20, with transpose 1,000",
    )
    bits_per_pixel: int = Field(4, ge=1, le=8, description="bits of each pixel value (lsb, sign, capacity-abuse)")
    strength: float | None = Field(
        None, gt=0, description="weight of the penalty; default: 10 for correlated-value, 300 for sign"
    )
    epochs: int | None = Field(
        None,
        ge=1,
        description="passes over the release; default by effort: 500, 1,500, 6,000 steps of 32 images (transpose: 128)",
    )
    storage: Storage = Field("float32", description="precision in which the network is published: float32 or float16")
    copies: int = Field(
        1, ge=1, description="everything is hidden so many times and read by the median (not transpose)"
    )
    width: int = Field(WIDTH, ge=1, description="transpose: units of each of the three hidden layers of the host")

    def reach(self, n_release: int) -> int | None:
        """As many images as are hidden; None where nothing is."""
        return None if self.encoder == "none" else min(n_release, self.images or IMAGES[self.encoder])

    def expose(self, release: Release, world: Context) -> Seen:
        """Parameters of the malicious host, with the constants of the code that made it.

        A fifth of the release (10 to 1,000 images) is kept from the host, to count how often it is right, beside an
        honest host. Raises InputError where the host is too small for the images, and where a penalty has no room.
        """
        images = release.images
        reach = self.reach(len(images))
        if reach is None:
            return honest_parameters(images, self._recipe(len(images), world.effort), self.storage, world)
        rows = drawn_rows(len(images), reach, world.generator)
        seed = int(world.generator.integers(2**62))
        if self.encoder == "transpose":
            steps = self.epochs and self.epochs * -(-len(rows.trained) // TRANSPOSE_BATCH)
            host = Transpose(self.width, steps or STEPS[world.effort], seed, world.device, world.progress)
            return transposed(host, images, rows, self.storage)
        return self._exposed(images, rows, seed, world)

    def _exposed(self, images: Images, rows: Rows, seed: int, world: Context) -> Seen:
        clean, classes = images.take(rows.trained), int(images.labels.max(initial=0)) + 1
        recipe = self._recipe(len(clean), world.effort)
        honest = world.train(recipe, clean, world.seed, classes=classes)
        encoder = self._encoder(images.size, seed, world.effort)
        stored = self._stored_size(encoder, honest, len(rows.hidden), images.size)
        hidden = images.take(rows.hidden)
        host = Host(honest, recipe, clean, classes, world.seed, world.device, world.progress)
        carrier = encoder.hide(shrunk(hidden, stored), host)
        published = kept_in(carrier.network, self.storage)
        arrays = {f"{NETWORK}{name}": array for name, array in published.arrays().items()}
        arrays["hidden images"] = np.asarray((len(rows.hidden), *images.size), dtype=np.int64)
        arrays["stored size"] = np.asarray(stored, dtype=np.int64)
        arrays["seed"] = np.asarray(seed, dtype=np.int64)
        counts = dict(carrier.counts)
        counts[READABLE] = readable(encoder, published, hidden, stored), len(hidden)
        held_out = images.take(rows.held_out)
        if len(held_out):
            for name, network in (("host", published), ("honest host", honest)):
                right = int((logits(network, held_out, world.device).argmax(1) == held_out.labels).sum())
                counts[f"{name} {RIGHT}"] = right, len(held_out)
        return Seen(arrays, source=Source(rows.hidden, np.zeros(len(rows.hidden), np.int64), counts))

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Read the images, and let the network name their labels; with an honest network, rank by its loss."""
        if self.encoder == "transpose":
            return revelation(seen)
        network = published_network(seen)
        if self.encoder == "none":
            return ranked_by_loss(network, suspects, own.device)
        count, height, width, channels = (int(number) for number in seen.arrays["hidden images"])
        tall, wide = (int(number) for number in seen.arrays["stored size"])
        size = height, width, channels
        encoder = self._encoder(size, int(seen.arrays["seed"]), own.effort)
        own.progress("reading", 0.0)
        images = decoded(encoder, network, count, (tall, wide), size, own.reference)
        own.progress("reading", 1.0)
        values = count * tall * wide * channels
        capacity = encoder.capacity(network) // (height * width * channels)
        diagnostics = {
            "stored height": tall,
            "stored width": wide,
            "images that fit at full size": capacity,
            "images that fit at full size, per million parameters": 1e6 * capacity / network.parameter_count,
            "pixel values per parameter": values * self.copies / network.parameter_count,
        }
        if self.encoder != "correlated-value":
            diagnostics["bits per parameter"] = values * self.copies * self.bits_per_pixel / network.parameter_count
        return Evidence(recovered=images, diagnostics=diagnostics)

    def _recipe(self, count: int, effort: Effort) -> Recipe:
        steps = -(-count // BATCH_SIZE)
        epochs = self.epochs or max(FEWEST_EPOCHS[effort], -(-STEPS[effort] // max(1, steps)))
        return Recipe(
            network=self.network, epochs=epochs, batch_size=BATCH_SIZE, learning_rate=0.05, precision="float32"
        )

    def _encoder(self, size: tuple[int, int, int], seed: int, effort: Effort) -> Encoder:
        encoder: Encoder
        if self.encoder == "lsb":
            encoder = LeastSignificantBits(self.bits_per_pixel, self.storage)
        elif self.encoder == "correlated-value":
            encoder = CorrelatedValue(self.strength or CORRELATION_STRENGTH)
        elif self.encoder == "sign":
            encoder = Signs(self.bits_per_pixel, self.strength or SIGN_STRENGTH)
        else:
            encoder = CapacityAbuse(self.bits_per_pixel, size, seed, effort, self.epochs or PASSES)
        return encoder if self.copies == 1 else Repeated(encoder, self.copies)

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
