"""Adapter versions: what may be registered, the compacted topic that holds them, its readers."""
