"""Stage `control`: the dense model, trained for as many epochs in all as a pruned one."""

from yoloslim.stages.control import main

if __name__ == "__main__":
    main()
