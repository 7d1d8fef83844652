"""semantic-router as a contender, in a process and an environment of its own.

It gets the very vectors that this project's selector gets: none of the encoders it names by
itself can be had without a model hub or a service.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.selection.measures import mean
from benchmarks.selection.trial import Answers, Outcome, Trial, in_scope
from schemas.errors import ConfigurationError
from streams.selection.encoder import Encoder

_PROCESS = Path(__file__).with_name("peer_process.py")
_VERSION = "from importlib.metadata import version; print(version('semantic-router'))"
_AT_MOST = 3_600.0
# As this project's encoders and selector have it: two BLAS threads stand still on a busy machine.
_ONE_CORE = {"OPENBLAS_NUM_THREADS": "1"}


def peer_version(python: Path) -> str | None:
    """The version of semantic-router in that interpreter's environment, None without one."""
    if not python.exists():
        return None
    asked = subprocess.run(
        [python, "-I", "-c", _VERSION], capture_output=True, text=True, timeout=60, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else None


class SemanticRouter:
    """semantic-router's router for labelled examples, all settings its own.

    Raises: ConfigurationError where its process fails.
    """

    def __init__(self, encoder: Encoder, python: Path, version: str) -> None:
        self.name = f"semantic-router {version}, {encoder.name}"
        self._encoder = encoder
        self._python = python

    def examined(self, trials: Sequence[Trial]) -> list[Outcome]:
        """All trials in one process."""
        texts = list({text: None for trial in trials for text in _texts(trial)})
        numbers = {text: number for number, text in enumerate(texts)}
        with TemporaryDirectory(prefix="lorelay-peer-") as name:
            folder = Path(name)
            np.save(folder / "vectors.npy", self._encoder.encode(texts))
            request = {"texts": texts, "trials": [_request(trial, numbers) for trial in trials]}
            (folder / "request.json").write_text(json.dumps(request), "utf-8")
            self._run(folder)
            answers = json.loads((folder / "answers.json").read_text("utf-8"))
        return [_outcome(trial, answer) for trial, answer in zip(trials, answers, strict=True)]

    def _run(self, folder: Path) -> None:
        command = [str(self._python), "-I", str(_PROCESS), str(folder)]
        try:
            done = subprocess.run(
                command,
                env=os.environ | _ONE_CORE,
                capture_output=True,
                text=True,
                timeout=_AT_MOST,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ConfigurationError(
                f"semantic-router did not finish in {_AT_MOST:.0f} s: ask for fewer draws, or "
                "leave it out (--no-peers)."
            ) from error
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise ConfigurationError(
                f"semantic-router failed ({said[-1]}): set its environment up again (remove "
                ".venv-peers and run `make bench-selection`), or leave it out (--no-peers)."
            )


@dataclass(frozen=True, slots=True)
class Peers:
    """semantic-router in an interpreter's environment, to be given the encoders of some names."""

    python: Path
    version: str
    names: frozenset[str]

    def over(self, encoders: Sequence[Encoder]) -> list[SemanticRouter]:
        """A contender for each of these encoders that it is to be given."""
        given = [encoder for encoder in encoders if encoder.name in self.names]
        return [SemanticRouter(encoder, self.python, self.version) for encoder in given]


def _texts(trial: Trial) -> list[str]:
    learnt = [example.text for examples in trial.examples.values() for example in examples]
    return learnt + [query.text for query in (*trial.fitting, *trial.asked)]


def _request(trial: Trial, numbers: dict[str, int]) -> dict[str, Any]:
    """Texts by their numbers; the label of a query out of scope is null."""
    return {
        "examples": {
            adapter: [numbers[example.text] for example in examples]
            for adapter, examples in trial.examples.items()
        },
        "fitting": [numbers[query.text] for query in trial.fitting],
        "labels": [query.adapter for query in trial.fitting],
        "asked": [numbers[query.text] for query in trial.asked],
    }


def _outcome(trial: Trial, answer: dict[str, Any]) -> Outcome:
    """Its confidence is a probability among queries such as it was fitted on."""
    strangers = 1 - mean(in_scope(trial.fitting))
    fitting, asked = _answers(answer["fitting"]), _answers(answer["asked"])
    return Outcome(fitting, asked, answer["seconds"], strangers)


def _answers(columns: dict[str, list[Any]]) -> Answers:
    return Answers(
        tuple(columns["nearest"]),
        tuple(columns["chosen"]),
        np.array(columns["scores"], np.float64),
        np.array(columns["probabilities"], np.float64),
    )
