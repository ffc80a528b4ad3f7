"""After the stages: bring MLflow in line with their files, show the comparison, say what to type next."""

from yoloslim.stages.track import main

if __name__ == "__main__":
    main()
