"""privaudit: attacks a release candidate of an image dataset as an adversary would, and judges it."""

__version__ = "0.1.0"
