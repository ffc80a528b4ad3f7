"""The whole pipeline as a Prefect flow: `dvc repro`, then MLflow."""

from yoloslim.orchestration.pipeline import pipeline

if __name__ == "__main__":
    pipeline()
