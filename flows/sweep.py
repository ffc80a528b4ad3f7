"""The sweep for the optimal pruning point: `yoloslim sweep`."""

import sys

from yoloslim.orchestration.command import main

if __name__ == "__main__":
    main(sys.argv[1:])
