"""Stage `rknn_eval`: what a model compiled for a Rockchip NPU finds, in the simulator; it has no latency to tell."""

from yoloslim.stages.rknn_eval import main

if __name__ == "__main__":
    main()
