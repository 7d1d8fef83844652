"""A running system, shared by the tests of modules that name no VARIABLES."""

from tests.integration.gateway.conftest import plain, system

__all__ = ["plain", "system"]
