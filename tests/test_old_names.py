"""No name that was replaced is used any more (old_names.py), and the search for them finds what is there."""

from __future__ import annotations

from tests import old_names


def test_no_old_name_is_left():
    left = {name: places[:5] for name, places in old_names.standing().items()}
    assert not left, "\n".join(f"{name}: {', '.join(places)}" for name, places in left.items())


def test_exceptions_are_few():
    assert len(old_names.EXCEPTIONS) <= 5
    assert {name for name, _ in old_names.EXCEPTIONS} <= {*old_names.OLD_NAMES, *old_names.STATUSES}


def test_all_kinds_of_identifiers_are_found(tmp_path):
    file = tmp_path / "knee.py"
    file.write_text("import a.room\ndef read(said): pass\nclass Reading: pass\nread(mine=1).home\n", encoding="utf-8")
    found = {(kind, name) for kind, name, _ in old_names.identifiers(file)}
    assert found == {
        ("module", "knee"),
        ("name", "room"),
        ("function", "read"),
        ("argument", "said"),
        ("class", "Reading"),
        ("name", "read"),
        ("argument", "mine"),
        ("attribute", "home"),
    }


def test_pages_are_read_where_they_hold_code(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("the home of `n_pauses`\n```\nfew_rows = 1\n```\nhome\n", encoding="utf-8")
    assert list(old_names.code_spans(page)) == [("n_pauses", 1), ("few_rows = 1", 3)]
