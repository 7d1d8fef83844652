"""A real Prometheus, with the configuration that the project ships."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from cli.stack import ports
from tests.system.programs import ROOT, dying_with_us, program

SHIPPED = ROOT / "docker" / "prometheus"
_SECONDS = 90.0

T = TypeVar("T")


class Prometheus:
    """What it answers."""

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=30.0)

    def close(self) -> None:
        self._client.close()

    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query; one that it refuses is an error."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}\n{answer}"
        samples = answer["data"]["result"]
        return samples if isinstance(samples, list) else [samples]

    def value(self, expression: str) -> float:
        """The value of a query that has one sample; 0 where it has none."""
        samples = self.query(expression)
        return float(samples[0]["value"][1]) if samples else 0.0

    def get(self, path: str) -> Any:
        answer = self._client.get(f"/api/v1/{path}").json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def names(self) -> set[str]:
        """Every metric name that it has seen."""
        return set(self.get("label/__name__/values"))


def until(find: Callable[[], T | None], what: str) -> T:
    """Polls until something is found."""
    deadline = time.monotonic() + _SECONDS
    while not (found := find()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.1)
    return found


@contextmanager
def running_prometheus(folder: Path, targets: Sequence[str]) -> Iterator[Prometheus]:
    """One that scrapes these every second."""
    shutil.copytree(SHIPPED / "rules", folder / "rules")
    (folder / "targets").mkdir()
    _write(folder / "targets" / "lorelay.yml", [{"targets": list(targets)}])
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    _write(folder / "prometheus.yml", config)
    address = f"127.0.0.1:{ports.free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *dying_with_us(),
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    prometheus = Prometheus(address)
    try:
        until(prometheus.is_ready, "a Prometheus that is ready")
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        process.wait()


def _write(path: Path, content: Mapping[str, Any] | list[Any]) -> None:
    path.write_text(yaml.safe_dump(content))
