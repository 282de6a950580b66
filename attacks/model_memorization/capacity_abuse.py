"""Hidden in what the network answers to made-up inputs that it was trained on beside its own images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.attack import Effort
from privaudit.attacks.model_memorization.encoder import Carrier, Host
from privaudit.attacks.model_memorization.labelled_inputs import labels_of, labels_per_value, levels_of, made_up
from privaudit.attacks.model_memorization.quantisation import grey_values, quantised
from privaudit.images import Images, concatenate
from privaudit.learning import Network, logits

PASSES = 20
"""Over the made-up inputs; fewer teach too little. The effort decides how many inputs there are instead."""

PARAMETERS_PER_INPUT: dict[Effort, int] = {"quick": 40, "standard": 20, "thorough": 10}


@dataclass(frozen=True)
class CapacityAbuse:
    """Labels of made-up inputs carry the values; the reader asks the network for them (Song et al. 2017, section 4.4).

    The parameters are not needed, only answers. bits: per value. size: of the host's images. seed: of the inputs.
    An epoch passes twice over the clean images and once over the made-up inputs, in mixed batches. The published one
    is an augmented pass over the clean images and a plain one over both; hosts here are trained without augmentation,
    so that the two are the same images. The inputs are uniform noise: coarse patches are learned much more slowly.
    """

    bits: int
    size: tuple[int, int, int]
    seed: int
    effort: Effort
    epochs: int = PASSES

    def capacity(self, network: Network) -> int:
        """One made-up input for every 40, 20 or 10 parameters, by effort: what twenty passes can teach."""
        classes = network.architecture.classes
        if classes < 2:
            return 0
        return network.parameter_count // PARAMETERS_PER_INPUT[self.effort] // labels_per_value(classes, self.bits)

    def hide(self, values: NDArray[np.float32], host: Host) -> Carrier:
        """The host trained on the made-up inputs too; counts the labels that it then gives back."""
        labels = labels_of(quantised(values, self.bits), host.classes, self.bits)
        inputs = Images(made_up(len(labels), self.size, self.seed), labels)
        network = host.trained(extra=concatenate([host.images, inputs]), epochs=self.epochs)
        right = int((logits(network, inputs).argmax(1) == labels).sum())
        return Carrier(network, {"labels of made-up inputs right": (right, len(labels))})

    def reading(self, network: Network, count: int, reference: Images | None) -> NDArray[np.float32]:
        """The values whose labels the network gives to the made-up inputs."""
        classes = network.architecture.classes
        made = made_up(count * labels_per_value(classes, self.bits), self.size, self.seed)
        found = logits(network, Images(made, np.zeros(len(made), np.int64))).argmax(1)
        return grey_values(levels_of(found.astype(np.int64), classes, self.bits), self.bits)
