"""Garbage collections that look only at what may be garbage."""

import gc


def spare_what_is_there() -> None:
    """Leaves all objects that exist now out of later collections.

    A full collection holds the interpreter: 50 ms with the 170,000 objects of the libraries that
    the default encoder needs, 190 ms with the half million that come with PyTorch, and more with
    each example that is learnt. What is replaced later is
    still freed as its last reference goes; only cycles among what is spared would stay.
    """
    gc.collect()
    gc.freeze()
