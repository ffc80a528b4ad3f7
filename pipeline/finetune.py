"""Stage `finetune`: let a pruned model recover."""

from yoloslim.stages.finetune import main

if __name__ == "__main__":
    main()
