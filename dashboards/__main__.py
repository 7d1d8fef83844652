"""Writes every dashboard to docker/grafana, as Grafana imports or provisions it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.adapters import adapters
from dashboards.flow import flow
from dashboards.selection import selection

FOLDER: Final = Path(__file__).parents[1] / "docker" / "grafana"


def texts() -> Mapping[str, str]:
    """Each dashboard's JSON, by file name."""
    encode = JSONEncoder(sort_keys=True, indent=2).encode
    pages = (flow().build(), adapters().build(), selection().build())
    return {f"{page.uid}.json": encode(page) + "\n" for page in pages}


def main() -> None:
    """Replaces what is there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, "utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
