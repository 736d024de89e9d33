"""Tables as spreadsheets write them: their separators, decimals, encodings, names, units, gaps, and workbooks."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data import quick_csv, tables, workbook
from app.data.columns import Header
from app.data.table_file import TableFile
from app.data.tables import Asked, Reading, Table, parse_observations, parse_regions
from app.errors import InputError, InvalidInput, MalformedInput, TooLarge
from app.model.units import Units
from tests.workbooks import workbook_of

GERMAN = "Region;Temperature;Rainfall;Humidity\nKöln, Süd;73,5;67;43\nB;91;88,25;64\n"
Parse = Callable[..., Asked]


def _quick(content: bytes, reading: Reading = tables.AS_IT_IS) -> Asked:
    return quick_csv.parse_regions(content, 100, reading)


@pytest.fixture(params=["slow", "quick"])
def parse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Return both parsers, the quick one from the first byte on."""
    if request.param == "slow":
        return lambda content, reading=tables.AS_IT_IS: parse_regions(content, 100, reading)
    monkeypatch.setattr(quick_csv, "FROM_BYTES", 0)
    return _quick


@pytest.mark.parametrize(
    "content",
    [
        GERMAN.encode(),
        GERMAN.encode("utf-8-sig"),
        GERMAN.replace("\n", "\r\n").encode("utf-16"),
        ("sep=;\n" + GERMAN).encode(),
        ('\ufeff"sep=;"\r\n' + GERMAN.replace("\n", "\r\n")).encode(),
        GERMAN.replace(";", "\t").encode(),
        GERMAN.replace("Köln, Süd", '"Köln, Süd"').encode(),
    ],
)
def test_excel_in_german(parse: Parse, content: bytes) -> None:
    """Semicolons or tabs, decimal commas, capital letters, UTF-16, and the line that names the separator."""
    asked = parse(content)
    assert list(asked.table.regions) == ["Köln, Süd", "B"]
    np.testing.assert_array_equal(asked.table.weather, [[73.5, 67, 43], [91, 88.25, 64]])
    assert list(asked.columns) == ["Region", "Temperature", "Rainfall", "Humidity"]
    assert asked.dialect.decimal_comma


def test_points_are_decimals_where_no_number_has_a_comma(parse: Parse) -> None:
    """A table with semicolons may have either, and not both."""
    asked = parse(b"temperature;rainfall;humidity\n73.5;67;43\n")
    assert asked.table.weather[0, 0] == 73.5
    assert not asked.dialect.decimal_comma
    with pytest.raises(InvalidInput, match=r"column rainfall: '67\.25' is not a number: other decimals of this table"):
        parse(b"temperature;rainfall;humidity\n73,5;67.25;43\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('temperature,rainfall,humidity\n73,"1,234",43\n', "'1,234' is not a number: thousands separators are not"),
        ("temperature;rainfall;humidity\n73,5;1.234,5;43\n", r"'1\.234,5' is not a number: thousands separators"),
        ('temperature,rainfall,humidity\n"73,5",67,43\n', "'73,5' is not a number: write decimals with a point"),
        ("temperature,rainfall,humidity\n73,5,67,43\n", "has 4 cells, the header 3; if decimals have a comma"),
        ("temperature,rainfall,humidity\nNA,67,43\n", "column temperature: 'NA' stands for no value, and every row"),
        ("Temp,rainfall,humidity\n73,67,43\n", "the table has Temp, rainfall, humidity; is it 'Temp'?"),
        ("County,Year,rainfall,humidity\n1,2,3,4\n", "'temperature' is missing; the table has County, Year, rainfall"),
        ("temperature (°R),rainfall,humidity\n1,2,3\n", r"the unit '°R' is not read: use °F or °C or K"),
        (
            "Temperature,temperature,rainfall,humidity\n1,1,2,3\n",
            "'Temperature' and 'temperature' differ in their case",
        ),
    ],
)
def test_faults_say_how_to_write_it(parse: Parse, text: str, message: str) -> None:
    """What is not read is named, with the way out."""
    with pytest.raises(InvalidInput, match=message):
        parse(text.encode())


