"""Run as a script: pickles stand-ins for public YOLOv5 checkpoints, and what their networks give.

The classes are written here from the published layer lists, with the module paths and attribute names that public
checkpoints have, and with their own forward: an oracle that shares no code with `yoloslim`. The real files cannot be
had without a network.
"""

import copy
import datetime
import math
import pathlib
import sys
import types

import numpy as np
import torch
from torch import nn

BACKBONE_V6 = [
    [-1, 1, "Conv", [64, 6, 2, 2]],
    [-1, 1, "Conv", [128, 3, 2]],
    [-1, 3, "C3", [128]],
    [-1, 1, "Conv", [256, 3, 2]],
    [-1, 6, "C3", [256]],
    [-1, 1, "Conv", [512, 3, 2]],
    [-1, 9, "C3", [512]],
    [-1, 1, "Conv", [1024, 3, 2]],
    [-1, 3, "C3", [1024]],
    [-1, 1, "SPPF", [1024, 5]],
]
BACKBONE_V5 = [
    [-1, 1, "Focus", [64, 3]],
    *BACKBONE_V6[1:4],
    [-1, 9, "C3", [256]],
    *BACKBONE_V6[5:8],
    [-1, 1, "SPP", [1024, [5, 9, 13]]],
    [-1, 3, "C3", [1024, False]],
]
HEAD = [
    [-1, 1, "Conv", [512, 1, 1]],
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 6], 1, "Concat", [1]],
    [-1, 3, "C3", [512, False]],
    [-1, 1, "Conv", [256, 1, 1]],
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 4], 1, "Concat", [1]],
    [-1, 3, "C3", [256, False]],
    [-1, 1, "Conv", [256, 3, 2]],
    [[-1, 14], 1, "Concat", [1]],
    [-1, 3, "C3", [512, False]],
    [-1, 1, "Conv", [512, 3, 2]],
    [[-1, 10], 1, "Concat", [1]],
    [-1, 3, "C3", [1024, False]],
    [[17, 20, 23], 1, "Detect", []],
]
ANCHORS = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]


class Conv(nn.Module):
    def __init__(self, a, b, k=1, s=1, p=None):
        super().__init__()
        self.conv = nn.Conv2d(a, b, k, s, k // 2 if p is None else p, bias=False)
        self.bn = nn.BatchNorm2d(b, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, c, add):
        super().__init__()
        self.cv1, self.cv2, self.add = Conv(c, c), Conv(c, c, 3), add

    def forward(self, x):
        y = self.cv2(self.cv1(x))
        return y + x if self.add else y


class C3(nn.Module):
    def __init__(self, a, b, n, add=True):
        super().__init__()
        h = b // 2
        self.cv1, self.cv2, self.cv3 = Conv(a, h), Conv(a, h), Conv(2 * h, b)
        self.m = nn.Sequential(*[Bottleneck(h, add) for _ in range(n)])

    def forward(self, x):
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], dim=1))


