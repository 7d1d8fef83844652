"""Every figure that the README states, reproducible by `make bench`."""