def test_old_encodings_and_workbooks_are_told_by_name() -> None:
    """Excel's plain CSV is in an encoding of its own."""
    with pytest.raises(MalformedInput, match=r"line 2 cannot be read; save it in Excel as 'CSV UTF-8'"):
        parse_regions("region,temperature,rainfall,humidity\nKöln,1,2,3\n".encode("cp1252"))
    with pytest.raises(MalformedInput, match="is an Excel workbook, not CSV: send it as application/vnd"):
        parse_regions(workbook_of([["temperature"]]))


def test_other_columns_are_passed_through(parse: Parse) -> None:
    """A harvest table can be asked about as it is; empty cells stay empty."""
    asked = parse(b"season,temperature,rainfall,humidity,notes,mango\n2026,73,67,43,'=x,56\n2027,73,67,43,,\n")
    assert {name: list(column) for name, column in asked.columns.items() if name in ("season", "notes", "mango")} == {
        "season": ["2026", "2027"],
        "notes": ["=x", None],
        "mango": ["56", None],
    }


def test_units_in_brackets_of_the_header(parse: Parse) -> None:
    """Numbers come back as they were sent, and are stored in °F and mm."""
    asked = parse("temperature (°C),rainfall [in],humidity (%)\n24,2,43\n".encode())
    np.testing.assert_allclose(asked.table.weather, [[75.2, 50.8, 43]], rtol=1e-15)
    assert {name: list(column) for name, column in asked.columns.items()} == {
        "temperature (°C)": [24.0],
        "rainfall [in]": [2.0],
        "humidity (%)": [43.0],
    }
    assert asked.units == Units("celsius", "inch")


def test_units_of_who_asks_and_their_bounds(parse: Parse) -> None:
    """The bound is named in the unit that the number is in."""
    reading = Reading(Units("kelvin"))
    asked = parse(b"temperature,rainfall,humidity\n297.15,67,43\n333.15,67,43\n183.15,67,43\n", reading)
    np.testing.assert_allclose(asked.table.weather[:, 0], [75.2, 140, -130], rtol=1e-12)
    assert asked.table.weather[:, 0].max() <= 140
    with pytest.raises(InvalidInput, match=r"row 1 \(line 2\), column temperature: 24 is below 183\.15 K"):
        parse(b"temperature,rainfall,humidity\n24,67,43\n", reading)
    with pytest.raises(InvalidInput, match="the query says kelvin, the header celsius"):
        parse("temperature (°C),rainfall,humidity\n24,67,43\n".encode(), reading)


@given(st.lists(st.tuples(st.floats(-90, 60), st.floats(0, 1_000), st.floats(0, 100)), min_size=1, max_size=5))
def test_any_numbers_in_any_dialect(rows: list[tuple[float, float, float]]) -> None:
    """The same numbers in each way of writing them, to the bit, by both parsers."""
    plain = ["temperature (°C),rainfall,humidity", *(",".join(map(repr, row)) for row in rows)]
    german = [line.replace(",", ";").replace(".", ",") for line in plain]
    texts = ["\n".join(plain), "\n".join(german), "\n".join(german).replace(";", "\t")]
    found = [parse_regions(text.encode()).table.weather for text in texts]
    head, rest = quick_csv.header_and_rest(texts[1].encode())
    assert head
    assert rest
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("empty", ["", "NA", "N/A", "n/a", "NaN", "-", "."])
def test_cells_without_a_yield(empty: str) -> None:
    """What people write where nothing was harvested."""
    content = f"temperature,rainfall,humidity,mango,orange\n73,67,43,56,{empty}\n91,88,64,81,101\n".encode()
    for table in (parse_observations(content), quick_csv.parse_observations(content, 10)):
        np.testing.assert_array_equal(table.yields, [[56, np.nan], [81, 101]])


