"""A file of LORELAY_* variables for the foreground processes."""

import os
from io import StringIO
from pathlib import Path
from typing import Annotated

import typer
from dotenv import dotenv_values

from schemas.errors import ConfigurationError

SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="NAME=value lines of LORELAY_* variables; those already set win.",
    ),
]


def read_settings_file(path: Path | None) -> None:
    """Put the file's variables into the environment, beneath those that are set.

    Raises ConfigurationError for a missing file, or a line that sets nothing of ours.
    """
    if path is None:
        return
    if not path.is_file():
        raise ConfigurationError(f"There is no settings file {path}.")
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The settings file {path} can't be read: {error}.") from error
    for name, value in dotenv_values(stream=StringIO(content)).items():
        if not name.startswith("LORELAY_") or value is None or "\0" in name + value:
            raise ConfigurationError(f"{path}: {name!r} is no LORELAY_NAME=value line.")
        os.environ.setdefault(name, value)
