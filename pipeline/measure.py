"""Stage `measure`: what trained or pruned models find on the test images, and what they cost."""

from yoloslim.stages.measure import main

if __name__ == "__main__":
    main()
