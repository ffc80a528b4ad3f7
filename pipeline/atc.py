"""Stage `atc`: compile for Ascend where ATC is installed; elsewhere write the command for a machine that has it."""

from yoloslim.stages.atc import main

if __name__ == "__main__":
    main()
