"""Loss, the fit loop, and what rides on it: sparsity and distillation as callbacks."""
