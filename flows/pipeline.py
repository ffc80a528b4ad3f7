"""The whole pipeline as a Prefect flow: `dvc repro`, then MLflow."""

from yoloslim.extras import or_advice

with or_advice():
    from yoloslim.orchestration.pipeline import main, pipeline

__all__ = ["pipeline"]

if __name__ == "__main__":
    main()
