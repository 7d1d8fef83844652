"""Parts of the path alone, each a program of its own: `python -m benchmarks.pieces.NAME JSON`.

Each takes its arguments as one JSON object and prints its result as the last line. Some run in
the worker environment, so nothing here imports what only one environment has, but the piece
that needs it.
"""
