"""What turns a request into a completion: one protocol, and vLLM, HTTP and echo behind it.

Nothing is imported here: vLLM takes seconds to import, and its child processes pass through
this package (see ``lifeline``).
"""
