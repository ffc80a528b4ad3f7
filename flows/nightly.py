"""The sweep that a schedule starts; prefect.yaml names it."""

from yoloslim.orchestration.nightly import nightly

__all__ = ["nightly"]

if __name__ == "__main__":
    nightly()
