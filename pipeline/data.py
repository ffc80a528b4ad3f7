"""Stage `data`: any source of images and boxes becomes one folder in VOC layout, with a validation report."""

from yoloslim.stages.data import main

if __name__ == "__main__":
    main()
