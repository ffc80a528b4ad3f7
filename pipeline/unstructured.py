"""Stage `unstructured`: zero single weights of the baseline, to compare with cutting channels."""

from yoloslim.stages.unstructured import main

if __name__ == "__main__":
    main()
