"""When and where stages run: Prefect, Dask, Ray. Files, hashes and what needs running are DVC's concern."""
