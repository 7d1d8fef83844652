"""`python -m benchmarks`: runs benchmarks, prints a table, writes JSON."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.figures import Figures
from benchmarks.plan import Plan, load
from schemas.errors import ConfigurationError, LorelayError

_ROOT = Path(__file__).parents[1]
_MODELS = _ROOT / ".lorelay" / "models" / "demo"
_RESULTS = _ROOT / "benchmarks" / "results" / "latest.json"
_SWEEP = "sweep"
_BENCHMARKS = {
    "routing": "routed queries/s over the encoder's rate, and over raw consume-produce",
    "cpu": "CPU ms per query outside the engine, at saturation and at a trickle; the idle stack",
    "latency": "ms that both hops add over the engine at low load, and where they go",
    "echo-gpu": "requests/s over an engine of fixed service rate that takes no CPU",
    "fairness": "what a hot adapter's backlog makes the queries of others wait",
    "affinity": "cold requests and imbalance of 200 adapters on 4 workers, simulated and real",
    "registering": "from `adapters register` to a new adapter's first answer, beside other queries",
    "memory": "how much router and worker grow over 300,000 different queries",
    "gateway": "what HTTP adds to asking over the topics; how many streams a gateway holds",
    "vllm": "requests/s through Kafka over AsyncLLM alone and over vLLM's HTTP server",
    _SWEEP: "what defaults rest on: router_batch, encoder_threads, flush_linger; only if named",
}
_BUSY = 0.5

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


@app.command(epilog="\n\n".join(f"{name}: {what}" for name, what in _BENCHMARKS.items()))
def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Which to run; all but sweep by default."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    json_file: Annotated[
        Path,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Where the figures go, by default benchmarks/results/latest.json.",
            show_default=False,
        ),
    ] = _RESULTS,
    is_quick: Annotated[
        bool, typer.Option("--quick", help="Short runs, which show only that all works.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of routers and workers: router_batch=64."
        ),
    ] = None,
    models: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Base model and adapters, by default the demo's.",
            show_default=False,
        ),
    ] = _MODELS,
) -> None:
    """Measure what the README states. Pieces and whole run side by side in every round.

    The median of the rounds is what counts; what else the machine does meanwhile falsifies it.
    """
    console = Console(stderr=True)
    figures = Figures()
    try:
        benchmarks = [_benchmark(name) for name in names or _default()]
        plan = Plan(rounds, is_quick, _variables(settings or ()), models, console, figures)
        before = load()
        if before > _BUSY:
            plan.say(f"The machine is busy already (load {before:.1f}): the figures will be off.")
        for run in benchmarks:
            run(plan)
    except LorelayError as error:
        console.print(f"[red]{escape(str(error))}[/]", highlight=False)
        raise typer.Exit(1) from error
    finally:
        if figures.all():
            figures.write(json_file, rounds, dict(s.split("=", 1) for s in settings or ()), load())
            Console(width=None if sys.stdout.isatty() else 120).print(figures.table())
            console.print(f"[dim]Written to {json_file}[/]", highlight=False)


def _default() -> list[str]:
    return [name for name in _BENCHMARKS if name != _SWEEP]


def _benchmark(name: str) -> Callable[[Plan], None]:
    if name not in _BENCHMARKS:
        known = ", ".join(_BENCHMARKS)
        raise ConfigurationError(f"There is no benchmark {name!r}; choose of {known}.")
    found: Any = import_module(f"benchmarks.{name.replace('-', '_')}")
    run: Callable[[Plan], None] = found.run
    return run


def _variables(settings: list[str] | tuple[str, ...]) -> Mapping[str, str]:
    """As LORELAY_* variables. Raises: ConfigurationError for what no process knows."""
    from inference.engine.config import EngineSettings
    from inference.worker.settings import WorkerSettings
    from streams.router.settings import RouterSettings

    known = {
        name
        for kind in (RouterSettings, WorkerSettings, EngineSettings)
        for name in kind.model_fields
    }
    variables = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in known:
            raise ConfigurationError(
                f"--set {setting}: give NAME=VALUE with a setting of the router, the worker or "
                "its engine, such as router_batch=64."
            )
        variables[f"LORELAY_{name.upper()}"] = value
    return variables


if __name__ == "__main__":
    app()
