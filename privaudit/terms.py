"""Words that the program prints and that are no metric, rule or plugin, each in a plain sentence or two."""

from __future__ import annotations

from collections.abc import Mapping

EXIT_CODES: Mapping[int, str] = {
    0: "Pass, or --no-fail was given. Of other commands: done.",
    1: "Fail: a rule of the policy is broken. Of `compare`: the run gives away more than the baseline.",
    2: "Nothing was done: the command, the configuration or the data cannot be used as given. The message says what "
    "was found, what is allowed, and what to do.",
    3: "Incomplete: a part did not finish (an attack crashed, the disk is full). What was finished is kept; the same "
    "command goes on.",
    4: "Inconclusive: the evidence is not enough for a yes or a no. Do not read it as a pass.",
    130: "Interrupted, with Ctrl-C. What was finished is kept; the same command goes on.",
}

TERMS: Mapping[str, str] = {
    "members": "The private images that the candidate was made from.",
    "controls": "Images of the same source as the members, handled in the same way, that were never used to make the "
    "candidate. What an attack says of them is what it says by chance.",
    "fresh": "Images of the same source that were never used, released in the place of the candidate to see whether an "
    "attack raises false alarms.",
    "reference": "Images that the attacker has of his own.",
    "siblings": "Other images of the persons in members and controls, which no engine was fed: who holds one may try "
    "to link the person to the release. One for each person is set aside, or given with --siblings.",
    "linkage": "Recognising that two images, or an image and a release, are of the same person.",
    "phantom matches": "Strangers that an attack ranks as high as the members it names. They were never used, so they "
    "cannot be true matches.",
    "test": "Real images on which the usefulness of a candidate is measured.",
    "candidate": "What may be published: the images, with labels, that were made from the members.",
    "release": "What is published. As an arm: the attack on the candidate itself.",
    "raw": "The arm in which the members themselves are released: an attack that finds nothing there is worth nothing.",
    "arm": "One run of an attack: on the candidate ('release'), on the members themselves ('raw'), or on images that "
    "nobody used ('fresh').",
    "positive": "As an arm, of attacks that undo what an engine did: the engine run on members, and the attacker told "
    "the truth. An attack that finds nothing there is worth nothing.",
    "negative": "As an arm, of attacks that undo what an engine did: the engine run on images that nobody used. An "
    "attack that finds members there is not valid.",
    "planted members": "Known members that were changed (mirrored, cropped, ...) and put into the candidate, to see "
    "from how many on an attack notices.",
    "policy": "A file of rules that a candidate must keep. `privaudit init` writes one with comments.",
    "rule": "A line of a policy: a metric, the bound that it must keep, and what breaking it means.",
    "waived": "A rule is broken, but a named person let that pass until a named day; the policy says why.",
    "attack": "A program that plays an adversary: it ranks images by how sure it is that they were used.",
    "engine": "A program that makes a candidate from private images; also called a synthesizer.",
    "synthesizer": "A program that makes a candidate from private images; also called an engine.",
    "canary": "A member that was made to stand out (`privaudit canaries`) and was fed to an engine or not by a coin of "
    "its own, to see what the engine does to the worst-off images.",
    "effort": "How much time is spent: quick, standard or thorough. More effort makes attacks stronger.",
    "store": "The folder of finished work (.privaudit), so that a run goes on where it was. It holds private pixels. "
    "`privaudit clean` empties it.",
    "seed": "The number that fixes every random choice: the same seed gives the same result.",
    "plan": "What a run will do, before it does it: steps, what of them is in the store, and how long it may take.",
    "step": "A piece of work that is kept when it is finished, such as one attack on one arm.",
    "not assessed": "Nobody has looked at it in this run. It is not a pass.",
    "not tested": "Nobody has looked at it in this run. It is not a pass.",
    "supports no pass": "The attack found nothing, but has not shown that it would have: its silence says nothing.",
    "required attacks": "The attacks that must run, be silent and have shown power before the verdict can be a pass.",
    "usefulness": "How well a model learns from the candidate, beside the same model trained on as many of the "
    "members.",
    "chance": "What an attack reaches that knows nothing: it ranks members and controls alike.",
    "holm": "A correction for several tests at once: the more attacks are run, the surer each must be to count.",
    "false discovery rate": "The share of a list of suspected members that is innocent, as far as it can be bounded.",
    "false accusations": "Controls that an attack takes for members: at 1 %, one in a hundred strangers is accused.",
    "exchangeable": "Members and controls come from the same source and were handled in the same way, so that only "
    "their use tells them apart. A random split sees to it; otherwise it is assumed.",
    "interval": "The range that holds the true value in 95 of 100 such audits.",
    "identical copies": "Members that are released unchanged, pixel by pixel. This is proof, not suspicion.",
    "suspected": "Members that an attack ranks so high that hardly any control is beside them: suspicion, no proof.",
    "exposed": "Members whom an attack singles out beyond what chance would.",
    "lpips": "A perceptual distance between images. It needs the weights of a network (`privaudit weights add FILE`); "
    "without them it is not assessed.",
    "suspects": "The images that an attack ranks: members and controls in one shuffled pile. It is never told which "
    "are which.",
    "recipient": "Who gets the candidate, as the policy says: a named party under contract, or the public.",
    "benchmark": "A comparison of synthesis settings over several seeds (`privaudit benchmark`). It is no verdict.",
    "noise band": "How far identical settings differ in 95 % of trials, from the baseline made twice. Differences "
    "within it are not called shown.",
    "rank": "The places that a setting may have among all settings of a benchmark; 1 is the best.",
    "frontier": "Settings of a benchmark that no other one beats in both leakage and usefulness.",
    "refuted": "A claim of differential privacy that cannot be true, at 95 %: canaries show more than it allows "
    "(`privaudit dp-audit`). A claim that is not refuted is not proved.",
    "privacy curve": "All pairs of epsilon and delta that a mechanism keeps; it says how many canaries any test may "
    "find at each rate of false accusations.",
    "quick": "The least effort: enough to see the program at work.",
    "thorough": "The most effort: hours, for a decision that matters.",
    "peak memory": "The most memory that privaudit and its processes held at the same moment, looked at once a second; "
    "files that they only map are not counted.",
}

KINDS: Mapping[str, str] = {
    "exact": "unchanged",
    "mirrored": "flipped left to right",
    "jpeg": "compressed as JPEG",
    "cropped": "cut at the edges and enlarged again",
    "blurred": "blurred",
    "brightened": "made brighter",
    "recoloured": "with other colours, or for grey images other tones",
    "noise": "with noise added",
    "rotated": "turned by 3 to 15 degrees",
    "turned": "turned by one, two or three quarters",
    "watermarked": "with lettering over a corner",
    "overlaid": "with half-transparent lettering over the whole image",
    "blend": "mixed with a stranger's image",
    "mosaic": "with half of its blocks replaced by a stranger's",
}
"""How planted members are changed."""

IDS: Mapping[str, str] = {
    "m": "a member; private/ids.csv of the run tells which file or row it is",
    "r": "a released image; private/ids.csv of the run tells which file or row it is",
    "c": "a control; the number counts the controls as they were read, from 0",
    "f": "a fresh image; the number counts them as they were read, from 0",
}
"""First letters of neutral ids, such as m-000123."""
