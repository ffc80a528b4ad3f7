"""Stage `probe`: what a cut costs before finetuning, for many percents; keeps the numbers and no model."""

from yoloslim.stages.probe import main

if __name__ == "__main__":
    main()
