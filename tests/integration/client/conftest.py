"""A running system, shared by the tests of a module."""

from tests.integration.gateway.conftest import system

__all__ = ["system"]
