"""What runs inside toolchains: `serve` answers over pipes, `run_...` do the work. They know nothing of yoloslim."""
