"""Keys of params.yaml that say how this machine works, not what comes out."""

MACHINE = (
    "data.download_dir",
    "data.mirrors",  # the archives are checked by their hashes
    "data.workers",
    "train.cache_dir",
    "train.device",
    "train.memory_gb",
    "train.threads",  # with `share: 0` they change the last digits, as another processor does
    "train.workers",
    "ascend.python",
    "ascend.set_env",
    "atc.timeout_s",
    "rknn_eval.python",
)
"""No stage depends on these, no checkpoint is another by them, and no run is told apart by them."""
