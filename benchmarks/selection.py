"""How well and how fast adapters are selected, on public sets of labelled queries.

``python -m benchmarks.selection --data FOLDER`` prints a table and, with ``--json``, writes the
figures. Each query set's domains play the adapters; thresholds are fitted on the examples alone.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from schemas.records import Example
from streams.selection.encoder import DEFAULT_ENCODER, Encoder, SentenceEncoder, load_encoder
from streams.selection.selector import Decision, Selector

FALSE_REJECT = 0.05
OUT_OF_SCOPE = "oos"
FOLDER_HELP = """\
FOLDER holds query sets as JSON lines {"text", "lang", "domain", "split", "pair"}, made from:
  clinc150.jsonl          github.com/clinc/oos-eval, data/data_full.json with domains.json:
                          domain "oos" is out of scope; split train, val or test
  xsid_parallel.jsonl     github.com/mainlp/xsid, the German and English files; pair is shared
                          by translations of a query
  sib200_parallel.jsonl   github.com/dadelani/sib-200, deu_Latn and eng_Latn, joined likewise
A set that isn't there is left out.
"""


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query, the domain that it belongs to, and what is shared by its translations."""

    text: str
    language: str
    domain: str
    split: str
    pair: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure: the mean over its draws, and half of their spread."""

    name: str
    unit: str
    mean: float
    spread: float


class RememberingEncoder:
    """An encoder that encodes each text once: draws share most of theirs."""

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.dimensions = encoder.name, encoder.dimensions
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dimensions)."""
        new = list({text for text in texts if text not in self._known})
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return np.array([self._known[text] for text in texts], np.float32)


def load_queries(path: Path) -> list[LabelledQuery]:
    """The queries of a file, none where it doesn't exist."""
    if not path.exists():
        return []
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return [
        LabelledQuery(r["text"], r["lang"], r["domain"], r.get("split", ""), r.get("pair", ""))
        for r in rows
    ]


def learnt(
    encoder: Encoder, queries: Sequence[LabelledQuery], each: int, rng: np.random.Generator
) -> Selector:
    """A selector that learnt ``each`` queries, drawn at random, of every domain."""
    selector = Selector(encoder, FALSE_REJECT)
    for domain in sorted({query.domain for query in queries}):
        own = [query for query in queries if query.domain == domain]
        drawn = rng.choice(len(own), min(each, len(own)), replace=False)
        selector.learn(domain, [Example(own[i].text, own[i].language) for i in drawn])
    return selector


def decisions(selector: Selector, queries: Sequence[LabelledQuery]) -> list[Decision]:
    """The decision on each query, its language to be detected."""
    texts = [query.text for query in queries]
    return selector.select(selector.encoder.encode(texts), texts, [None] * len(texts))


def measure_scope(
    encoder: Encoder, queries: Sequence[LabelledQuery], each: int, draws: int
) -> Iterator[dict[str, float]]:
    """One draw after the other: routing among domains, with queries that belong to none."""
    train = [q for q in queries if q.split == "train" and q.domain != OUT_OF_SCOPE]
    val = [q for q in queries if q.split == "val" and q.domain != OUT_OF_SCOPE]
    test = [q for q in queries if q.split == "test"]
    for draw in range(draws):
        selector = learnt(encoder, train, each, np.random.default_rng(draw))
        bound = np.quantile([d.score for d in decisions(selector, val)], FALSE_REJECT)
        yield scope_figures(test, decisions(selector, test), float(bound))


def scope_figures(
    queries: Sequence[LabelledQuery], decided: Sequence[Decision], bound: float
) -> dict[str, float]:
    """Percentages over all queries; ``bound`` is the score that val's thresholds came to."""
    from sklearn.metrics import roc_auc_score

    inside = np.array([query.domain != OUT_OF_SCOPE for query in queries])
    score = np.array([d.score for d in decided])
    served = np.array([d.adapter is not None for d in decided])
    nearest = np.array(
        [d.candidates[0].adapter == q.domain for q, d in zip(queries, decided, strict=True)]
    )
    answered = np.array([d.adapter == q.domain for q, d in zip(queries, decided, strict=True)])
    probability = np.array([np.nan if d.probability is None else d.probability for d in decided])
    return {
        "accuracy of the nearest adapter": 100 * nearest[inside].mean(),
        "AUROC of in scope against out of scope": 100 * roc_auc_score(inside, score),
        "out-of-scope recall at 5 % false rejects, fitted on val": 100
        * (score[~inside] < bound).mean(),
        "false rejects with the fitted thresholds": 100 * (~served[inside]).mean(),
        "out-of-scope recall with the fitted thresholds": 100 * (~served[~inside]).mean(),
        "in-scope queries given to the right adapter": 100 * answered[inside].mean(),
        "calibration error of the probability": 100 * calibration_error(probability, nearest),
    }


