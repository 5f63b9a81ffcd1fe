"""``python -m secateur`` is the command."""

import sys

from ._secateur import main as _main


def main() -> None:
    """Carries out the command line and leaves with its exit status."""
    sys.exit(_main(["secateur", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
