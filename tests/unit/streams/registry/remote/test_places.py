"""Which URIs name a folder that may be fetched."""

import pytest

from streams.registry.files import MissingArtifact
from streams.registry.remote.places import Place, allowed_place, is_remote, redirected
from streams.registry.remote.settings import RemoteSettings

SOURCES = (Place.parse("s3://models/adapters"), Place.parse("https://files.example"))


@pytest.mark.parametrize(
    ("uri", "remote"),
    [
        ("s3://models/a", True),
        ("https://files.example/a", True),
        ("gs://models/a", True),
        ("file:///srv/a", False),
        ("/srv/a", False),
        ("srv/a", False),
    ],
)
def test_what_is_no_path_and_no_file_uri_lies_elsewhere(uri: str, remote: bool) -> None:
    assert is_remote(uri) is remote


@pytest.mark.parametrize(
    "uri",
    [
        "s3://models/adapters",
        "s3://models/adapters/legal/v1/",
        "https://files.example/x",
        "https://FILES.example:443/x",
    ],
)
def test_what_lies_below_a_source_is_allowed(uri: str) -> None:
    place = allowed_place(uri, SOURCES)
    assert place.file("x.bin").endswith("/x.bin")
    assert place.file("x.bin").startswith(place.scheme)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://models/adapters-of-others/legal",
        "s3://models",
        "s3://other/adapters/legal",
        "s3://Models/adapters/legal",
        "https://files.example.evil/x",
        "https://files.example:8443/x",
        "https://example/x",
    ],
)
def test_anything_beside_the_sources_is_refused(uri: str) -> None:
    with pytest.raises(MissingArtifact, match="outside LORELAY_ADAPTER_SOURCES"):
        allowed_place(uri, SOURCES)


def test_nothing_is_allowed_where_no_source_is_named() -> None:
    with pytest.raises(MissingArtifact, match=r"outside LORELAY_ADAPTER_SOURCES \(unset\)"):
        allowed_place("s3://models/adapters/legal", ())


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("http://files.example/x", "only s3:// and https://"),
        ("gs://models/adapters", "only s3:// and https://"),
        ("ftp://files.example/x", "only s3:// and https://"),
        ("https://user:secret@files.example/x", "holds credentials"),
        ("https:///x", "names no host"),
        ("s3:///x", "names no bucket"),
        ("https://files.example\\x/y", "names no host"),
        ("https://files.example/x?token=1", "no plain URI"),
        ("https://files.example/x#part", "no plain URI"),
        ("https://files.example/a b", "no plain URI"),
        ("s3://models/adapters/../secrets", r"goes up by '\.\.'"),
        ("https://files.example/a/%2e%2e/b", r"goes up by '\.\.'"),
        ("https://files.example/a/%252e%252e/b", r"goes up by '\.\.'"),
        ("https://files.example/a%2fb", r"goes up by '\.\.'"),
        ("https://[files/x", "names no folder"),
    ],
)
def test_a_uri_that_may_mean_something_else_is_refused(uri: str, problem: str) -> None:
    with pytest.raises(MissingArtifact, match=problem) as refusal:
        allowed_place(uri, SOURCES)
    assert "secret@" not in str(refusal.value)


def test_a_redirect_may_lead_to_another_allowed_place_with_a_signature() -> None:
    found = redirected("https://files.example/a", "/b?signature=x", SOURCES)
    assert found == "https://files.example/b?signature=x"


@pytest.mark.parametrize(
    "location",
    [
        "http://files.example/b",
        "https://evil.example/b",
        "//evil.example/b",
        "s3://models/adapters/b",
        "file:///etc/passwd",
        "/a/%2e%2e/b",
    ],
)
def test_a_redirect_leads_to_no_other_scheme_or_host(location: str) -> None:
    with pytest.raises(MissingArtifact, match="leads to"):
        redirected("https://files.example/a", location, SOURCES)


def test_sources_come_with_commas_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORELAY_ADAPTER_SOURCES", " s3://models/adapters/ ,https://files.example,")
    assert RemoteSettings().sources == SOURCES


@pytest.mark.parametrize("source", ["s3://", "https://", "/srv/adapters", "http://files.example"])
def test_a_source_that_names_no_place_is_refused(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORELAY_ADAPTER_SOURCES", source)
    with pytest.raises(ValueError, match="adapter_sources"):
        RemoteSettings()
