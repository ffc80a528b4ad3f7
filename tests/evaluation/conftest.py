import torch

# Tests run side by side: threads of small models would only wait for each other.
torch.set_num_threads(1)
