"""The worked example on the page "Adding a device or a model" does what the page says."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "book" / "adding_a_device.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILES = ["my-module.toml", "config.json", "my-model.toml"]


def test_the_worked_example(tmp_path, monkeypatch):
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    cards = [text for language, text in blocks if language in ("toml", "json")]
    assert len(cards) == len(FILES)
    for name, text in zip(FILES, cards, strict=True):
        assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    session = "\n\n".join(text for language, text in blocks if language == "python")
    test = doctest.DocTestParser().get_doctest(session, {}, "adding_a_device", str(PAGE), 0)
    report = doctest.DocTestRunner().run(test)
    assert report.attempted >= 12
    assert report.failed == 0
