"""Trained models to what devices run: ONNX, and for Huawei's Ascend the inputs of its compiler."""
