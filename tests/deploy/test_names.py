from yoloslim.deploy.names import layer_of, unit_of


def test_names_of_layers() -> None:
    assert layer_of("Conv:/model.4/m/m.0/cv1/conv/Conv") == "model.4.m.m.0.cv1.conv"
    assert layer_of("/model.24/m.2/Conv_output_0") == "model.24.m.2"
    assert layer_of("head_p3") == "head_p3"
    assert unit_of("/model.0/conv/Conv_output_0") == unit_of("/model.0/act/Mul") == "model.0"
