"""The nightly sweep's schedule: `python -m flows.schedule serve` or `deploy`."""

from yoloslim.orchestration.schedule import main

if __name__ == "__main__":
    main()
