"""What the processes of tests are forked with; only the server that forks them imports this."""

import gc
from importlib import import_module

from streams.selection.selector import load_what_fitting_needs

for name in (
    "cli.adapters",
    "cli.gateway",
    "cli.metrics",
    "streams.sink.sink",
    "inference.worker.main",
    "streams.gateway.main",
    "streams.router.main",
):
    import_module(name)
load_what_fitting_needs()
# Collections leave alone what is there, so that its pages stay shared.
gc.collect()
gc.freeze()