def calibration_error(probability: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over ten bins, wrong cases weighed up to half of the total."""
    weight = np.where(right, 0.5 / max(1, right.sum()), 0.5 / max(1, (~right).sum()))
    bins = np.minimum((probability * 10).astype(int), 9)
    error = 0.0
    for number in range(10):
        held = bins == number
        if held.any():
            error += abs(float((weight * (probability - right))[held].sum()))
    return error


def measure_languages(
    encoder: Encoder, queries: Sequence[LabelledQuery], each: int, draws: int
) -> Iterator[dict[str, float]]:
    """Examples in one language, queries in the other; no pair is on both sides."""
    for draw in range(draws):
        figures: dict[str, float] = {}
        for learnt_in in ("de", "en"):
            rng = np.random.default_rng(draw)
            pairs = held_pairs(queries, each, rng)
            examples = [q for q in queries if q.pair in pairs and q.language == learnt_in]
            selector = learnt(encoder, examples, each, rng)
            for asked_in in ("de", "en"):
                asked = [q for q in queries if q.pair not in pairs and q.language == asked_in]
                decided = decisions(selector, asked)
                right = [
                    d.candidates[0].adapter == q.domain for q, d in zip(asked, decided, strict=True)
                ]
                rejected = [d.adapter is None for d in decided]
                name = f"{asked_in} queries, {learnt_in} examples"
                figures[f"{name}: accuracy of the nearest adapter"] = 100 * float(np.mean(right))
                figures[f"{name}: rejected"] = 100 * float(np.mean(rejected))
        yield figures


def held_pairs(
    queries: Sequence[LabelledQuery], each: int, rng: np.random.Generator
) -> frozenset[str]:
    """Pairs to learn: ``each`` of every domain, at most half of those it has."""
    held: set[str] = set()
    for domain in sorted({query.domain for query in queries}):
        pairs = sorted({query.pair for query in queries if query.domain == domain})
        held.update(rng.permutation(pairs)[: min(each, len(pairs) // 2)].tolist())
    return frozenset(held)


def measure_rates(
    encoder: SentenceEncoder, texts: Sequence[str], rounds: int
) -> Iterator[dict[str, float]]:
    """Texts a second, and what selection adds to a query besides encoding."""
    selector = Selector(encoder)
    for number in range(3):
        selector.learn(f"adapter-{number}", [Example(t, "en") for t in texts[number::3][:150]])
    batch = list(texts[:128])
    vectors = encoder.encode(batch)
    unknown: list[str | None] = [None] * len(batch)
    known: list[str | None] = ["en"] * len(batch)
    for _ in range(rounds):
        yield {
            "texts/s at batch 1": 1 / seconds(lambda: encoder.encode(batch[:1])),
            "texts/s at batch 128": len(batch) / seconds(lambda: encoder.encode(batch)),
            "selection beyond encoding, µs a query": 1e6
            * seconds(lambda: selector.select(vectors, batch, unknown))
            / len(batch),
            "the same where the language is stated": 1e6
            * seconds(lambda: selector.select(vectors, batch, known))
            / len(batch),
        }


def seconds(call: Callable[[], object], at_least: float = 1.0) -> float:
    """The mean duration of a call, repeated for ``at_least`` seconds."""
    call()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < at_least:
        call()
        calls += 1
    return (time.perf_counter() - started) / calls


def figures(group: str, unit: str, draws: Iterator[dict[str, float]]) -> list[Figure]:
    """Each figure's mean over the draws."""
    measured = list(draws)
    return [
        Figure(
            f"{group}: {name}",
            unit,
            statistics.mean(draw[name] for draw in measured),
            (max(draw[name] for draw in measured) - min(draw[name] for draw in measured)) / 2,
        )
        for name in measured[0]
    ]


def measure(folder: Path, encoder: SentenceEncoder, each: int, draws: int) -> list[Figure]:
    """Everything that the folder has data for."""
    remembering = RememberingEncoder(encoder)
    measured: list[Figure] = []
    clinc = load_queries(folder / "clinc150.jsonl")
    if clinc:
        rates = measure_rates(encoder, [q.text for q in clinc if q.split == "test"], 3)
        measured += figures(encoder.name, "", rates)
        scope = measure_scope(remembering, clinc, each, draws)
        measured += figures(f"CLINC150, {each} examples", "%", scope)
    for file, name in (("xsid_parallel.jsonl", "xSID"), ("sib200_parallel.jsonl", "SIB-200")):
        queries = load_queries(folder / file)
        if queries:
            languages = measure_languages(remembering, queries, each, draws)
            measured += figures(f"{name}, {each} examples", "%", languages)
    return measured


def as_table(measured: Sequence[Figure]) -> Table:
    """The figures, for people."""
    table = Table("figure", "mean", "± half the spread")
    for figure in measured:
        unit = f" {figure.unit}".rstrip()
        table.add_row(figure.name, f"{figure.mean:,.1f}{unit}", f"{figure.spread:,.1f}{unit}")
    return table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.selection",
        description=__doc__,
        epilog=FOLDER_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--examples", type=int, default=50, help="of each adapter")
    parser.add_argument("--draws", type=int, default=5, help="of examples, to be averaged")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args()
    encoder = load_encoder(options.encoder, threads=options.threads)
    measured = measure(options.data, encoder, options.examples, options.draws)
    if not measured:
        parser.error(f"there are no query sets in {options.data}; see --help for what they are")
    Console().print(as_table(measured))
    if options.json:
        rows = [
            {"name": f.name, "unit": f.unit, "mean": f.mean, "spread": f.spread} for f in measured
        ]
        options.json.write_text(json.dumps(rows, indent=2, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    main()
