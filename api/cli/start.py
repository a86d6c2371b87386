"""Where the program begins, so that Ctrl-C is heard also in the seconds that importing takes."""

import sys


def main() -> None:
    """Import the commands and run one."""
    try:
        from api.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
