"""Stage `listing`: the prepared data as one small file, which the stages that measure depend on."""

from yoloslim.stages.listing import main

if __name__ == "__main__":
    main()
