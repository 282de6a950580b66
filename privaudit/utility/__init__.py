"""How useful a release is: students trained on it, tested on real images, and its distance to real images.

measurement        the whole, and its task
recipes            how students are trained
students           who is trained on what
intervals          accuracies and their ratio, with intervals over test images and students
feature_distances  Fréchet distance, precision and recall
record             what is found

Published differences between synthetic datasets are often those of their evaluations (RD3, arXiv 2509.19743), so
there is one protocol: the same recipe, steps and class counts on both sides, and real images beside everything.
"""

from privaudit.utility.measurement import FEWEST_SEEDS, MOST_IN_DISTANCES, Utility, measure, utility_task
from privaudit.utility.recipes import student_recipe
from privaudit.utility.record import UtilityRecord

__all__ = [
    "FEWEST_SEEDS",
    "MOST_IN_DISTANCES",
    "Utility",
    "UtilityRecord",
    "measure",
    "student_recipe",
    "utility_task",
]
