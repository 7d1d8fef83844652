"""Running systems: one for all modules but those that name VARIABLES, which have one each."""

from collections.abc import Iterator

import pytest

from tests.integration.gateway.system import RunningSystem, running_system

# What no test minds and the one of handed-over figures needs.
_PLAIN = {"LORELAY_METRICS_WINDOW": "1"}


@pytest.fixture(scope="package")
def plain(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """With two gateways."""
    with running_system(kafka, tmp_path_factory.mktemp("gateway"), _PLAIN, gateways=2) as running:
        yield running


@pytest.fixture(scope="module")
def system(
    kafka: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RunningSystem]:
    """The module's own, with its VARIABLES and its number of GATEWAYS, or the one for all."""
    variables: dict[str, str] | None = getattr(request.module, "VARIABLES", None)
    if variables is None:
        yield request.getfixturevalue("plain")
        return
    gateways: int = getattr(request.module, "GATEWAYS", 1)
    folder = tmp_path_factory.mktemp("gateway")
    with running_system(kafka, folder, variables, gateways=gateways) as running:
        yield running
