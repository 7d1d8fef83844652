"""Adapters of twenty fields that have nothing in common, with examples that tell them apart."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Final

_FIELDS: Final = {
    "beekeeping": "beehive, honey extractor, swarm, queen bee, smoker, wax comb",
    "sailing": "mainsail, rudder, keel, anchor chain, jib, winch",
    "chess": "opening gambit, rook endgame, castling, pawn chain, knight fork, queen sacrifice",
    "pottery": "kiln, glaze, clay slab, throwing wheel, bisque firing, terracotta bowl",
    "astronomy": "telescope mirror, star chart, nebula filter, eclipse, eyepiece, comet",
    "baking": "sourdough starter, rye loaf, croissant, proofing basket, yeast, crust",
    "cycling": "bicycle chain, derailleur, saddle, brake cable, inner tube, spoke",
    "violin": "violin bow, bridge, tuning peg, rosin, chin rest, gut string",
    "gardening": "compost heap, tomato seedling, rose hedge, slug, raised bed, watering can",
    "photography": "camera lens, tripod, shutter, darkroom, flash, aperture",
    "aquarium": "fish tank, water filter, guppy, algae, aquarium heater, gravel",
    "climbing": "carabiner, climbing rope, harness, belay device, bouldering wall, chalk bag",
    "knitting": "wool yarn, knitting needle, cable stitch, mitten, cardigan, sleeve",
    "falconry": "falcon, jess, lure, perch, hood, hawk",
    "winemaking": "vineyard, grape press, oak barrel, cork, fermentation, tannin",
    "locksmith": "padlock, cylinder, skeleton key, deadbolt, tumbler, door hinge",
    "skiing": "ski binding, slalom gate, avalanche, ski boot, edge, lift pass",
    "printing": "letterpress, offset plate, ink roller, typeface, paper stock, book binding",
    "welding": "welding torch, electrode, seam, shielding gas, visor, steel plate",
    "birdwatching": "binoculars, nest box, warbler, migration, bird call, woodpecker",
}
_SENTENCES: Final = (
    "How do I take care of a {thing} in {field}?",
    "What does a beginner in {field} have to know about the {thing}?",
    "Why does my {thing} cause trouble, and what does {field} do about it?",
    "Who can explain the {thing} to me, as {field} has it?",
)


@dataclass(frozen=True, slots=True)
class Field:
    """An adapter's folder, what its version is called, and texts that it was made for."""

    folder: Path
    key: str
    texts: tuple[str, ...]


def adapters(folder: Path, pattern: Path, count: int) -> Iterator[Field]:
    """``count`` of them, 20 at most, each first of its family; alike but for names and examples."""
    for name, things in list(_FIELDS.items())[:count]:
        made = copytree(pattern, folder / name)
        metadata = json.loads((made / "metadata.json").read_text("utf-8"))
        adapter_id = f"{name}-qa-v1"
        task = {**metadata["task"], "domain": name, "language": "en"}
        metadata |= {"adapter_id": adapter_id, "task": task}
        (made / "metadata.json").write_text(json.dumps(metadata), "utf-8")
        texts = tuple(
            sentence.format(thing=thing, field=name)
            for sentence in _SENTENCES
            for thing in things.split(", ")
        )
        rows = [
            {"text": text, "language": "en", "held_out": number % 4 == 3}
            for number, text in enumerate(texts)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (made / "examples.jsonl").write_text(lines, "utf-8")
        yield Field(made, f"{adapter_id}@{metadata['adapter_version']}", texts)
