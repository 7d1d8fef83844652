"""Two Prometheus expositions as one, with no metric family twice.

Prometheus refuses a scrape that declares a family twice. vLLM's exposition comes from a
registry that holds what ours holds too (``process_*``, ``python_*``).
Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4).
"""

from collections.abc import Iterator


def merge(own: bytes, extra: bytes) -> bytes:
    """``own``, then the families of ``extra`` that it lacks."""
    known = {name for name, _ in _families(own)}
    parts = [own if own.endswith(b"\n") or not own else own + b"\n"]
    for name, lines in _families(extra):
        if name not in known:
            known.add(name)
            parts.extend(lines)
    return b"".join(parts)


def _families(text: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Each family's name and lines; samples without HELP or TYPE are families of their own."""
    name, lines = b"", list[bytes]()
    for raw in text.splitlines():
        words = raw.split(maxsplit=3)
        if not words:
            continue
        declares = len(words) > 2 and words[0] == b"#" and words[1] in {b"HELP", b"TYPE"}
        if declares:
            family = words[2]
        elif raw.startswith(b"#"):
            continue
        else:
            sample = raw.split(b"{", 1)[0].split()[0]
            family = name if name and sample.startswith(name) else sample
        if family != name and lines:
            yield name, lines
            lines = []
        name = family
        lines.append(raw + b"\n")
    if lines:
        yield name, lines
