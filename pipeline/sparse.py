"""Stage `sparse`: go on training under a penalty that drives the scales of dispensable channels to zero."""

from yoloslim.stages.sparse import main

if __name__ == "__main__":
    main()