def test_a_region_may_be_called_na(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is Namibia's code."""
    monkeypatch.setattr(quick_csv, "FROM_BYTES", 0)
    content = b"region,temperature,rainfall,humidity,mango\nNA,73,67,43,56\n"
    for table in (parse_observations(content), quick_csv.parse_observations(content, 10)):
        assert list(table.regions) == ["NA"]


ROWS = "".join(f"R{n},2026,{60 + n},{50 + n * n},{40 + n % 3},{50 + n},{1990 + n}\n" for n in range(8))


@pytest.mark.parametrize("name", ["year", "Year", "date", "tmax_mean_may_aug_f", "precip_total_may_aug_mm", "notes"])
def test_columns_that_are_no_crops_are_refused(name: str) -> None:
    """Every further column of numbers was a crop once."""
    content = f"region,season,temperature,rainfall,humidity,mango,{name}\n{ROWS}".encode()
    with pytest.raises(InvalidInput) as caught:
        parse_observations(content)
    assert f"the column {name!r} does not look like a crop's" in caught.value.detail
    assert "crops=mango; crops found: mango" in caught.value.detail
    assert parse_observations(content, reading=Reading(crops=("mango",))).crops == ("mango",)


def test_named_crops_are_taken_whatever_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """By both parsers; one that is not there is missing."""
    monkeypatch.setattr(quick_csv, "FROM_BYTES", 0)
    content = f"region,season,temperature,rainfall,humidity,mango,year\n{ROWS}".encode()
    for crops in (("year",), ("year", "mango"), ("mango",)):
        reading = Reading(crops=crops)
        for table in (parse_observations(content, reading=reading), quick_csv.parse_observations(content, 10, reading)):
            assert table.crops == crops
            np.testing.assert_array_equal(
                table.yields[:, crops.index(crops[0])],
                parse_observations(content, reading=Reading(crops=crops[:1])).yields[:, 0],
            )
    with pytest.raises(InvalidInput, match="the column 'corn' is missing"):
        parse_observations(content, reading=Reading(crops=("corn",)))


def test_a_column_that_repeats_the_weather_is_no_crop() -> None:
    """In another unit it does, too; a crop that follows from the weather in another way is one."""
    rows = [(60 + n, 50 + n * n, 40 + n % 3) for n in range(8)]
    lines = [f"{t},{r},{h},{(t - 32) / 1.8},{0.5 * r + 3}" for t, r, h in rows]
    content = "\n".join(["temperature,rainfall,humidity,heat,mango", *lines]).encode()
    with pytest.raises(InvalidInput, match="the column 'heat' repeats temperature"):
        parse_observations(content)
    assert parse_observations(content, reading=Reading(crops=("mango",))).crops == ("mango",)


def test_files_are_read_like_bodies(tmp_path: Path) -> None:
    """UTF-16, semicolons and workbooks, in parts."""
    text = "Region;Season;Temperature (°C);Rainfall;Humidity;mango\nÄ;2026;24,5;67;43;56,5\n"
    rows: list[list[str | float]] = [
        ["Region", "Season", "Temperature (°C)", "Rainfall", "Humidity", "mango"],
        ["Ä", 2026, 24.5, 67, 43, 56.5],
    ]
    for name, content in {
        "a.csv": text.encode("utf-16"),
        "b.csv": text.encode("cp1252").decode("cp1252").encode(),
        "c.xlsx": workbook_of(rows),
    }.items():
        (tmp_path / name).write_bytes(content)
        (part,) = TableFile(tmp_path / name).parts()
        assert (list(part.regions), list(part.seasons), part.crops) == (["Ä"], ["2026"], ("mango",)), name
        np.testing.assert_allclose(part.weather, [[76.1, 67, 43]])
        np.testing.assert_array_equal(part.yields, [[56.5]])


def test_parquet_names_and_units(tmp_path: Path) -> None:
    """They are read like a header's."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet  # noqa: PLC0415

    table = pa.table(
        {"Temperature (K)": [297.15], "Rainfall": [1.0], "Humidity": [43.0], "mango": [56.0], "wind": [3.0]}
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    (part,) = TableFile(tmp_path / "a.parquet", Reading(crops=("mango",))).parts()
    np.testing.assert_allclose(part.weather, [[75.2, 1, 43]])
    with pytest.raises(InvalidInput, match="the column 'wind' does not look like a crop's"):
        list(TableFile(tmp_path / "a.parquet").parts())


def test_a_workbook_is_its_first_sheet() -> None:
    """Blank lines, columns beside the table, whole numbers as codes, dates and formulas' values."""
    content = workbook_of(
        [
            [],
            ["", "Region", "Temperature", "Rainfall", "Humidity", "ok"],
            ["", 19001, 73.5, 67, 43, True],
            [],
            ["", "B", 91, 88, 64, ""],
        ]
    )
    asked = tables.asked_of(workbook.sheet_of(content), tables.AS_IT_IS)
    assert list(asked.table.regions) == ["19001", "B"]
    np.testing.assert_array_equal(asked.table.weather, [[73.5, 67, 43], [91, 88, 64]])
    assert asked.columns["ok"] == ("true", None)


def test_faults_of_a_workbook_name_the_line_that_excel_shows() -> None:
    """Lines count from the sheet's first."""
    content = workbook_of([[], ["temperature", "rainfall", "humidity"], [73, "?", 43]])
    with pytest.raises(InvalidInput, match=r"row 1 \(line 3\), column rainfall: '\?' is not a number"):
        tables.asked_of(workbook.sheet_of(content), tables.AS_IT_IS)
    with pytest.raises(TooLarge, match="more than 1 rows"):
        workbook.sheet_of(workbook_of([["temperature"], [1], [2]]), 1)


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04", b"PK\x03\x04" + bytes(100), workbook_of([["temperature"]])[:-30], b"nothing"],
)
def test_what_is_no_workbook(content: bytes) -> None:
    """A few bytes of one, or an archive of something else, is malformed."""
    with pytest.raises(MalformedInput, match="workbook"):
        workbook.sheet_of(content)


