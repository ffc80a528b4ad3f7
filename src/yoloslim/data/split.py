"""Who is in train, val and test where no image set says so: a seeded split."""

import hashlib
from collections.abc import Hashable, Mapping

from yoloslim.errors import DataError


def seeded_split(groups: Mapping[str, Hashable], shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Deal names into splits, at random but the same for the same seed.

    Args:
        groups: for every name the key of its group; names of one group (copies of one photograph) stay together.
        shares: for every split to be cut off its share in [0, 1); what is left is the split `train`.
        seed: another seed deals another split.

    Returns:
        Sorted names by split, `train` included. Every split with a positive share gets at least one group.

    Raises:
        DataError: shares that leave nothing for `train`, or fewer groups than splits.
    """
    if sum(shares.values()) >= 1:
        total = " + ".join(f"{name}_share={share:g}" for name, share in shares.items())
        raise DataError(f"{total} leaves no image for train; lower the shares below 1 in all")
    names = sorted(groups)
    first: dict[Hashable, str] = {}
    for name in names:
        first.setdefault(groups[name], name)
    # Hashing the name, not shuffling a list: a new image then hardly moves the others between splits.
    order = sorted(first.values(), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    wanted = sum(share > 0 for share in shares.values()) + 1
    if len(order) < wanted:
        raise DataError(f"{len(order)} different images cannot fill {wanted} splits; add images")
    split_of: dict[str, str] = {}
    for split, share in shares.items():
        count = min(max(1, round(share * len(first))), len(order) - 1) if share > 0 else 0
        split_of |= dict.fromkeys(order[:count], split)
        order = order[count:]
    result: dict[str, list[str]] = {split: [] for split in (*shares, "train")}
    for name in names:
        result[split_of.get(first[groups[name]], "train")].append(name)
    return result
