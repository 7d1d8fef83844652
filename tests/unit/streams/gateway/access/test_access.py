"""Who is let in."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from streams.gateway.access.access import Access
from streams.gateway.access.keyring import Keyring
from streams.gateway.access.keys import Key, change_keys, make_key
from streams.gateway.failures import AdminOff, Forbidden, Unauthenticated
from tests.unit.streams.registry.factories import NOW


def test_the_admin_is_known_by_his_token() -> None:
    Access(SecretStr("s3cret")).check_admin("s3cret")


@pytest.mark.parametrize("token", [None, "", "s3cre", "s3crets", "ü"])
def test_nobody_else_is_the_admin(token: str | None) -> None:
    with pytest.raises(Unauthenticated):
        Access(SecretStr("s3cret")).check_admin(token)


def test_without_a_token_nobody_is_admin_and_is_told_what_to_set() -> None:
    with pytest.raises(AdminOff, match="LORELAY_ADMIN_TOKEN"):
        Access(None).check_admin("anything")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def keyring(file: Path, *keys: Key) -> Keyring:
    change_keys(file, lambda _: keys)
    return Keyring(file)


def test_without_keys_everybody_is_a_user() -> None:
    assert Access(None).user(None) is None
    Access(None).check_reader("anything")


def test_a_user_is_known_by_his_key(file: Path) -> None:
    key, text = make_key("clara", NOW)
    access = Access(SecretStr("s3cret"), keyring(file, key))
    assert access.user(text) == key
    access.check_reader(text)
    access.check_reader("s3cret")
    with pytest.raises(Forbidden):
        access.check_admin(text)


@pytest.mark.parametrize("token", [None, "lk-00000000-x", "ü"])
def test_with_keys_nobody_else_is_let_in(file: Path, token: str | None) -> None:
    access = Access(SecretStr("s3cret"), keyring(file))
    with pytest.raises(Unauthenticated):
        access.user(token)
    with pytest.raises(Unauthenticated):
        access.check_reader(token)


def test_the_admin_does_not_ask(file: Path) -> None:
    with pytest.raises(Forbidden):
        Access(SecretStr("s3cret"), keyring(file)).user("s3cret")


def test_a_revoked_key_opens_nothing(file: Path) -> None:
    key, text = make_key("clara", NOW)
    access = Access(None, keyring(file, replace(key, revoked_at=NOW)))
    with pytest.raises(Unauthenticated, match="was revoked"):
        access.user(text)


def test_where_asking_takes_no_key_looking_takes_no_token() -> None:
    Access(None).check_viewer(None)


def test_where_there_is_an_admin_only_he_looks(file: Path) -> None:
    key, text = make_key("clara", NOW)
    for access in (Access(SecretStr("s3cret")), Access(SecretStr("s3cret"), keyring(file, key))):
        access.check_viewer("s3cret")
        with pytest.raises(Unauthenticated):
            access.check_viewer(None)
    with pytest.raises(Forbidden):
        access.check_viewer(text)


def test_where_asking_takes_a_key_and_nobody_is_admin_nobody_looks(file: Path) -> None:
    key, text = make_key("clara", NOW)
    with pytest.raises(AdminOff, match="LORELAY_ADMIN_TOKEN"):
        Access(None, keyring(file, key)).check_viewer(text)
