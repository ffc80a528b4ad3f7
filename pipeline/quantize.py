"""Stage `quantize`: int8 versions of an exported model, calibrated on training images, and what they find and cost."""

from yoloslim.stages.quantize import main

if __name__ == "__main__":
    main()
