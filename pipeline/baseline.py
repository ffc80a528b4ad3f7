"""Stage `baseline`: train the dense model that all others are compared with."""

from yoloslim.stages.baseline import main

if __name__ == "__main__":
    main()
