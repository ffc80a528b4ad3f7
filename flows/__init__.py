"""Prefect flows: when and where the pipeline runs. Files, hashes and what needs running are DVC's concern."""
