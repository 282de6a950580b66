"""What a victim of gradient matching does, and what he sends: settings, and the words for them."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from privaudit.attack import Settings
from privaudit.attacks.gradient_matching.gradients import BatchNormMode
from privaudit.attacks.gradient_matching.sending import Precision, Sending


class VictimSettings(Settings):
    """The victim's half: the network, its training, and how gradients are made of batches."""

    network: str = Field("convnet", description="the victim's network, by name, as in a training recipe")
    epochs: int = Field(0, ge=0, description="epochs the victim has trained before; 0: a fresh network")
    batch_norm: BatchNormMode = Field("evaluation", description="mode of BatchNorm while the gradients are computed")
    statistics: Literal["not-sent", "sent"] = Field(
        "not-sent", description="whether the victim also sends his batch's BatchNorm statistics (batch_norm: training)"
    )
    inputs: Literal["standardised", "unit"] = Field(
        "standardised",
        description="what the network is fed: standardised pixels, or unit: pixels in 0 to 1, not shifted",
    )
    gradient_precision: Precision = Field("float32", description="of what the victim sends: float32 or float64")
    victims: int = Field(64, ge=1, description="batches whose gradients are seen")
    batch_size: int = Field(1, ge=1, description="images in each batch")
    labels: Literal["inferred", "known"] = Field(
        "inferred", description="labels of the batches: inferred from the gradient, or known to the attacker"
    )
    local_steps: int = Field(
        1, ge=1, description="steps of training on a batch before its change is sent; 1: one gradient"
    )
    local_learning_rate: float = Field(0.01, gt=0, description="learning rate of the local steps")
    clip_norm: float | None = Field(
        None, gt=0, description="defence: largest length of an image's gradient; None: not clipped"
    )
    noise_multiplier: float = Field(
        0.0, ge=0, description="defence: noise on a batch's sum of gradients, as a multiple of clip_norm"
    )

    @model_validator(mode="after")
    def _victim_is_possible(self) -> Self:
        if self.inputs == "unit" and self.epochs:
            raise ValueError("inputs 'unit' goes with a fresh network only: set epochs to 0")
        if self.statistics == "sent" and (self.batch_norm != "training" or self.local_steps > 1):
            raise ValueError("statistics 'sent' goes with batch_norm 'training' and one local step only")
        if self.noise_multiplier and self.clip_norm is None:
            raise ValueError("noise_multiplier is a multiple of clip_norm: set clip_norm too")
        if self.clip_norm is not None and (self.batch_norm != "evaluation" or self.local_steps > 1):
            raise ValueError(
                "clip_norm is for the gradient of each image: it goes with batch_norm 'evaluation' and one local step "
                "only"
            )
        return self

    def batches(self, n_release: int) -> tuple[int, int]:
        """Number of batches and images in each; a release smaller than one batch is one batch."""
        size = min(self.batch_size, n_release)
        return min(self.victims, n_release // size), size

    @property
    def sending(self) -> Sending:
        """How what is sent is made."""
        return Sending(
            self.statistics == "sent",
            self.local_steps,
            self.local_learning_rate,
            self.clip_norm,
            self.noise_multiplier,
            self.gradient_precision,
        )


def victim_words(settings: VictimSettings) -> str:
    """What the attacker holds under these settings, as sentences for people."""
    steps, rate = settings.local_steps, settings.local_learning_rate
    state = "fresh" if not settings.epochs else f"trained for {_counted(settings.epochs, 'epoch')}"
    sent = "one gradient" if steps == 1 else f"the change after {steps} local steps of rate {rate:g}"
    normalised = f"with BatchNorm, where it has any, in {settings.batch_norm} mode"
    if settings.batch_norm == "training":
        normalised += f" and the statistics of the batch {settings.statistics.replace('-', ' ')}"
    fed = "standardised pixels" if settings.inputs == "standardised" else "pixels from 0 to 1"
    sentences = [
        f"Here each batch has {_counted(settings.batch_size, 'image')}, and {sent} is sent for it, in "
        f"{settings.gradient_precision}.",
        f"The network ('{settings.network}') is {state}, {normalised}; it is fed {fed}.",
        "He knows the labels." if settings.labels == "known" else "He infers the labels.",
    ]
    if settings.clip_norm is not None:
        noise = f"noise of {settings.noise_multiplier:g} times that" if settings.noise_multiplier else "no noise"
        sentences.append(f"As a defence, each image's gradient is clipped to {settings.clip_norm:g}, with {noise}.")
    return " ".join(sentences)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class ThreatModel:
    """Of the class: what every such attacker holds; of an attack with settings: that, and these in words."""

    def __init__(self, general: str) -> None:
        self.general = general

    def __get__(self, attack: VictimSettings | None, kind: Any = None) -> str:
        return self.general if attack is None else f"{self.general} {victim_words(attack)}"
