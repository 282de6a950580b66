"""The glossary: each technical term with the spellings that are linked, and what it means."""

from __future__ import annotations

from collections.abc import Mapping

TERMS: Mapping[str, tuple[str, str]] = {
    "member": ("[Mm]embers?", "A private image that the candidate was made from; or the person whom it shows."),
    "control": (
        "[Cc]ontrols?",
        "An image from the same source as the members that was never used: a stranger. What an attack says about "
        "controls tells what chance gives.",
    ),
    "candidate": ("[Cc]andidates?", "The dataset that is to be published, before anybody has decided."),
    "fresh": ("[Ff]resh", "Images from the same source, never used, and released in the candidate's place as a check."),
    "reference images": ("[Rr]eference images", "Images that the attacker has of his own, from the same source."),
    "arm": ("[Aa]rms?", "One of three releases that an attack is run against: the candidate, originals, strangers."),
    "near-duplicate": ("[Nn]ear-duplicates?", "Two images that show nearly the same."),
    "policy": (
        "[Pp]olic(?:y|ies)",
        "The file with the limits that decide the verdict: written and reviewed by people, not by this tool.",
    ),
    "waiver": (
        "[Ww]aiver|[Ww]aivers|[Ww]aived|waives",
        "A named person lets a broken rule pass until a day, and says why.",
    ),
    "metadata": ("[Mm]etadata|EXIF", "What a file says beside its pixels, such as time, place, device or a name."),
    "singling out": (
        "[Ss]ingling out|[Ss]ingles out|singled out",
        "Telling one person apart: here, that this person's image was used.",
    ),
    "linkability": ("[Ll]inkability", "Whether two records, or two images, can be recognised as the same person's."),
    "inference": ("[Ii]nference", "Deducing something unknown about a person."),
    "suspected member": (
        "[Ss]uspected members?|list of suspected",
        "Members that an attack ranks so high that controls are rare beside them. Suspicion, not proof.",
    ),
    "false discovery rate": (
        "[Ff]alse discovery rates?",
        "The share of wrong names on a list that is accepted on average.",
    ),
    "false accusations": (
        "[Ff]alse accusations|accused wrongly",
        "Controls that an attacker takes for members. Risk is read where they are rare: 1 in 100.",
    ),
    "1 % threshold": (
        "1[ \N{NO-BREAK SPACE}]% threshold",
        "The score that 1 in 100 controls reaches: above it an attacker accuses.",
    ),
    "exposed": (
        "[Ee]xposed|[Ee]xposes",
        "Found by an attack beyond what chance gives, while 1 in 100 strangers is accused wrongly.",
    ),
    "leakage": (
        "[Ll]eakage",
        "A scale from 0, as much as strangers' photographs reveal, to 1, as much as the originals do.",
    ),
    "planted": (
        "[Pp]lanted|[Pp]lants?",
        "Known members, changed and put into the candidate as a test: would the attack find them?",
    ),
    "detection limit": (
        "[Dd]etection limits?",
        "The smallest number of planted members that an attack finds in 95 of 100 cases.",
    ),
    "95 % interval": (
        "95[ \N{NO-BREAK SPACE}]% intervals?|[Ii]ntervals?",
        "The range in which the true value lies: a range made in this way misses it in 5 of 100 audits.",
    ),
    "p value": (
        "p values?|p[ \N{NO-BREAK SPACE}](?:=|&lt;)[ \N{NO-BREAK SPACE}][\\d.]+(?:e-\\d+)?|[Cc]orrected p",
        "How often chance alone gives a result at least this striking, if nothing leaks. Small: hardly chance.",
    ),
    "Holm's correction": (
        "Holm|corrected",
        "Who asks many questions finds something by luck; p values are enlarged to make up for it.",
    ),
    "AUC": (
        "AUC",
        "Area under the ROC curve: how often a random member is ranked above a random control. 0.5 is chance.",
    ),
    "chance": ("[Cc]hance", "What blind guessing gives."),
    "blind baseline": (
        "[Bb]lind baseline",
        "A classifier that never sees the candidate tries to tell members from controls. If it can, they differ.",
    ),
    "exchangeable": (
        "exchangeable",
        "Equal but for chance: it could as well have been the other way round. The comparison rests on it.",
    ),
    "classifier": ("[Cc]lassifiers?", "A program that has learnt to sort images into classes."),
    "gradient": ("[Gg]radients?", "The corrections that a model computes from its training images while it learns."),
    "parameters": ("[Pp]arameters", "The numbers that a trained model consists of."),
    "SSIM": ("SSIM", "Structural similarity of two images; 1: identical."),
    "PSNR": ("PSNR", "Peak signal-to-noise ratio in decibels: closeness in pixels; larger is closer."),
    "LPIPS": ("LPIPS", "Distance of two images as a trained network sees it; 0: identical."),
    "Fréchet distance": ("Fréchet distance", "Distance between two clouds of images in the features of a network."),
    "differential privacy": (
        "[Dd]ifferential[ -]privacy",
        "A promise about a procedure, with a proof: what it publishes hardly depends on any one person's data.",
    ),
    "epsilon": ("[Ee]psilon|ε", "The size of the promise of differential privacy; smaller is stronger."),
    "delta": ("[Dd]elta|δ", "How often the promise of differential privacy may fail."),
    "neutral id": (
        "[Nn]eutral ids?",
        "A number in place of a file name, such as m-000123. Who holds the private half can look it up.",
    ),
    "hash": ("[Hh]ash(?:es)?", "A short fingerprint of data: equal data, equal fingerprint."),
    "seed": ("[Ss]eeds?", "The number that random choices start from, so that they can be repeated."),
    "student": ("[Ss]tudents?", "A model trained on the candidate to find out what it is worth."),
    "suspect": ("[Ss]uspects?", "An image that an attack ranks: a member or a control; it is not told which."),
    "victim": ("[Vv]ictims?", "A model that is trained, and that an attacker looks at."),
    "reach": ("[Rr]each", "How many images an attack can recover; fixed before it runs."),
}