def test_an_archive_of_something_else() -> None:
    """As a document or a jar is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    with pytest.raises(MalformedInput, match="is an archive, and not an Excel workbook"):
        workbook.sheet_of(file.getvalue())


def test_a_workbook_that_unfolds_to_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted while it is unfolded, whatever its directory says."""
    monkeypatch.setattr(workbook, "MOST_UNPACKED", 10_000)
    with pytest.raises(TooLarge, match="unfolds to more than 10000 bytes"):
        workbook.sheet_of(workbook_of([["temperature"], *([n] for n in range(2_000))]))


@pytest.mark.parametrize("place", ["XFD1048576", "A4000001", "XFD1000"])
def test_a_cell_far_from_the_table(place: str) -> None:
    """The library would hold every cell between."""
    with pytest.raises(TooLarge, match="the sheet's cells reach to row"):
        workbook.sheet_of(workbook_of([["temperature"], [1]], places={"A2": place}))


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damaged_workbooks_are_told(noise: bytes, place: int) -> None:
    """Whatever is in one, it is a table or an error of the input."""
    content = workbook_of([["temperature", "rainfall", "humidity"], [73, 67, 43]])
    damaged = content[:place] + noise + content[place + len(noise) :]
    try:
        workbook.sheet_of(damaged)
    except InputError:
        """That is what is wanted."""


def test_header_names_are_not_guessed() -> None:
    """A crop may have brackets, and begin like a word of the weather."""
    header = Header.of(["temperature", "rainfall", "humidity", "mango (early)", "rainfed rice"])
    assert header.others == ["mango (early)", "rainfed rice"]


def test_tables_stay_what_they_were() -> None:
    """Plain CSV is read to the same digest as ever: batches are told apart by it."""
    table: Table = parse_observations(b"region,season,temperature,rainfall,humidity,mango\nA,2026,73,67,43,56\n")
    assert table.digest == "60a298504f2e06f933512e42719592c81c73a16832908537ecf0673b8a10037f"


@pytest.mark.parametrize("sign", ["[", "(", "[]", "a", "1,", "temperature ("])
def test_names_as_long_as_a_body_take_no_time_to_read(parse: Parse, sign: str) -> None:
    """What is looked for in a name is looked for in short ones: a pattern on 300 000 brackets would not come back."""
    with pytest.raises(InputError):
        parse(f"{sign * 300_000}\n1\n".encode())
