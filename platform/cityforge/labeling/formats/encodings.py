"""The encoding of a label file: by its byte order mark, else UTF-8; never guessed into text.

A guess only names what a refused file looks like, so that a person can convert it. UTF-8
without a mark is told from other encodings by its own byte pattern; a text of one or two
characters in another encoding can by chance be UTF-8 too, which no reader can see.
"""

from __future__ import annotations

import codecs
import re

# Longer marks first: UTF-16's is the beginning of UTF-32's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Labels of Chinese cities first; each name is one that iconv knows.
_GUESSES = {
    "gb18030": "GB18030",
    "big5": "BIG5",
    "shift_jis": "SHIFT_JIS",
    "euc_kr": "EUC-KR",
    "cp1252": "CP1252",
}
# What XML may say it is in; GB18030 holds all of GB2312 and GBK.
_OF_XML = {
    "ascii": "ascii",
    "big5": "big5",
    "cp1252": "cp1252",
    "euc_jp": "euc_jp",
    "euc_kr": "euc_kr",
    "gb18030": "gb18030",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "iso8859-1",
    "shift_jis": "shift_jis",
    "utf-8": "utf-8",
}
_DECLARATION = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.-]{1,40})["']""")
_SAMPLE_BYTES = 20_000
_SHOWN_GUESSES = 2


class EncodingError(ValueError):
    """Bytes that are no text in the encoding that their file says it is in."""

    def __init__(self, expected: str, found: str, byte: int, do: str) -> None:
        self.expected = expected
        self.found = found
        self.byte = byte
        self.do = do
        super().__init__(f"expected {expected}, found {found} at byte {byte}: {do}")


def marked_encoding(start: bytes) -> str:
    """The codec for a file by its first bytes; UTF-8 where no mark says otherwise.

    >>> marked_encoding("街".encode("utf-16")), marked_encoding(b"[]")
    ('utf-16', 'utf-8')
    """
    return next((codec for mark, codec in _MARKS if start.startswith(mark)), "utf-8")


def decode(content: bytes) -> str:
    """The text of a file without its byte order mark.

    Raises:
        EncodingError: it is not in the encoding of its mark, or has none and is not UTF-8.
    """
    codec = marked_encoding(content[:4])
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        raise _refusal(content, codec, error) from None
    if codec == "utf-8" and text.count("\0") * 4 > len(text):
        wide = "UTF-16LE" if content[1:2] == b"\0" else "UTF-16BE"
        found = f"{wide} without a byte order mark"
        raise EncodingError("UTF-8", found, content.index(0), _convert(wide))
    return text


def decode_xml(content: bytes) -> str:
    """The text of an XML file: by its byte order mark, else as its declaration says.

    Raises:
        EncodingError: as `decode`, or the bytes contradict the declaration.
    """
    declared = _DECLARATION.match(content[:200])
    if declared is None or marked_encoding(content[:4]) != "utf-8":
        return decode(content)
    said = declared[1].decode("ascii", "replace")
    codec = _declared_codec(said)
    if codec != "utf-8" and not content.isascii() and _is_utf8(content):
        found = f"UTF-8 that says it is {said}"
        byte, do = declared.start(1), "correct the encoding in the first line"
        raise EncodingError("the encoding it declares", found, byte, do)
    try:
        return decode(content) if codec == "utf-8" else content.decode(codec)
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x}"
        do = "save the file as UTF-8"
        raise EncodingError(f"{said}, as it declares", found, error.start, do) from None


def _declared_codec(said: str) -> str:
    try:
        return _OF_XML[codecs.lookup(said).name]
    except (LookupError, ValueError):
        do = "save the file as UTF-8"
        raise EncodingError("UTF-8", f"the declaration {said}", 0, do) from None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _refusal(content: bytes, codec: str, error: UnicodeDecodeError) -> EncodingError:
    found = f"byte 0x{content[error.start]:02x}"
    if codec != "utf-8":
        expected = codec.upper().removesuffix("-SIG")
        return EncodingError(f"{expected}, as its byte order mark says", found, error.start, "")
    names = _likely(content, error.start)
    if not names:
        return EncodingError("UTF-8", found, error.start, "save the file as UTF-8")
    looks = " or ".join(names)
    return EncodingError("UTF-8", f"{found}, as {looks} has it", error.start, _convert(names[0]))


def _likely(content: bytes, fault: int) -> list[str]:
    """What the bytes around the fault may be, likelier first."""
    from charset_normalizer import from_bytes

    begin = content.rfind(b"\n", 0, fault) + 1
    begin = max(begin, fault - _SAMPLE_BYTES)
    sample = content[begin : fault + _SAMPLE_BYTES]
    found = {match.encoding for match in from_bytes(sample, cp_isolation=list(_GUESSES))}
    return [name for codec, name in _GUESSES.items() if codec in found][:_SHOWN_GUESSES]


def _convert(name: str) -> str:
    return f"save the file as UTF-8 (iconv -f {name} -t UTF-8)"
