"""A whole stack, as a person starts it: broker, router and a worker with vLLM."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.kafka.settings import KafkaSettings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack in a working folder of its own."""

    folder: Path
    kafka: str
    environment: Mapping[str, str]

    @property
    def settings(self) -> KafkaSettings:
        """How to reach it."""
        return KafkaSettings(kafka=self.kafka)

    def lorelay(self, *arguments: str) -> str:
        """What the command prints, run in the stack's folder."""
        return run(
            [sys.executable, "-P", "-m", "cli.main", *arguments], self.folder, self.environment
        )

    def script(self, name: str, *arguments: str, cwd: Path | None = None) -> str:
        """What one of the examples prints."""
        command = [sys.executable, str(ROOT / "examples" / name), *arguments]
        return run(command, cwd or self.folder, self.environment)


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
