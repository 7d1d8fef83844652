"""Where the installed `lorelay` begins: it imports nothing before Ctrl-C is taken care of."""


def main() -> int:
    """The exit status of the command, 130 after Ctrl-C even while its modules are imported."""
    try:
        from cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130
