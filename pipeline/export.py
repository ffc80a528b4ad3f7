"""Stage `export`: write a model as ONNX with raw heads, and prove that it computes the same."""

from yoloslim.stages.export import main

if __name__ == "__main__":
    main()
