"""The page's files: all of them its own, and none that lets a string become HTML."""

import re

import pytest

from streams.gateway.dashboard.files import page_file

PAGE = ("index.html", "style.css", "icon.svg", "main.js")


def text_of(name: str) -> str:
    found = page_file(name)
    assert found is not None, name
    return bytes(found.body).decode()


def modules() -> set[str]:
    """Every module that the page loads."""
    found, left = set[str](), ["main.js"]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += re.findall(r'from "\./([a-z]+\.js)"', text_of(name))
    return found


@pytest.mark.parametrize("name", PAGE)
def test_files_come_under_a_strict_policy(name: str) -> None:
    found = page_file(name)
    assert found is not None
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert found.headers["x-content-type-options"] == "nosniff"


def test_there_is_nothing_else() -> None:
    assert page_file("../answers.py") is None
    assert page_file("__init__.py") is None


def test_the_page_needs_nothing_from_elsewhere_and_nothing_inline() -> None:
    page = text_of("index.html")
    assert re.findall(r"(?:href|src)=\"(?!#|dashboard/)", page) == []
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", page)
    assert not re.search(r"url\(|@import", text_of("style.css"))


def test_no_module_writes_html() -> None:
    found = modules()
    assert {"feed.js", "queries.js", "charts.js"} <= found
    for name in found:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://(?!www\.w3)",
            text_of(name),
        ), name
