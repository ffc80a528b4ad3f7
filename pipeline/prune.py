"""Stage `prune`: cut a share of the channels out of the sparse model, and prove the cut exact."""

from yoloslim.stages.prune import main

if __name__ == "__main__":
    main()
