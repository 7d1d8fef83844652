"""The two Python environments, and how a command gets into the other one."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import ConfigurationError

WORKER_PYTHON = Path(__file__).parents[1] / ".venv-worker" / "bin" / "python"


def enter_worker_environment(
    package: str, arguments: Sequence[str], python: Path = WORKER_PYTHON
) -> None:
    """Go on in the worker environment if ``package`` is not importable here.

    The process is replaced by `lorelay ARGUMENTS` there, under the same pid. Raises
    ConfigurationError where that environment is missing, or has no such package either.
    """
    if importlib.util.find_spec(package) is not None:
        return
    # Compared unresolved: the interpreters of both environments are links to the same file.
    if not python.exists() or Path(sys.prefix) == python.parents[1]:
        raise ConfigurationError(
            f"{package} is not installed in {python.parents[1]}: run `make setup` once, or "
            "choose `--engine echo` or `--engine http`, which need no engine of their own."
        )
    sys.stdout.flush()
    os.execv(python, [str(python), "-P", "-m", "cli.main", *arguments])
