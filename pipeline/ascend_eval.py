"""Stage `ascend_eval`: accuracy and speed of the exported graph; every number names the backend it comes from."""

from yoloslim.stages.ascend_eval import main

if __name__ == "__main__":
    main()
