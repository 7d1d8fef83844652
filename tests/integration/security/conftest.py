"""One broker for all tests of the security."""

from collections.abc import Iterator

import pytest

from tests.integration.security.secured_broker import SecuredBroker, running_secured_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    with running_secured_broker(tmp_path_factory.mktemp("secured")) as running:
        yield running
