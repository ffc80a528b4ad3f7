"""Work on a board: this machine's own chip or one over SSH, of any maker; what is sent, checked and brought back."""
