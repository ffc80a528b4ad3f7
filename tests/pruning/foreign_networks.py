"""Networks that nobody here wrote: those of the package transformers, small, with random weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

PICTURE, PATCHES, WORDS = (2, 3, 64, 64), (2, 3, 32, 32), (2, 7)
STAGES: dict[str, Any] = {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 2, 1]}
TOKENS: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}

NETWORKS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {  # class, shape of an input, configuration
    "ResNet": ("ForImageClassification", PICTURE, {"embedding_size": 16, **STAGES}),
    "MobileNetV2": ("ForImageClassification", PICTURE, {"depth_multiplier": 0.35, "image_size": 64}),
    "RegNet": ("ForImageClassification", PICTURE, {"embedding_size": 16, "groups_width": 8, **STAGES}),
    "ConvNext": ("ForImageClassification", PICTURE, STAGES),
    "ViT": ("ForImageClassification", PATCHES, {**TOKENS, "image_size": 32, "patch_size": 8}),
    "Segformer": (
        "ForSemanticSegmentation",
        PICTURE,
        {**STAGES, "num_attention_heads": [1, 2, 2, 4], "decoder_hidden_size": 32},
    ),
    "Swin": (
        "ForImageClassification",
        PICTURE,
        {"image_size": 64, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4},
    ),
    "Levit": (
        "ForImageClassification",
        PICTURE,
        {
            "image_size": 64,
            "hidden_sizes": [32, 48, 64],
            "num_attention_heads": [2, 3, 4],
            "key_dim": [8, 8, 8],
            "depths": [1, 1, 1],
        },
    ),
    "FocalNet": ("ForImageClassification", PICTURE, {"image_size": 64, "embed_dim": 16, "depths": [1, 1]}),
    "Bert": ("ForSequenceClassification", WORDS, {**TOKENS, "vocab_size": 50, "max_position_embeddings": 16}),
}


def build(name: str) -> tuple[nn.Module, Tensor]:
    """A network, and an input for it."""
    import transformers

    task, shape, options = NETWORKS[name]
    config = getattr(transformers, f"{name}Config")(num_labels=5, **options)
    rng = torch.Generator().manual_seed(0)
    example = torch.randint(0, 50, shape, generator=rng) if shape is WORDS else torch.rand(shape, generator=rng)
    make: Callable[[Any], nn.Module] = getattr(transformers, name + task)
    return make(config), example
