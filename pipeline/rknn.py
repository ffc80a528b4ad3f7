"""Stage `rknn`: an exported model compiled for a Rockchip NPU, calibrated on training images."""

from yoloslim.stages.rknn import main

if __name__ == "__main__":
    main()
