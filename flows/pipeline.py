"""The whole pipeline as a Prefect flow: `dvc repro`, then MLflow."""

from yoloslim.extras import or_advice

with or_advice():
    from yoloslim.orchestration.pipeline import pipeline
    from yoloslim.orchestration.server import prefect_server

if __name__ == "__main__":
    with prefect_server():
        pipeline()
