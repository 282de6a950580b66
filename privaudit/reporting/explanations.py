"""What every number means, in plain words, in one place: which way is better and what it does not show.

The report prints the sentences under the numbers; `privaudit explain` can print the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from privaudit.errors import InputError, suggestion
from privaudit.record import Verdict


@dataclass(frozen=True)
class Explanation:
    """title: the name people read. better: which way is better. means: what it is. not_shown: what it leaves open."""

    title: str
    better: str
    means: str
    not_shown: str

    @property
    def text(self) -> str:
        """All three sentences in order."""
        return f"{self.better} {self.means} {self.not_shown}"


@dataclass(frozen=True)
class VerdictWords:
    """How a verdict is shown: never by colour alone."""

    word: str
    symbol: str
    means: str


VERDICTS: Mapping[Verdict, VerdictWords] = {
    "pass": VerdictWords(
        "Pass",
        "✓",
        "The attacks that the policy requires found no leak above its limits, and they showed on planted images "
        "what they would have found. This is evidence about these attacks at this strength. It is no proof that "
        "nobody in the private data can be recognised.",
    ),
    "fail": VerdictWords(
        "Fail",
        "✕",
        "At least one rule of the policy is broken: the release shows which private images went into it, or its "
        "files carry more than they should. Publishing it as it is would break the policy.",
    ),
    "inconclusive": VerdictWords(
        "Inconclusive",
        "?",
        "The evidence is not enough for a yes or a no. Do not read this as a pass: read the reasons, mend what "
        "they name, and audit again.",
    ),
    "incomplete": VerdictWords(
        "Incomplete",
        "!",
        "A part of the audit that the policy requires did not finish. Do not read this as a pass: finish the run "
        "first. What was computed is kept.",
    ),
}

SILENT = VerdictWords(
    "Silent",
    "–",
    "The attack found nothing, but it has not shown that it would have: its silence supports no pass.",
)


def attack_words(verdict: Verdict, supports_pass: bool) -> VerdictWords:
    """How the verdict of one attack is shown: silence that supports nothing is never shown as a pass."""
    return SILENT if verdict == "pass" and not supports_pass else VERDICTS[verdict]


ARMS: Mapping[str, tuple[str, str]] = {
    "release": ("Release", "The candidate itself: this is the question."),
    "raw": (
        "Originals (raw)",
        "Private images published as they are: here the attack must succeed, or its silence means nothing.",
    ),
    "fresh": (
        "Strangers (fresh)",
        "Images of the same source that were never fed in: here the attack must find nothing, or the comparison is not "
        "valid.",
    ),
    "positive": (
        "Engine on members (positive)",
        "For an attack that undoes what an engine did: the engine run on private images, and the attacker told the "
        "truth. Here the attack must succeed.",
    ),
    "negative": (
        "Engine on strangers (negative)",
        "The engine run on images that were never fed in: here the attack must find nothing.",
    ),
}

EXPLANATIONS: Mapping[str, Explanation] = {
    "tpr_at_1pct_fpr": Explanation(
        "Members found at 1 % false accusations",
        "Lower is better in the release.",
        "The attacker accuses as many as possible while at most 1 in 100 strangers is accused wrongly; this is the "
        "share of members accused rightly. Chance alone gives 1 %. The brackets hold the 95 % interval.",
        "It does not show what another attacker, or this one with more means, would find.",
    ),
    "auc": Explanation(
        "Quality of the whole ranking (AUC)",
        "Closer to 0.5 is better in the release.",
        "How often a random member is ranked above a random control: 0.5 is chance, 1 is always.",
        "It is an average: it does not show whether a few are fully exposed.",
    ),
    "r0": Explanation(
        "Members ahead of every control",
        "Fewer is better in the release.",
        "Members that the attack ranks above every image that was never fed in.",
        "It does not show by itself that these were copied: chance puts some there, as its p value tells.",
    ),
    "top20": Explanation(
        "Members among the 20 highest scores",
        "Fewer is better in the release.",
        "Of the 20 suspects that the attack is surest of, the number that are members; the p value compares it "
        "with blind drawing.",
        "It does not show leaks that are too rare to fill the first 20 places.",
    ),
    "p": Explanation(
        "Could this be chance?",
        "Larger is better in the release.",
        "The probability that an attack without any knowledge ranks the members at least this well (the smallest "
        "of three tests, times three).",
        "A large value does not show that nothing leaks, only that this attack saw nothing with this many images.",
    ),
    "p_holm": Explanation(
        "The same, corrected for the number of attacks",
        "Larger is better in the release.",
        "Who tries many attacks will sooner or later be lucky; this value is corrected for it (Holm), and the "
        "verdict rests on it.",
        "It does not show how large a leak is, only how surely there is one.",
    ),
    "hits_at_reach": Explanation(
        "Hits among the recovered images",
        "Lower is better in the release.",
        "This attack can recover a fixed number of images only; this is the share of members among the suspects "
        "that it is surest of.",
        "Silence here supports no pass: a leak smaller than its reach can resolve stays unseen.",
    ),
    "own_source": Explanation(
        "Own source recovered",
        "Higher is better in the originals: the attack works.",
        "Share of the recovered images that lie nearer to the image that its victim really used than to any other "
        "image of that class: the attacker got this very image, not only one like it.",
        "It does not show that members are exposed: in the release its source are released images.",
    ),
    "own_psnr": Explanation(
        "Likeness to the own source (PSNR, dB)",
        "Higher is better in the originals: the attack is sharper.",
        "Median over the recovered images, each beside the image of its victim that it was matched with.",
        "It does not show whether the source was a member.",
    ),
    "nearest_is_member": Explanation(
        "Recovered images that lie nearest to a member",
        "Nearer to chance is better in the release.",
        "Share of the recovered images whose nearest suspect is a member and not a control.",
        "It is an average: it does not show single members.",
    ),
    "recovered_ssim": Explanation(
        "Likeness to the nearest member (SSIM)",
        "In the release, more strangers that are more alike are better.",
        "Similarity of the recovered images to their nearest members, and the share of held-out real images that "
        "resemble a member more than half of them do.",
        "It is evidence of copying only: low values do not show that people cannot be recognised.",
    ),
    "recovered_psnr": Explanation(
        "Likeness to the nearest member (PSNR, dB)",
        "In the release, more strangers that are more alike are better.",
        "The same in pixels.",
        "It is evidence of copying only: low values do not show that people cannot be recognised.",
    ),
    "recovered_lpips": Explanation(
        "Likeness to the nearest member (LPIPS)",
        "In the release, more strangers that are more alike are better.",
        "The same as a network sees it; 0 is identical.",
        "It is evidence of copying only: large values do not show that people cannot be recognised.",
    ),
    "reconstruction": Explanation(
        "What attackers reconstruct from a model",
        "In the release columns, values like those of strangers are better.",
        "A model that is trained gives away what it learns from. Each attack that works on such a model is shown for "
        "a model trained on the originals and for one trained on the release.",
        "It describes and judges nothing: what an attacker gets from a model trained on the release can hold no more "
        "about members than the release itself, which the other attacks hold.",
    ),
    "exposed_share": Explanation(
        "Members exposed to this attack",
        "Fewer is better.",
        "The range in which the number of members lies whom the attack singles out beyond what chance would, at "
        "1 in 100 false accusations (bounds of the 95 % interval).",
        "It does not name them, and it does not cover other attacks.",
    ),
    "leakage": Explanation(
        "Leakage scale",
        "Lower is better.",
        "0: the release reveals as much as strangers' photographs. 1: as much as publishing the originals.",
        "It is a description and in no rule of the policy; it is an average and does not show single exposed members.",
    ),
    "detection_limit": Explanation(
        "What this attack would have found",
        "Smaller is better: the attack is more watchful.",
        "Known members were changed, put into this candidate and searched for by the attack's own ranking, with "
        "lists of identical files switched off.",
        "It does not show that smaller leaks, or leaks of another kind, are absent.",
    ),
    "identical": Explanation(
        "Identical copies",
        "None is the only good number.",
        "Private images that are released pixel by pixel. This is proof, not suspicion.",
        "It does not count changed copies: mirrored, cropped or recompressed images are searched for by the attacks.",
    ),
    "common": Explanation(
        "Matches that prove nothing",
        "No direction is better.",
        "Released images that equal a member but are flat or equal an image that was never fed in as well.",
        "They are not counted as copies, and they do not clear the other images.",
    ),
    "suspected": Explanation(
        "Suspected members",
        "Fewer is better.",
        "Members that the attack ranks so high that controls are rare beside them.",
        "The list is suspicion, not proof: it does not tell which of its entries are innocent.",
    ),
    "scan": Explanation(
        "What the files carry beside the pixels",
        "None is best.",
        "Metadata, trailing bytes, and file names or an order that repeat those of the private images.",
        "It does not look into the pixels: hidden messages in the images are not searched for.",
    ),
    "blind_baseline": Explanation(
        "Blind baseline",
        "Closer to 0.5 is better.",
        "A classifier that never sees the release tries to tell members from controls. If it can, they come from "
        "different sources, and every ranking below would measure that difference instead of a leak.",
        "Passing does not show that the two are alike in every respect.",
    ),
    "fresh_check": Explanation(
        "Fresh check",
        "Larger p values are better.",
        "Each attack is run against images that were never fed in; it must not tell members from controls there, "
        "in either direction.",
        "Passing does not show that the attack is strong; that is what the originals and the plants are for.",
    ),
    "roc": Explanation(
        "Right against false accusations",
        "Curves nearer to the chance line are better for the release.",
        "Left are the cautious attackers who accuse few strangers wrongly, right the careless ones. Both axes "
        "are logarithmic, because privacy is decided at the left end.",
        "Values are read off the curve without interval; the left end rests on few images.",
    ),
    "score_law": Explanation(
        "Scores of members and controls in the release",
        "The more the two outlines agree, the better.",
        "How sure the attack is of each image, for members and for images that were never fed in.",
        "Agreement on most images does not show that a few members far to the right are not exposed.",
    ),
    "arms": Explanation(
        "The three arms side by side",
        "The release should lie beside the strangers and far from the originals.",
        "Members found at 1 % false accusations, with the 95 % interval; dotted: chance; dashed: policy limit.",
        "It does not show other attackers; an interval that crosses the limit decides nothing.",
    ),
    "power": Explanation(
        "How often planted images would have been noticed",
        "Curves that rise further to the left are better: the attack is more watchful.",
        "Share of trials in which the verdict rule noticed the planted images, by their number.",
        "It does not show how the attack does on kinds of copying that were not planted.",
    ),
    "ssim": Explanation(
        "Structural similarity (SSIM)",
        "The release should not lie above the held-out controls.",
        "Similarity of each released image to its nearest member, beside the same for held-out real images; "
        "1 is identical.",
        "It is evidence of copying only: low values do not show that people cannot be recognised.",
    ),
    "psnr": Explanation(
        "Peak signal-to-noise ratio (PSNR, dB)",
        "The release should not lie above the held-out controls.",
        "Closeness in pixels to the nearest member, beside the same for held-out real images; larger is closer.",
        "It is evidence of copying only: low values do not show that people cannot be recognised.",
    ),
    "lpips": Explanation(
        "Perceptual distance (LPIPS)",
        "The release should not lie below the held-out controls.",
        "Distance to the nearest member as a network sees it, beside the same for held-out real images; 0 is "
        "identical.",
        "It is evidence of copying only: large values do not show that people cannot be recognised.",
    ),
    "utility": Explanation(
        "Usefulness",
        "Higher is better.",
        "How well a model learns from the release, beside the same model trained on the private images.",
        "It says nothing about privacy, and it does not show usefulness for another task.",
    ),
    "utility_ratio": Explanation(
        "Accuracy kept",
        "Higher is better; 100 % means that nothing was lost.",
        "Accuracy from the release as a share of that from as many private images.",
        "It says nothing about privacy.",
    ),
    "frechet": Explanation(
        "Fr\u00e9chet distance",
        "Lower is better; the private images show what is in reach.",
        "Distance between the clouds that released and real images form in the features of a network.",
        "It does not show copies, nor distances as another network sees them.",
    ),
    "precision": Explanation(
        "Precision",
        "Higher is better.",
        "Share of the images that lie among the real test images.",
        "It does not show variety.",
    ),
    "recall": Explanation(
        "Recall",
        "Higher is better.",
        "Share of the real test images that lie among the images: variety.",
        "It does not show that the images look real.",
    ),
    "rules": Explanation(
        "The rules of the policy",
        "All kept is best.",
        "What the policy limits, what was measured with its 95 % interval, and what came of it. Beside these rules "
        "stand the fixed tests of the evidence standard: whether an attack ranks members above strangers better than "
        "chance, and whether members and controls can be compared.",
        "Kept rules do not show safety beyond what was measured; waived rules are broken, and a person let them pass.",
    ),
    "data": Explanation(
        "What was audited",
        "More images are better: the answer gets sharper.",
        "Small numbers can hide a leak: the smallest risk that an audit can see depends on them.",
        "They do not show whether these images stand for all that may be published later.",
    ),
}


def explain(name: str) -> Explanation:
    """The sentences of a metric. Raises InputError for an unknown name."""
    if name not in EXPLANATIONS:
        raise InputError(f"Nothing is called '{name}'. {suggestion(name, EXPLANATIONS)}")
    return EXPLANATIONS[name]


def plant_name(kind: str) -> str:
    """A kind of plant in words; an unknown kind keeps its name."""
    return _PLANTS.get(kind, kind)


_PLANTS: Mapping[str, str] = {
    "exact": "unchanged",
    "mirror": "mirrored",
    "mirrored": "mirrored",
    "crop": "cropped",
    "cropped": "cropped",
    "blur": "blurred",
    "blurred": "blurred",
    "jpeg": "recompressed (JPEG)",
    "noise": "with noise",
    "blend": "blended with a stranger",
    "brighten": "brightened",
    "brightened": "brightened",
    "recoloured": "recoloured",
    "rotated": "turned by some degrees",
    "turned": "turned by quarters",
    "watermarked": "watermarked",
    "overlaid": "covered with see-through lettering",
    "mosaic": "mixed with a stranger block by block",
}
