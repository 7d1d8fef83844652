"""One running system for all tests of a module, with the variables in its VARIABLES."""

from collections.abc import Iterator

import pytest

from tests.integration.gateway.system import RunningSystem


@pytest.fixture(scope="module")
def system(
    kafka: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RunningSystem]:
    variables: dict[str, str] = getattr(request.module, "VARIABLES", {})
    running = RunningSystem(kafka, tmp_path_factory.mktemp("gateway"), variables)
    try:
        running.start()
        yield running
    finally:
        running.stop()
