"""How well and how fast adapters are selected, on public sets of labelled queries.

``python -m benchmarks.selection --data FOLDER`` prints a table for each question: who is right,
who tells what belongs to nobody, across languages, and under typing errors. Each set's domains
play the adapters. Sentences of those sets never enter the project.
"""
