"""Load a network, prune it, look at the certificate and the speed-up."""

import torch
from torch.utils.benchmark import Timer

import yoloslim

network = yoloslim.build("yolov5n", ("cat", "dog"), imgsz=320).eval()  # or any torch.nn.Module
images = torch.rand(1, 3, 320, 320)
pruned = yoloslim.prune(network, images, percent=50, round_to=8)
print("cut equals masked to", max(pruned.certificate.cut))
before, after = (Timer("m(x)", globals={"m": m.eval(), "x": images}).timeit(5).mean for m in (network, pruned.model))
print(f"{pruned.report['after']['params_m']:.2f} M parameters left, {before / after:.2f} times as fast")
