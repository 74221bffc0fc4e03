"""Label files in other encodings: read by their mark, or refused by name, never misread."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import coco, studio, voc
from cityforge.labeling.formats.encodings import EncodingError, decode, decode_xml
from cityforge.labeling.formats.files import first_sign, read_text

CHINESE = "nc: 3\nnames: [汽车, 公交车, 行人]\n"
XML = '<?xml version="1.0" encoding="{}"?>\n<annotation><filename>街道.jpg</filename></annotation>'


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be-bom", "utf-32-be-bom"]
)
def test_marked_file_is_read(tmp_path: Path, codec: str) -> None:
    mark = "\ufeff" if codec.endswith("-bom") else ""
    (tmp_path / "a").write_bytes((mark + CHINESE).encode(codec.removesuffix("-bom")))
    assert read_text(tmp_path / "a", "a file") == CHINESE
    assert first_sign(tmp_path / "a", "a file") == "n"


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        (CHINESE, "gb18030", "GB18030"),
        ("街道照片 汽車 摩托車 行人", "big5", "BIG5"),
        ("0 0.5 café übergröße élève", "latin-1", "CP1252"),
        ('{"names": ["car", "bus"]}', "utf-16-le", "UTF-16LE without a byte order mark"),
        ('{"names": ["car", "bus"]}', "utf-16-be", "UTF-16BE without a byte order mark"),
    ],
)
def test_other_encoding_is_named(tmp_path: Path, text: str, codec: str, name: str) -> None:
    (tmp_path / "a").write_bytes(text.encode(codec))
    with pytest.raises(LabelError) as caught:
        read_text(tmp_path / "a", "a label file")
    line = str(caught.value)
    assert "a label file in UTF-8" in line
    assert name in line
    assert "iconv -f" in line
    assert "\n" not in line


def test_name_far_into_a_large_file_is_found(tmp_path: Path) -> None:
    text = "plain\n" * 100_000 + CHINESE
    with pytest.raises(EncodingError, match="GB18030") as caught:
        decode(text.encode("gb18030"))
    assert caught.value.byte > 600_000


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe"])
def test_broken_after_its_mark(mark: bytes) -> None:
    with pytest.raises(EncodingError, match="as its byte order mark says"):
        decode(mark + b"a\xff\xff\xff\xdc")


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("GB2312", "gb18030"),
        ("gbk", "gb18030"),
        ("GB18030", "gb18030"),
        ("Big5", "big5"),
        ("utf-16", "utf-16"),
        ("gb2312", "utf-8-sig"),
    ],
)
def test_xml_is_read_as_it_declares(tmp_path: Path, declared: str, codec: str) -> None:
    (tmp_path / "a.xml").write_bytes(XML.format(declared).encode(codec))
    assert [image.name for image in voc.read(tmp_path / "a.xml").images] == ["街道.jpg"]


@pytest.mark.parametrize(
    ("declared", "codec", "words"),
    [
        ("GB2312", "utf-8", "UTF-8 that says it is GB2312"),
        ("UTF-8", "gb18030", "GB18030"),
        ("ascii", "gb18030", "ascii, as it declares"),
        ("rot13", "utf-8", "the declaration rot13"),
        ("none-such", "utf-8", "the declaration none-such"),
    ],
)
def test_xml_that_contradicts_itself_is_refused(
    tmp_path: Path, declared: str, codec: str, words: str
) -> None:
    content = XML.format(declared).encode(codec)
    with pytest.raises(EncodingError):
        decode_xml(content)
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(LabelError, match=words):
        voc.read(tmp_path / "a.xml")


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_with_a_mark_is_read(tmp_path: Path, codec: str) -> None:
    tasks = [{"id": 1, "data": {"image": "街.jpg"}, "annotations": [{"id": 1, "result": []}]}]
    (tmp_path / "a.json").write_bytes(json.dumps(tasks, ensure_ascii=False).encode(codec))
    assert [image.name for image in studio.read(tmp_path / "a.json").images] == ["街.jpg"]


@pytest.mark.parametrize("reader", [studio.read, coco.read])
def test_json_in_another_encoding_is_refused(tmp_path: Path, reader: object) -> None:
    (tmp_path / "a.json").write_bytes('[{"name": "汽车"}, {"name": "公交车"}]'.encode("gb18030"))
    assert callable(reader)
    with pytest.raises(LabelError, match="GB18030"):
        reader(tmp_path / "a.json")
