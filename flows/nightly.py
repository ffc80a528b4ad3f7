"""The sweep that a schedule starts; prefect.yaml names it."""

from yoloslim.extras import or_advice

with or_advice():
    from yoloslim.orchestration.nightly import nightly

__all__ = ["nightly"]

if __name__ == "__main__":
    nightly()
