"""Stage `measure`: what a trained or pruned model finds on the test images, and what it costs."""

from yoloslim.stages.measure import main

if __name__ == "__main__":
    main()
