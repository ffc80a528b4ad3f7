from onnx import helper

from yoloslim.deploy.rockchip.report import Loss, parse_compiled, parse_losses, refused_layers

HEAD = "D RKNN: [15:49:08.810] ID   OpType   DataType Target InputShape  OutputShape  Cycles  RW(KB)  FullName\n"


def row(text: str) -> str:
    return f"D RKNN: [15:49:08.810] {text}\n"


TABLE = HEAD + "".join(
    map(
        row,
        (
            "0    InputOperator  FLOAT16  CPU    \\    (1,3,160,160)   0/0/0   0   InputOperator:images",
            "1    ConvExSwish    FLOAT16  NPU    (1,3,160,160),(16,3,6,6),(16)   (1,16,80,80) 15545/230400/230400  159 "
            "Conv:/model.0/conv/Conv",
            "2    Selu           FLOAT16  CPU    (1,16,80,80)   (1,16,80,80)   0/0/0   32   Selu:/model.7/act/Selu",
            "3    Reshape        FLOAT16  CPU    (3,20,20,25),(5)   (1,3,20,20,25)   0/0/0   70   Reshape:head_p3-rs",
            "4    OutputOperator FLOAT16  CPU    (1,3,20,20,25)   \\   0/0/0   58   OutputOperator:head_p3",
        ),
    )
)
MEMORY = row("Total Internal Memory Size: 1050KB") + row("Total Weight Memory Size: 1216.5KB")


def test_layers_carry_our_names_and_what_the_npu_does_not_take_is_found() -> None:
    compiled = parse_compiled(TABLE + MEMORY)
    assert [layer.name for layer in compiled.layers] == ["model.0.conv", "model.7.act", "head_p3-rs"]
    first = compiled.layers[0]
    assert (first.kind, first.type, first.where, first.cycles, first.rw_kb) == (
        "ConvExSwish",
        "FLOAT16",
        "NPU",
        230400,
        159.0,
    )
    assert [(layer.kind, layer.name) for layer in compiled.off_npu] == [("Selu", "model.7.act")]
    assert (compiled.internal_kb, compiled.weight_kb) == (1050.0, 1216.5)


def test_of_several_compilations_the_last_counts() -> None:
    again = TABLE.replace("/model.0/", "/model.9/") + MEMORY.replace("1050", "306")
    compiled = parse_compiled(TABLE + MEMORY + again)
    assert [layer.name for layer in compiled.layers] == ["model.9.conv", "model.7.act", "head_p3-rs"]
    assert compiled.internal_kb == 306.0


def test_a_log_without_tables_gives_none() -> None:
    compiled = parse_compiled("I rknn building done.\n")
    assert (compiled.layers, compiled.internal_kb, compiled.weight_kb) == ((), 0.0, 0.0)


LOSSES = """
layer_name                                                  simulator_error
-------------------------------------------------------------------------------------------
[Input] images                                     1.00000 | 0.00000   1.00000 | 0.00000
[exDataConvert] images_int8                        1.00000 | 0.00001   1.00000 | 0.00001
[Conv] /model.0/conv/Conv_output_0                 0.99997 | 1.38299   0.99997 | 1.38299
[exSwish] /model.0/act/Mul_output_0                0.99941 | 3.43026   0.99945 | 3.29389
[Conv] /model.1/conv/Conv_output_0                 0.99942 | 1.90614   0.99956 | 1.66220
[Concat] /model.2/Concat_output_0                  0.99741 | 2.49043   0.99990 | 1.20853
"""


def test_losses_are_read_in_the_order_of_the_graph() -> None:
    assert parse_losses(LOSSES) == (
        Loss("/model.0/conv/Conv_output_0", 3e-05, 3e-05),
        Loss("/model.0/act/Mul_output_0", 0.00055, 0.00059),
        Loss("/model.1/conv/Conv_output_0", 0.00044, 0.00058),
        Loss("/model.2/Concat_output_0", 0.0001, 0.00259),
    )


def test_a_refusal_is_about_the_nodes_it_names_or_else_those_that_onnx_does_not_know() -> None:
    nodes = [
        helper.make_node("Conv", ["x"], ["/model.0/conv/Conv_output_0"], "/model.0/conv/Conv"),
        helper.make_node("Det", ["y"], ["/model.1/act/Det_output_0"], "/model.1/act/Det"),
        helper.make_node("QuickGelu", ["z"], ["/model.2/act/QuickGelu_output_0"], domain="com.microsoft"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    said = "Found node '/model.1/act/Det' that reads \"/model.0/conv/Conv_output_0\", which is not supported!"
    assert refused_layers(said, model) == ("Det of model.1.act",)
    assert refused_layers("Conv:/model.0/conv/Conv_output_0 failed", model) == ("Conv of model.0.conv",)
    assert refused_layers("'NoneType' object is not iterable", model) == ("QuickGelu of model.2.act",)
    assert refused_layers("no memory left", helper.make_model(helper.make_graph(nodes[:2], "g", [], []))) == ()
