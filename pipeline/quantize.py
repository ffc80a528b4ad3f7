"""Stage `quantize`: int8 versions of an exported model, calibrated on training images."""

from yoloslim.stages.quantize import main

if __name__ == "__main__":
    main()
