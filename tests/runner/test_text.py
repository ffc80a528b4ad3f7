from pathlib import Path

import pytest

from yoloslim.runner.text import NotText, decode_text, decode_xml, parse_xml, read_lines


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_marks_and_zero_bytes_tell_the_encoding(codec: str) -> None:
    assert decode_text("im000\nim001\n".encode(codec)) == "im000\nim001\n"


def test_only_line_ends_end_a_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("a\rb\r\n\n c\x85d \ne\u2028f".encode())
    assert read_lines(tmp_path / "list.txt") == ["a", "b", "c\x85d", "e\u2028f"]


def test_bytes_of_another_encoding_name_those_that_fit() -> None:
    with pytest.raises(NotText, match=r"is not UTF-8 \(byte 0\); its bytes would fit gb18030"):
        decode_text("蓝色".encode("gbk"))


@pytest.mark.parametrize("codec", ["gb2312", "gbk", "gb18030", "shift_jis", "euc-kr", "big5", "EUC-JP", "iso-8859-1"])
def test_xml_is_decoded_as_it_declares(codec: str) -> None:
    word = {"euc-kr": "한국", "iso-8859-1": "größe"}.get(codec, "日本")
    assert parse_xml(f'<?xml version="1.0" encoding="{codec}"?>\n<a>{word}</a>'.encode(codec)).text == word


def test_characters_beyond_gb2312_under_its_name_are_read() -> None:
    assert parse_xml('<?xml version="1.0" encoding="gb2312"?><a>镕</a>'.encode("gbk")).text == "镕"


def test_utf16_xml_is_read_with_and_without_mark() -> None:
    text = '<?xml version="1.0" encoding="utf-16"?><a>x</a>'
    for codec in ("utf-16", "utf-16-le", "utf-16-be"):
        assert parse_xml(text.encode(codec)).text == "x"
    assert parse_xml(text.encode()).text == "x"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "'klingon', which does not exist"),
        (b'<?xml version="1.0" encoding="unicode_escape"?><a/>', "which is none for XML"),
        (b'<?xml version="1.0" encoding="base64"?><a/>', "which is none for XML"),
        (b'<?xml version="1.0" encoding="utf-8"?><a>\xc0\xb6</a>', "but is not written in it"),
        (b"<a>\xc0\xb6</a>", "is not UTF-8"),
    ],
)
def test_encodings_that_cannot_be_right_are_named(data: bytes, message: str) -> None:
    with pytest.raises(NotText, match=message):
        decode_xml(data)
