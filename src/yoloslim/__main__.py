"""The command `yoloslim`, also as `python -m yoloslim`: Ctrl-C ends it in one line, in its first second too."""

import sys


def main() -> None:
    """Import the commands, which takes a while, and run one."""
    try:
        from yoloslim.cli import main as run

        run()
    except KeyboardInterrupt:
        _stop()
    except SystemExit as end:
        if end.code == STOPPED and isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):
            _stop()  # typer says nothing
        raise


STOPPED = 130
"""What a shell expects of a process that Ctrl-C has ended."""


def _stop() -> None:
    print("stopped", file=sys.stderr)
    sys.exit(STOPPED)


if __name__ == "__main__":
    main()
