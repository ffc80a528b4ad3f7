"""Stage `timing`: latency of all exported models in turn, in one process, so that they can be compared."""

from yoloslim.stages.timing import main

if __name__ == "__main__":
    main()
