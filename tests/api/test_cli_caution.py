"""`sql` says what is to be known of the model that its rows rest on."""

import json

import pyarrow as pa
import pytest

from api.cli.ask import write_table
from engine.rows import CAUTION

TOLD = pa.table({"what": ["runs"]}).replace_schema_metadata({CAUTION: "know this first"})


def test_caution_is_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(TOLD, "table")
    assert capsys.readouterr().out.endswith("1 rows\nknow this first\n")


@pytest.mark.parametrize("form", ["json", "csv"])
def test_caution_is_beside_other_forms(capsys: pytest.CaptureFixture[str], form: str) -> None:
    write_table(TOLD, form)
    said = capsys.readouterr()
    assert said.err == "know this first\n"
    assert "know" not in said.out
    write_table(TOLD.replace_schema_metadata(None), form)
    assert capsys.readouterr().err == ""


def test_json_stays_rows(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(TOLD, "json")
    assert json.loads(capsys.readouterr().out) == [{"what": "runs"}]
