"""Membership inference: is a network surer of an image than it would be had it not been trained on it?"""

from privaudit.attacks.membership.pipeline import PipelineShadows
from privaudit.attacks.membership.release import Membership
from privaudit.attacks.membership.soft_labels import SoftLabelMembership
from privaudit.attacks.membership.teacher import TeacherMembership

__all__ = ["Membership", "PipelineShadows", "SoftLabelMembership", "TeacherMembership"]
