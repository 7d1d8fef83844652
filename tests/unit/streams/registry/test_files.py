"""What is opened of an adapter's folder, and what is refused before a byte is read."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.registry.artifact import CONFIG, WEIGHTS, check_folder
from streams.registry.files import MissingArtifact, UnsoundArtifact, opened, real_folder
from tests.unit.streams.registry.factories import write_weights


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def adapter(root: Path) -> Path:
    write_weights(root / "adapter")
    return root / "adapter"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    write_weights(tmp_path / "outside")
    return tmp_path / "outside"


def test_a_folder_below_a_root_is_allowed(root: Path, adapter: Path, outside: Path) -> None:
    assert check_folder(adapter, roots=(outside, root)).path == adapter


def test_without_roots_a_folder_may_lie_anywhere(outside: Path) -> None:
    check_folder(outside)


def test_a_folder_elsewhere_is_refused_with_what_to_do(root: Path, outside: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"LORELAY_ADAPTER_ROOTS.*move the adapter"):
        check_folder(outside, roots=(root,))


def test_a_folder_whose_name_begins_like_the_root_is_elsewhere(tmp_path: Path, root: Path) -> None:
    write_weights(tmp_path / "root-2")
    with pytest.raises(MissingArtifact, match="outside"):
        check_folder(tmp_path / "root-2", roots=(root,))


def test_going_up_out_of_the_root_is_refused(root: Path, outside: Path) -> None:
    with pytest.raises(MissingArtifact, match="outside"):
        check_folder(root / ".." / "outside", roots=(root,))


def test_a_linked_folder_counts_as_where_it_leads(root: Path, adapter: Path, outside: Path) -> None:
    (root / "inward").symlink_to(adapter)
    (root / "outward").symlink_to(outside)
    assert check_folder(root / "inward", roots=(root,)).path == adapter
    with pytest.raises(MissingArtifact, match=f"leads to {outside}"):
        check_folder(root / "outward", roots=(root,))


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_a_linked_file_that_leaves_the_root_is_refused(
    root: Path, adapter: Path, outside: Path, name: str
) -> None:
    (adapter / name).unlink()
    (adapter / name).symlink_to(outside / name)
    check_folder(adapter)
    with pytest.raises(MissingArtifact, match="outside"):
        check_folder(adapter, roots=(root,))


def test_a_snapshot_of_a_hub_cache_is_allowed_with_the_cache_as_root(
    root: Path, adapter: Path
) -> None:
    snapshot = root / "models--a--b" / "snapshots" / "1234"
    blobs = root / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, name in enumerate((WEIGHTS, CONFIG)):
        (adapter / name).rename(blobs / str(number))
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    assert check_folder(snapshot, roots=(root,)).path == snapshot
    with pytest.raises(MissingArtifact, match="outside"):
        check_folder(snapshot, roots=(snapshot,))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    os.chdir(path.parent)  # the path of a socket has 107 bytes at most
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
@pytest.mark.parametrize(
    ("make", "kind"),
    [(pipe, "pipe"), (listening_socket, "socket"), (device, "device"), (Path.mkdir, "folder")],
)
def test_what_is_no_plain_file_is_refused_without_blocking(
    adapter: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], None],
    kind: str,
    name: str,
) -> None:
    monkeypatch.chdir(adapter)
    (adapter / name).unlink()
    make(adapter / name)
    with pytest.raises(UnsoundArtifact, match=f"is a {kind}, not a file") as raised:
        check_folder(adapter)
    assert not isinstance(raised.value, MissingArtifact)


@pytest.mark.parametrize("ending", ["bin", "pt"])
def test_weights_that_run_code_when_they_are_read_are_refused(adapter: Path, ending: str) -> None:
    (adapter / WEIGHTS).rename(adapter / f"adapter_model.{ending}")
    with pytest.raises(UnsoundArtifact, match=f"adapter_model.{ending}; save them as"):
        check_folder(adapter)


def test_links_in_a_ring_and_links_to_nothing_are_no_files(adapter: Path) -> None:
    (adapter / WEIGHTS).unlink()
    (adapter / WEIGHTS).symlink_to(WEIGHTS)
    with pytest.raises(MissingArtifact, match="can't be read"):
        check_folder(adapter)
    (adapter / WEIGHTS).unlink()
    (adapter / WEIGHTS).symlink_to("nothing")
    with pytest.raises(MissingArtifact, match="can't be read"):
        check_folder(adapter)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "nothing", "x/" * 2500])
def test_a_name_that_no_folder_can_have_is_a_missing_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingArtifact):
        real_folder(tmp_path / name)


def test_a_refusal_can_be_encoded_whatever_the_file_is_called(adapter: Path) -> None:
    (adapter / WEIGHTS).rename(adapter / os.fsdecode(b"adapter_model.\xff"))
    with pytest.raises(UnsoundArtifact) as raised:
        check_folder(adapter)
    assert str(raised.value).encode()


def test_a_file_that_changes_while_it_is_open_is_noticed(adapter: Path) -> None:
    path = adapter / CONFIG
    with opened(path, None) as found:
        found.state.check_unchanged()
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        with pytest.raises(MissingArtifact, match="changed while it was being loaded"):
            found.state.check_unchanged()
        path.unlink()
        with pytest.raises(MissingArtifact, match="can't be read"):
            found.state.check_unchanged()


def test_a_file_that_becomes_shorter_while_it_is_read_is_noticed(adapter: Path) -> None:
    with opened(adapter / WEIGHTS, None) as found:
        os.truncate(adapter / WEIGHTS, 10)
        with pytest.raises(MissingArtifact, match="became shorter"):
            found.read_at(0, found.size_bytes)
