"""One short script a stage: the logic is in yoloslim.stages."""

import gc

gc.disable()  # imports leave no garbage, and PyTorch's take a fifth less without the search for it; stages switch it on
