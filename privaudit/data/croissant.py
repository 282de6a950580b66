"""croissant.json: a release in the words of Croissant 1.1 and its responsible-AI vocabulary 1.0 (MLCommons).

Sources: http://mlcommons.org/croissant/1.1 (2026-01-29), http://mlcommons.org/croissant/RAI/1.0 (2024-03-06); Akhtar
et al. 2024, Croissant: a metadata format for ML-ready datasets, doi 10.1145/3650203.3663326. What the program does not
know is left out, even where Croissant asks for it: licence, creator, address, date of publication, uses, maintenance.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from privaudit.data.description import Description, File
from privaudit.data.resizing import describe, plural

CROISSANT = "croissant.json"

NPY = "https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html"
_ZIP = "application/zip"
_TERMS = (
    *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract"),
    *("field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"),
    *("key", "md5", "parentField", "path", "readLines", "recordSet", "references", "regex", "repeated", "replace"),
    *("samplingRate", "sdVersion", "separator", "source", "subField", "transform", "unArchive", "value"),
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _TERMS},
}

OWNERS = frozenset(
    {"citeAs", "creator", "dateCreated", "dateModified", "datePublished", "keywords", "license", "publisher", "url"}
    | {"version", "rai:dataUseCases", "rai:dataSocialImpact", "rai:dataReleaseMaintenancePlan"}
)
"""Fields that only the owner of a release can fill; whoever adds them to the file does what he should."""

_LARGEST = 2**24

NOT_ASSESSED = (
    "whether members can be told from non-members by an attack on the images, or by one on a model trained on them",
    "whether released images are near copies of private ones, and whether persons can be recognised or linked",
    "whether attributes of the persons behind the private images can be inferred",
    "how useful the images are for training, and how like real ones they look",
    "biases of the private images, and those that making the release added",
    "hidden messages in the pixels",
)
"""What nobody had looked at when a release was written; an audit comes later and has a report of its own."""


def croissant_json(release: Description) -> bytes:
    """The content of croissant.json: JSON-LD in UTF-8. Equal facts give equal bytes."""
    kind = "Synthetic images" if release.engine else "Images"
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"{kind} {release.images_sha256[:12]}",
        "description": (
            f"{plural(release.images, 'labelled image')} of {describe(*release.size)}, in "
            f"{plural(len(release.classes), 'class', 'classes')}. The labels are "
            f"{'hard and soft' if release.soft_labels else 'hard'}. release.json has the provenance, DATASHEET.md the "
            "datasheet."
        ),
        "distribution": _distribution(release),
        "recordSet": [*([] if release.shards else [_images()]), _classes(release)],
        **_responsible_ai(release),
    }
    if release.engine:
        agent = {"@type": "prov:SoftwareAgent", "prov:label": _engine(release)}
        content["prov:wasGeneratedBy"] = {
            "@type": "prov:Activity",
            "prov:label": "synthesis",
            "prov:wasAssociatedWith": agent,
        }
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _distribution(release: Description) -> list[dict[str, Any]]:
    found = [
        _file_object(shard, _ZIP, "NumPy archive: images (uint8 [N, H, W, C]), labels (int64 [N]), class_names.")
        for shard in release.shards
    ]
    if not release.shards:
        found.append(
            {
                "@type": "cr:FileSet",
                "@id": "image-files",
                "name": "image-files",
                "description": (
                    "One PNG file per image: images/<class number>/<row>.png. SHA-256 of the lines that sha256sum "
                    f"writes for all of them in the order of their paths: {release.images_sha256}"
                ),
                "encodingFormat": "image/png",
                "includes": f"images/{'[0-9]' * 5}/{'[0-9]' * 9}.png",
            }
        )
    if release.soft_labels:
        text = (
            "float [images, classes], or [images, views, classes], in the order of the rows: a weight for every class."
        )
        found.append(_file_object(release.soft_labels, NPY, text))
    return found


def _file_object(file: File, encoding: str, text: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "description": text,
        "contentUrl": file.path,
        "contentSize": f"{file.size} B",
        "encodingFormat": encoding,
        "sha256": file.sha256,
    }


def _images() -> dict[str, Any]:
    def from_path(regex: str) -> dict[str, Any]:
        return {"extract": {"fileProperty": "fullpath"}, "transform": {"regex": regex}}

    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "One record per image.",
        "key": {"@id": "images/row"},
        "field": [
            _field("images/row", "Row of the image in the release.", "sc:Integer", from_path(r".*?([0-9]{9})\.png$")),
            _field(
                "images/label",
                "Class number; classes has the names.",
                ["sc:Integer", "cr:Label"],
                from_path(r"(?:.*[/\\])?images[/\\]([0-9]{5})[/\\]"),
            ),
            _field("images/path", "Path of the file.", "sc:Text", {"extract": {"fileProperty": "fullpath"}}),
            _field("images/image", "The picture.", "sc:ImageObject", {"extract": {"fileProperty": "content"}}),
        ],
    }


def _field(name: str, text: str, kind: str | list[str], source: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"@type": "cr:Field", "@id": name, "name": name, "description": text, "dataType": kind}
    return found if source is None else found | {"source": {"fileSet": {"@id": "image-files"}} | source}


def _classes(release: Description) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The classes by number, with how many images each has.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/number"},
        "field": [
            _field("classes/number", "Class number.", "sc:Integer"),
            _field("classes/name", "Name of the class.", ["sc:Text", "sc:name"]),
            _field("classes/images", "Number of images.", "sc:Integer"),
        ],
        "data": [
            {"classes/number": number, "classes/name": name, "classes/images": count}
            for number, (name, count) in enumerate(release.classes)
        ],
    }


def _responsible_ai(release: Description) -> dict[str, Any]:
    """The rai: fields that are known."""
    counts = [count for _, count in release.classes]
    found: dict[str, Any] = {}
    if release.engine:
        settings = "; ".join(f"{key} = {value}" for key, value in release.settings)
        words = [f"Made by {_engine(release)} from private images. No released image was collected."]
        if settings:
            words.append(f"Settings: {settings}.")
        if release.settings_left_out:
            words.append(f"{plural(release.settings_left_out, 'further setting')} in release.json.")
        found["rai:dataCollection"] = " ".join(words)
        found["rai:dataCollectionType"] = ["synthetic"]
        found["rai:dataAnnotationProtocol"] = "The labels were set by the engine; nobody annotated the images."
    found["rai:dataLimitations"] = [f"Not assessed when this file was written: {text}." for text in NOT_ASSESSED]
    found["rai:dataBiases"] = [
        f"There are {min(counts)} to {max(counts)} images per class. What else is unbalanced was not assessed."
    ]
    found["rai:personalSensitiveInformation"] = [
        "Whether the release discloses anything about persons was not assessed when this file was written.",
        _claim(release),
    ]
    return found


def _engine(release: Description) -> str:
    version = f" (version {release.engine_version})" if release.engine_version else ""
    return f"the engine {release.engine}{version}"


def _claim(release: Description) -> str:
    claim = release.claim
    if claim is None:
        return "Differential privacy is not claimed."
    return (
        f"The maker claims differential privacy: epsilon = {claim.epsilon}, delta = {claim.delta}, unit: one "
        f"{claim.unit}, adjacency: {claim.adjacency}. The claim was not verified."
    )


def completes(path: Path, written: bytes) -> bool:
    """Whether a file is what privaudit has written, with nothing but the owner's own fields added."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
        return False
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    if not isinstance(found, dict):
        return False
    expected = json.loads(written)
    rest = {name: value for name, value in found.items() if name in expected or name not in OWNERS}
    return bool(rest == expected)
