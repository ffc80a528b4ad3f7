"""Prefect flows: when and where the pipeline runs; the logic is in yoloslim.orchestration."""
