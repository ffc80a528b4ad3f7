"""`python -m yoloslim` is the command `yoloslim`."""

from yoloslim.cli import main

if __name__ == "__main__":
    main()
