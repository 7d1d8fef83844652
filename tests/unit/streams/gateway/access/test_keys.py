"""The file of keys, and what is read of it while it changes."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from streams.gateway.access.keyring import Keyring
from streams.gateway.access.keys import change_keys, make_key, read_keys
from tests.unit.streams.registry.factories import NOW


def test_a_key_is_kept_without_its_text_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, text = make_key("clara", NOW, requests_per_minute=10, name="the front page")
    change_keys(file, lambda keys: [*keys, key])
    assert read_keys(file) == [key]
    assert text.removeprefix(f"lk-{key.id}-") not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_keeps_its_owner_and_who_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, _ = make_key("clara", NOW)
    change_keys(file, lambda keys: [key])
    file.chmod(0o640)
    if os.getuid() == 0:  # nobody else may give files away
        os.chown(file, 65534, 65533)
    before = file.stat()
    change_keys(file, lambda keys: [replace(key, revoked_at=NOW)])
    after = file.stat()
    assert after.st_mode & 0o777 == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_the_keyring_knows_a_key_once_it_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    first, first_text = make_key("clara", NOW)
    second, second_text = make_key("covina", NOW)
    change_keys(file, lambda keys: [first])
    ring = Keyring(file)
    assert ring.find(first_text) == first
    assert ring.find(second_text) is None
    change_keys(file, lambda keys: [replace(first, revoked_at=NOW), second])
    assert ring.find(second_text) == second
    found = ring.find(first_text)
    assert found is not None and found.revoked_at == NOW


@pytest.mark.parametrize("content", ["", "{}", '[{"id": 1}]', "[null]"])
def test_a_file_that_breaks_leaves_the_keys_as_they_were(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    key, text = make_key("clara", NOW)
    change_keys(file, lambda keys: [key])
    ring = Keyring(file)
    file.write_text(content)
    assert ring.find(text) == key
    with pytest.raises(ConfigurationError, match="no file of keys"):
        Keyring(file)
    file.unlink()
    assert ring.find(text) == key
    with pytest.raises(ConfigurationError, match="can't be read"):
        Keyring(file)


def test_keys_need_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no folder"):
        change_keys(tmp_path / "none" / "keys.json", lambda keys: keys)


def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    # Too long beside the process's number, though not by itself.
    file = tmp_path / ("k" * 250)
    with pytest.raises(ConfigurationError, match="can't be written"):
        change_keys(file, lambda keys: keys)
    assert list(tmp_path.iterdir()) == []
