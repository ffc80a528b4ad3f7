"""Stage `champion`: the models in a few numbers that fit a terminal, and the one to ship, as an artifact of DVC."""

from yoloslim.stages.champion import main

if __name__ == "__main__":
    main()
