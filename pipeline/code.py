"""Stage `code`: which code every other stage runs, as one small file a stage that changes when that code does."""

from yoloslim.stages.code import main

if __name__ == "__main__":
    main()
