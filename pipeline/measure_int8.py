"""Stage `measure_int8`: what the int8 versions of a model find and cost."""

from yoloslim.stages.measure_int8 import main

if __name__ == "__main__":
    main()
