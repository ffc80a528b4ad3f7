"""Stage `ranking`: find out by a short training of each way what channels are best ranked by here."""

from yoloslim.stages.ranking import main

if __name__ == "__main__":
    main()
