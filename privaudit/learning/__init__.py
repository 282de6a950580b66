"""Networks with BatchNorm and one loop that trains teachers, victims and students."""

from privaudit.learning.networks import Architecture, Network
from privaudit.learning.prediction import accuracy, features, logits, probabilities
from privaudit.learning.recipe import Precision, Recipe, Training
from privaudit.learning.training import train
from privaudit.learning.trainings import in_bfloat16, trained

__all__ = [
    "Architecture",
    "Network",
    "Precision",
    "Recipe",
    "Training",
    "accuracy",
    "features",
    "in_bfloat16",
    "logits",
    "probabilities",
    "train",
    "trained",
]
