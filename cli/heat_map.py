"""How adapters overlap or are mistaken for each other, as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from schemas.errors import ConfigurationError

_FORMATS: Final = (".png", ".svg")

#: More names than these can't be read: then those with the highest shares are drawn.
_MOST: Final = 100
#: Up to so many adapters each cell holds its figure.
_MOST_FIGURES: Final = 20

_CELL_INCHES: Final = 0.22
_LARGE_CELL_INCHES: Final = 0.5
_LEAST_INCHES: Final = 4.0
_MARGIN_INCHES: Final = 3.0
_DPI: Final = 150
_LEAST_SCALE_PERCENT: Final = 10.0

Pictures = Annotated[
    list[Path] | None,
    typer.Option(
        "--picture",
        metavar="FILE.png|FILE.svg",
        help="Draw all adapters against each other; repeat it for both formats.",
    ),
]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """``shares`` (n, n) within 0..1, a row and a column for each of ``names``.

    The diagonal isn't coloured: it is what should be, and would outshine the rest.
    """

    names: Sequence[str]
    shares: NDArray[np.float64]
    title: str
    rows: str
    columns: str
    unit: str


def check_writable(files: Sequence[Path]) -> None:
    """Raises: ConfigurationError for a file that couldn't be drawn once all is computed."""
    for file in files:
        if file.suffix.lower() not in _FORMATS:
            raise ConfigurationError(f"--picture {file}: name a file that ends in .png or .svg.")
        if not file.parent.is_dir():
            raise ConfigurationError(f"--picture {file}: there is no folder {file.parent}.")


def draw(heat_map: HeatMap, files: Sequence[Path]) -> None:
    """Draws it to each file, as PNG or SVG by its ending; needs no display.

    Of more than 100 names, those with the highest shares off the diagonal are drawn.
    Raises: ConfigurationError where a file can't be written.
    """
    if not files:
        return
    from matplotlib import rc_context

    # Text stays text in the SVG, and the same figures make the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lorelay"}):
        figure = _figure(_readable(heat_map))
        for file in files:
            undated = {"Date": None} if file.suffix.lower() == ".svg" else {}
            try:
                metadata = {"Title": heat_map.title, **undated}
                figure.savefig(file, dpi=_DPI, bbox_inches="tight", metadata=metadata)
            except OSError as error:
                raise ConfigurationError(f"{file} can't be written: {error.strerror}.") from error


def _readable(whole: HeatMap) -> HeatMap:
    if len(whole.names) <= _MOST:
        return whole
    off_diagonal = np.where(np.eye(len(whole.names), dtype=bool), 0.0, whole.shares)
    extent = np.maximum(off_diagonal.max(axis=0), off_diagonal.max(axis=1))
    chosen = np.sort(np.argsort(-extent, kind="stable")[:_MOST])
    return HeatMap(
        [whole.names[i] for i in chosen],
        whole.shares[np.ix_(chosen, chosen)],
        f"{whole.title}\n(the {_MOST} of {len(whole.names)} where most do)",
        whole.rows,
        whole.columns,
        whole.unit,
    )


def _figure(heat_map: HeatMap) -> Any:
    """Made without pyplot, which would look for a display."""
    from matplotlib.figure import Figure

    count = len(heat_map.names)
    has_figures = count <= _MOST_FIGURES
    cell = _LARGE_CELL_INCHES if has_figures else _CELL_INCHES
    side = _MARGIN_INCHES + max(_LEAST_INCHES, count * cell)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    percent = np.ma.masked_array(100 * heat_map.shares, np.eye(count, dtype=bool))
    top = max(_LEAST_SCALE_PERCENT, float(percent.max()) if count > 1 else 0.0)
    axes.set_facecolor("lightgrey")
    image = axes.imshow(percent, cmap="magma_r", vmin=0, vmax=top)
    names, words = (9, 10) if has_figures else (7, 16)
    axes.set_xticks(range(count), heat_map.names, rotation=90, fontsize=names)
    axes.set_yticks(range(count), heat_map.names, fontsize=names)
    axes.set_xlabel(heat_map.columns, fontsize=words)
    axes.set_ylabel(heat_map.rows, fontsize=words)
    figure.suptitle(heat_map.title, fontsize=words + 2)
    _draw_grid(axes, count)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30)
    bar.set_label(heat_map.unit, fontsize=words)
    bar.ax.tick_params(labelsize=words)
    if has_figures:
        _write_figures(axes, 100 * heat_map.shares, top)
    return figure


def _draw_grid(axes: Any, count: int) -> None:
    edges = np.arange(count + 1) - 0.5
    for lines in (axes.hlines, axes.vlines):
        lines(edges, edges[0], edges[-1], color="white", linewidth=0.5)


def _write_figures(axes: Any, percent: NDArray[np.float64], top: float) -> None:
    for (row, column), value in np.ndenumerate(percent):
        if row == column and value == 0:
            continue
        is_dark = row != column and value > top / 2
        colour = "white" if is_dark else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour)
