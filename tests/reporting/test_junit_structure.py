"""junit.xml against the format that CI servers read: which elements stand where, with which attributes, in which order.

Written from the description of the format (testsuites, testsuite, testcase as Ant, Jenkins and GitLab read them).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from report_examples import RECORDS

from privaudit.reporting.junit import junit_xml

COUNT, SECONDS, TEXT = r"[0-9]+", r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?", r"(?s).*"
COUNTS = dict.fromkeys(("tests", "failures", "errors"), COUNT)

REQUIRED: dict[str, dict[str, str]] = {
    "testsuites": COUNTS,
    "testsuite": {"name": r"(?s).+"} | COUNTS,
    "testcase": {"name": r"(?s).+", "classname": r"(?s).+"},
    "failure": {"message": TEXT},
    "error": {"message": TEXT},
    "skipped": {"message": TEXT},
    "system-out": {},
}
OPTIONAL: dict[str, dict[str, str]] = {
    "testsuites": {"name": TEXT, "time": SECONDS, "skipped": COUNT, "disabled": COUNT},
    "testsuite": {"time": SECONDS, "skipped": COUNT, "disabled": COUNT, "timestamp": TEXT, "hostname": TEXT},
    "testcase": {"time": SECONDS},
    "failure": {"type": TEXT},
    "error": {"type": TEXT},
}
CHILDREN = {
    "testsuites": r"(testsuite )*",
    "testsuite": r"(properties )?(testcase )*(system-out )?(system-err )?",
    "testcase": r"(skipped |failure |error )?(system-out )?(system-err )?",
}
HOSTS = {"hostname", "timestamp"}


def violations(element: ET.Element) -> list[str]:
    """What breaks the format, in this element and below."""
    found = []
    known = REQUIRED.get(element.tag, {}) | OPTIONAL.get(element.tag, {})
    if element.tag not in REQUIRED:
        found.append(f"unknown element {element.tag}")
    found += [f"{element.tag} lacks {name}" for name in REQUIRED.get(element.tag, {}) if name not in element.attrib]
    for name, value in element.attrib.items():
        if name not in known or not re.fullmatch(known[name], value):
            found.append(f"{element.tag} has {name}={value!r}")
    children = "".join(f"{child.tag} " for child in element)
    if not re.fullmatch(CHILDREN.get(element.tag, ""), children):
        found.append(f"{element.tag} holds {children}")
    return found + [one for child in element for one in violations(child)]


@pytest.mark.parametrize("name", RECORDS)
def test_the_file_keeps_the_format(name: str) -> None:
    content = junit_xml(RECORDS[name]())
    assert content.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
    assert b"<!DOCTYPE" not in content
    root = ET.fromstring(content)  # noqa: S314  our own file
    assert root.tag == "testsuites"
    assert violations(root) == []
    assert not any(HOSTS & set(element.attrib) for element in root.iter())  # it is shared
    for suite in root:
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        for what in ("failure", "error", "skipped"):
            counted = {"failure": "failures", "error": "errors", "skipped": "skipped"}[what]
            assert int(suite.attrib[counted]) == len(suite.findall(f"testcase/{what}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<testsuites tests='1' failures='0' errors='0'><testcase/></testsuites>", "testsuites holds testcase"),
        ("<testsuite name='a' tests='one' failures='0' errors='0'/>", "testsuite has tests='one'"),
        ("<testcase name='a' classname='b'><failure message=''/><skipped message=''/></testcase>", "testcase holds"),
        ("<testcase name='a'/>", "testcase lacks classname"),
    ],
)
def test_other_files_do_not(text: str, said: str) -> None:
    assert any(one.startswith(said) for one in violations(ET.fromstring(text)))  # noqa: S314
