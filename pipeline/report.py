"""Stage `report`: tables and pictures that put baseline, sparse and every percent side by side."""

from yoloslim.stages.report import main

if __name__ == "__main__":
    main()
