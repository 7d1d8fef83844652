"""From a registered adapter version to one that the engine serves."""