class SPP(nn.Module):
    def __init__(self, a, b, sizes):
        super().__init__()
        self.cv1, self.cv2 = Conv(a, a // 2), Conv(a // 2 * (1 + len(sizes)), b)
        self.m = nn.ModuleList([nn.MaxPool2d(k, 1, k // 2) for k in sizes])

    def forward(self, x):
        y = self.cv1(x)
        return self.cv2(torch.cat([y] + [m(y) for m in self.m], dim=1))


class SPPF(nn.Module):
    def __init__(self, a, b, k):
        super().__init__()
        self.cv1, self.cv2 = Conv(a, a // 2), Conv(a * 2, b)
        self.m = nn.MaxPool2d(k, 1, k // 2)

    def forward(self, x):
        pyramid = [self.cv1(x)]
        for _ in range(3):
            pyramid.append(self.m(pyramid[-1]))
        return self.cv2(torch.cat(pyramid, dim=1))


class Focus(nn.Module):
    def __init__(self, a, b, k):
        super().__init__()
        self.conv = Conv(a * 4, b, k)

    def forward(self, x):
        even, odd = x[:, :, 0::2], x[:, :, 1::2]
        return self.conv(torch.cat([even[..., 0::2], odd[..., 0::2], even[..., 1::2], odd[..., 1::2]], dim=1))


class Concat(nn.Module):
    def __init__(self):
        super().__init__()
        self.d = 1

    def forward(self, xs):
        return torch.cat(xs, dim=self.d)


class Detect(nn.Module):
    def __init__(self, nc, channels):
        super().__init__()
        self.nc, self.no, self.nl, self.na = nc, nc + 5, len(channels), 3
        self.stride = torch.tensor([8.0, 16.0, 32.0])
        cells = torch.tensor(ANCHORS).float().view(3, 3, 2) / self.stride.view(3, 1, 1)
        self.register_buffer("anchors", cells)
        self.m = nn.ModuleList([nn.Conv2d(c, self.no * self.na, 1) for c in channels])

    def forward(self, xs):
        outputs = []
        for conv, x in zip(self.m, xs, strict=True):
            b, _, h, w = x.shape
            outputs.append(conv(x).reshape(b, self.na, self.no, h, w).permute(0, 1, 3, 4, 2))
        return outputs


class Model(nn.Module):
    def __init__(self, backbone, depth, width, names):
        super().__init__()
        self.yaml = {"nc": len(names), "depth_multiple": depth, "width_multiple": width, "anchors": ANCHORS}
        self.yaml |= {"backbone": backbone, "head": HEAD}
        self.names, self.nc, self.inplace = names, len(names), True
        layers, channels = [], []
        for i, (f, n, kind, args) in enumerate(backbone + HEAD):
            sources = [channels[j] if channels else 3 for j in (f if isinstance(f, list) else [f])]
            out = math.ceil(args[0] * width / 8) * 8 if args and args[0] and kind != "Concat" else sum(sources)
            layer = self.layer(kind, sources, out, max(round(n * depth), 1) if n > 1 else n, args)
            layer.i, layer.f, layer.type = i, f, kind
            layers.append(layer)
            channels.append(out)
        self.model = nn.Sequential(*layers)
        self.stride = layers[-1].stride

    def layer(self, kind, sources, out, repeats, args):
        makers = {
            "Conv": lambda: Conv(sources[0], out, *args[1:]),
            "C3": lambda: C3(sources[0], out, repeats, *args[1:]),
            "SPP": lambda: SPP(sources[0], out, args[1]),
            "SPPF": lambda: SPPF(sources[0], out, args[1]),
            "Focus": lambda: Focus(sources[0], out, args[1]),
            "nn.Upsample": lambda: nn.Upsample(None, 2, "nearest"),
            "Concat": Concat,
            "Detect": lambda: Detect(self.nc, sources),
        }
        return makers[kind]()

    def forward(self, x):
        kept = []
        for m in self.model:
            x = m(x if m.f == -1 else [kept[j] if j >= 0 else x for j in m.f])
            kept.append(x)
        return x


class Segment(Detect):
    pass


class SegmentationModel(Model):
    pass


class Classify(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)


class ClassificationModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(Conv(3, 4), Classify())


def install():
    """Give the classes the module paths under which public checkpoints know them."""
    common = [Conv, Bottleneck, C3, SPP, SPPF, Focus, Concat, Classify]
    yolo = [Model, Detect, Segment, SegmentationModel, ClassificationModel]
    for path, classes in {"models": [], "models.common": common, "models.yolo": yolo}.items():
        sys.modules[path] = types.ModuleType(path)
        for each in classes:
            each.__module__ = path
            setattr(sys.modules[path], each.__name__, each)


def make(backbone, depth, width, names):
    torch.manual_seed(0)
    model = Model(backbone, depth, width, names).eval()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.weight, 1, 0.2)
            nn.init.normal_(m.bias, 0, 0.2)
            nn.init.normal_(m.running_mean, 0, 0.2)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    return model.half()


def save(folder, name, ema, legacy=False, **more):
    worse = Conv(3, 4)  # taking `model` where there is `ema` must show
    checkpoint = {
        "epoch": 7,
        "best_fitness": np.float64(0.5),
        "model": worse,
        "ema": ema,
        "updates": 100,
        "optimizer": None,
        "opt": {"imgsz": 320, "save_dir": pathlib.PosixPath("runs/exp"), "freeze": {0, 1}},
        "git": {"branch": "master"},
        "date": datetime.datetime(2023, 1, 1).isoformat(),
        **more,
    }
    torch.save(checkpoint, folder / f"{name}.pt", _use_new_zipfile_serialization=not legacy)


def main(folder):
    install()
    torch.set_num_threads(1)
    x = torch.rand(2, 3, 64, 64)
    outputs = {"x": x.numpy()}
    names = [f"thing {i}" for i in range(4)]
    v6 = make(BACKBONE_V6, 0.33, 0.25, dict(enumerate(names)))
    v5 = make(BACKBONE_V5, 0.33, 0.50, names)
    for name, model in {"v6": v6, "v5": v5}.items():
        with torch.no_grad():
            ys = copy.deepcopy(model).float()(x)
        outputs |= {f"{name}{level}": y.numpy() for level, y in enumerate(ys)}
        save(folder, name, model)
    np.savez(folder / "outputs.npz", **outputs)
    save(folder, "v6-legacy", v6, legacy=True)
    save(folder, "stripped", None, model=v6)
    torch.save(v6, folder / "bare.pt")
    torch.save(nn.DataParallel(v6), folder / "parallel.pt")
    state = v6.state_dict()
    torch.save(state, folder / "state.pt")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, folder / "prefixed.pth")

    old = copy.deepcopy(v6)
    old.model[3].act = nn.Hardswish()
    save(folder, "hardswish", old)
    rewired = copy.deepcopy(v6)
    rewired.model[16].f = [-1, 2]
    save(folder, "rewired", rewired)
    strided = copy.deepcopy(v6)
    strided.model[3].conv.stride = (1, 1)
    save(folder, "strided", strided)
    overflow = copy.deepcopy(v6)
    overflow.model[2].cv1.conv.weight.data[0, 0] = 1e6
    save(folder, "overflow", overflow)
    segment = copy.deepcopy(v6)
    segment.__class__, segment.model[24].__class__ = SegmentationModel, Segment
    save(folder, "segmentation", segment)
    save(folder, "classification", ClassificationModel())
    torch.save({"model": None, "results": [1, 2]}, folder / "empty.pt")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
