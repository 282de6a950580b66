"""Networks with BatchNorm and one loop that trains teachers, victims and students."""

from privaudit.learning.networks import Architecture, Network
from privaudit.learning.prediction import accuracy, features, logits
from privaudit.learning.recipe import Recipe, Training
from privaudit.learning.training import train
from privaudit.learning.trainings import bfloat16_pays_here, trained

__all__ = [
    "Architecture",
    "Network",
    "Recipe",
    "Training",
    "accuracy",
    "bfloat16_pays_here",
    "features",
    "logits",
    "train",
    "trained",
]
