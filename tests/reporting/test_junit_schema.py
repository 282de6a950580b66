"""junit.xml against a schema of the format that CI servers read, by a validator of others."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import pytest
import xmlschema
from report_examples import RECORDS

from privaudit.reporting.junit import junit_xml


@cache
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd")))


@pytest.mark.parametrize("name", RECORDS)
def test_the_file_keeps_the_format(name: str) -> None:
    content = junit_xml(RECORDS[name]())
    assert content.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
    schema().validate(content.decode())
    root = ET.fromstring(content)  # noqa: S314  our own file
    assert not any({"hostname", "timestamp"} & set(element.attrib) for element in root.iter())  # it is shared
    for suite in root:
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        for what, counted in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.attrib[counted]) == len(suite.findall(f"testcase/{what}"))


@pytest.mark.parametrize(
    "text",
    [
        "<testsuites tests='1' failures='0' errors='0'><testcase name='a' classname='b'/></testsuites>",
        "<testsuites tests='one' failures='0' errors='0'/>",
        "<testsuite tests='0' failures='0' errors='0'/>",
        "<testcase name='a' classname='b'><failure message=''/><skipped message=''/></testcase>",
        "<testcase name='a' classname='b' host='c'/>",
    ],
)
def test_the_schema_refuses_what_is_wrong(text: str) -> None:
    assert not schema().is_valid(text)
