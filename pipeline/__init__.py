"""One short script a stage: the logic is in yoloslim.stages."""
