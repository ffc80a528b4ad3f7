"""The one error of the runner."""

from __future__ import annotations


class RunnerError(Exception):
    """Something a person can act on.

    Attributes:
        kind: a word for machines: `usage`, `model`, `device`, `acl`, `disk`, `image`, `data`, `changed` or `busy`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
