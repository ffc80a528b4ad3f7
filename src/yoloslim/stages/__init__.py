"""The stages: each reads params, calls the library, and writes files where dvc.yaml says that they are."""
