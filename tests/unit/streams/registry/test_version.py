import pytest

from streams.registry.version import parse, split_key


def test_versions_are_ordered_by_precedence_not_by_text() -> None:
    ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2.0.0"]
    assert sorted(reversed(ordered), key=parse) == ordered


@pytest.mark.parametrize("version", ["", "1", "1.0", "v1.0.0", "1.0.0.0", "1.0.0+5", "01.0.0"])
def test_what_is_no_plain_semantic_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(version)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("legal-qa-v1@1.0.0", ("legal-qa-v1", "1.0.0")),
        ("legal-qa-v1", ("legal-qa-v1", "")),
        ("legal-qa", ("legal-qa", "")),
    ],
)
def test_a_key_is_an_id_and_a_version(key: str, parts: tuple[str, str]) -> None:
    assert split_key(key) == parts
