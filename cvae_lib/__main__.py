"""`python -m cvae_lib`: the command line of `tools.cli`."""

import sys

from cvae_lib.tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
