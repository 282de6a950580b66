"""What is released: candidates made elsewhere, what is published beside their images, and what is public already."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from privaudit.cli.inputs import ALREADY, Parts, announce_notes, named_part, refuse_same
from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.cli.terminal import Announcer
    from privaudit.configuration import CandidateSource, Data
    from privaudit.images import Dataset, Images
    from privaudit.plan import Candidate


def load_candidate(one: CandidateSource, parts: Parts, data: Data, announce: Announcer) -> Candidate:
    """A candidate that was made elsewhere, matched to the members, with what is published beside its images; all its
    files searched for traces.
    """
    from dataclasses import replace

    from privaudit.data.claim_file import doubts, read_claim
    from privaudit.data.filescan import scan
    from privaudit.data.loading import load_release
    from privaudit.data.soft_label_file import matched_with, read_soft_labels
    from privaudit.plan import Candidate

    source = str(one.release)
    claim = None if one.claim is None else read_claim(Path(one.claim))
    with named_part("release"):
        announce("reading the release")
        published, found = load_release(source, window=parts.window, size=data.size, root=data.root)
        soft = None if one.soft_labels is None else read_soft_labels(Path(one.soft_labels), len(found))
        published, found = matched_with(parts.members, published, found, soft)
        announce_notes("release", found, announce)
    refuse_same({**parts.named, ALREADY: parts.public, "release": found})
    if one.statistics is not None:
        from privaudit.data.statistics_file import read_statistics

        if published.statistics is not None:
            raise InputError("The release brings statistics of its own; leave out the file, or statistics.npz in it.")
        statistics = read_statistics(Path(one.statistics), len(parts.members.class_names))
        published = replace(published, statistics=statistics)
    if claim is not None and published.claim is not None:
        raise InputError("The release brings a claim of its own; leave out the file, or the claim in release.json.")
    published = replace(published, claim=claim or published.claim)
    notes = [] if published.claim is None else doubts(published.claim, parts.members)
    announce("looking for traces in the released files")
    named = [
        Path(file) for file in (one.soft_labels, one.statistics, one.claim, one.teacher and one.teacher.file) if file
    ]
    traces = scan(source, parts.members, found, named)
    if one.teacher is not None:
        from privaudit.data.teacher_file import read_header, read_teacher, scan_teacher

        announce("reading the teacher")
        file, classes = Path(one.teacher.file), len(parts.members.class_names)
        traces += tuple(scan_teacher(read_header(file)))
        teacher, said = read_teacher(file, one.teacher.architecture, parts.members.images.size, classes)
        published = replace(published, teacher=teacher, trained_on=one.teacher.trained_on)
        notes += said
    for note in notes:
        announce.note(f"{one.name}: {note}")
    return Candidate(one.name, published, found, traces, tuple(notes))


def load_public(sources: Iterable[str], parts: Parts, data: Data, announce: Announcer) -> Dataset | None:
    """All that is public already, matched to the members; None where nothing is named."""
    from privaudit.data.loading import load_release, match_release
    from privaudit.data.resizing import plural
    from privaudit.identical import public_already
    from privaudit.images import concatenate

    found = []
    for source in sources:
        with named_part(ALREADY):
            announce("reading what is public already")
            release, dataset = load_release(source, window=parts.window, size=data.size, root=data.root)
            release, dataset = match_release(parts.members, release, dataset)
            announce_notes(ALREADY, dataset, announce)
            if release.artifacts:
                beside = " and ".join(artifact.replace("_", " ") for artifact in release.artifacts)
                announce.note(f"{ALREADY}: Not assessed: {beside}. Only images that are public already are looked at.")
            found.append(dataset)
    if not found:
        return None
    refuse_same({**parts.named, **{f"{ALREADY} ({number})": one for number, one in enumerate(found, 1)}})
    public = _joined(found, concatenate([one.images for one in found]))
    count = int(public_already(parts.members.images, public.images).sum())
    beside = f" {plural(count, 'member is', 'members are')} among them unchanged, and not scored." if count else ""
    announce.note(
        f"{ALREADY}: {plural(len(public), 'image is', 'images are')} public already; the attackers see them together "
        f"with each candidate.{beside}"
    )
    return public


def _joined(parts: list[Dataset], images: Images) -> Dataset:
    from dataclasses import replace

    names = tuple(name for part in parts for name in part.names)
    return replace(parts[0], images=images, groups=None, names=names, notes=())
