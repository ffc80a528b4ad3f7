"""One short script a stage: read params, call the library, write outputs."""
