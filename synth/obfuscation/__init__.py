"""What is done to images so that nobody is recognised, as a comparison: blur, coarse pixels, noise, mixtures."""

from privaudit.synth.obfuscation.filters import AdditiveNoise, Blur, Pixelise
from privaudit.synth.obfuscation.mixtures import InstaHide, Mixup

__all__ = ["AdditiveNoise", "Blur", "InstaHide", "Mixup", "Pixelise"]
