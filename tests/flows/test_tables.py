"""Tables of a shop's own, files of another format than was said, several files, partners: what the command does with them."""

import io
import json
from collections import Counter

import pytest
from typer.testing import CliRunner

from flows.append import ingest_file
from flows.commands import app
from flows.files import files_of
from flows.look import OtherFormatError, look_at
from flows.sample import form_of, map_text, read_map, sample
from infra.secret import secret
from models.events.identity import partner_key, pseudonym
from models.events.sources.guess import guess
from tests.stores import read_events

HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
ROW = "2019-10-01 00:00:01 UTC,view,100,22,shoes.trail,acme,9.5,7,s1"
OTHER = "2019-10-01 00:00:02 UTC,view,101,22,shoes.trail,acme,9.5,7,s2"
TABLE = f"{HEADER}\n{ROW}\n{OTHER}\n"


def written(folder, data, name="file"):
    path = folder / name
    path.write_text(data)
    return path


def counted(folder, data, format="rees46"):
    return ingest_file(written(folder, data), format, folder / "home", progress=False)


def event(i):
    return json.dumps({"event_id": f"e{i}", "user_id": "u", "type": "search", "ts": "2023-11-01T00:00:00Z"})


# ---- another format, a map, several files -----------------------------------------------------------------------------------

GA4 = json.dumps(
    {"event_name": "view_item", "event_timestamp": 1795000000000000, "user_pseudo_id": "u", "items": [{"item_id": "a"}]}
)
OTTO = '{"session":7,"events":[{"aid":1,"ts":1659304800025,"type":"clicks"}]}'


@pytest.mark.parametrize(
    ("data", "format", "looks"),
    [
        (GA4, "attune", "ga4"),
        (OTTO, "attune", "otto"),
        (OTTO, "ga4", "otto"),
        (event(1), "ga4", "attune"),
    ],
)
def test_a_file_of_another_format_is_refused_as_a_whole_and_named(tmp_path, data, format, looks):
    with pytest.raises(OtherFormatError, match=f"this looks like {looks}: use --format {looks}"):
        counted(tmp_path, data, format)
    assert not (tmp_path / "home").exists()


def test_a_look_counts_what_would_be_refused_and_keeps_nothing(tmp_path):
    found = look_at(written(tmp_path, TABLE + ROW.replace("view", "steal")), "rees46")
    assert (found.n_rows, list(found.refused.values())) == (3, [1])


def test_reasons_are_counted(tmp_path):
    reasons: Counter[str] = Counter()
    data = TABLE + ROW.replace("view", "steal") + "\n" + OTHER.replace("view", "steal")
    ingest_file(written(tmp_path, data), "rees46", tmp_path / "home", progress=False, reasons=reasons)
    assert list(reasons.values()) == [2]


def test_a_table_with_our_own_names_needs_no_map(tmp_path):
    text = (
        "User_ID;type;ts;item_id;price\n7.0;item_view;2023-11-01 10:00;a;9.5\n8;purchase;2023-11-01T11:00:00+01:00;a;\n9;x;;;\n"
    )
    assert counted(tmp_path, text, "attune") == (2, 0, 1)
    assert counted(tmp_path, text, "attune") == (0, 2, 1)
    events = read_events(tmp_path / "home")
    assert events["occurred_at_us"].tolist() == [1_698_832_800_000_000] * 2
    key = partner_key(secret(tmp_path / "home"), "local")
    assert events["user_id"].tolist() == [pseudonym(key, "7"), pseudonym(key, "8")]


MAP = """
times = "%d.%m.%Y %H:%M"
zone = "Europe/Berlin"
decimal = ","
[columns]
user_id = ["Kunde", "Gast"]
ts = "Zeit"
type = "Aktion"
item_id = "Artikel"
price = "Preis"
query = "Suchtext"
[events]
Ansicht = "item_view"
Kauf = "purchase"
Suche = "search"
[defaults]
device = "desktop"
"""
SHOP = """Kunde;Gast;Zeit;Aktion;Artikel;Preis;Suchtext
1;;24.12.2023 18:30;ansicht;A;1.299,50;
;g;24.12.2023 18:31;Suche;;;rote Schuhe
"""


def test_any_table_is_read_by_its_map(tmp_path):
    format, table = form_of(None, written(tmp_path, MAP, "shop.toml"))
    path = written(tmp_path, SHOP + "1;;24.12.2023 18:32;Tanz;A;;\n")
    assert ingest_file(path, format, tmp_path / "home", progress=False, table=table) == (2, 0, 1)
    assert ingest_file(path, format, tmp_path / "home", progress=False, table=table) == (0, 2, 1)
    events = read_events(tmp_path / "home")
    assert events["occurred_at_us"].tolist() == [1_703_439_000_000_000, 1_703_439_060_000_000]
    assert events["price"].tolist()[0] == 1299.5
    assert events["query_length"].tolist()[1] == 11.0
    assert events[["device", "utc_offset_min"]].to_numpy().tolist() == [["desktop", 60]] * 2
    assert b"rote Schuhe" not in b"".join(p.read_bytes() for p in (tmp_path / "home").glob("attune.db*"))


def test_a_map_leads_into_json(tmp_path):
    text = '[columns]\nuser_id = "who.id"\nts = "at"\nitem_id = "what.sku"\n[defaults]\ntype = "item_view"\n'
    _, table = form_of(None, written(tmp_path, text, "shop.toml"))
    data = '{"who": {"id": 7}, "at": 1700000000, "what": {"sku": 5.0}}\n{"at": 1700000000}\n'
    assert ingest_file(written(tmp_path, data), "attune", tmp_path / "home", progress=False, table=table) == (1, 0, 1)
    assert read_events(tmp_path / "home")["item_id"].tolist() == ["5"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("columns = 3", "columns must be a table"),
        ('[columns]\nuser = "a"', "gives a column to 'user'"),
        ('[columns]\nuser_id = "a"\nts = "b"', "no column for type, and no default"),
        ('[columns]\nuser_id = "a"\nts = "b"\n[defaults]\ntype = "item_view"\n[events]\nx = "dance"', "lead to 'dance'"),
        ('zone = "Mars/Olympus"\n[columns]\nuser_id = "a"\nts = "b"\ntype = "c"', "zone is no time zone"),
        ('separator = ";;;;"\n[columns]\nuser_id = "a"\nts = "b"\ntype = "c"', "separator must be 1 to 3 characters"),
        ("colums = {}", "the map has 'colums'"),
        ("[columns", "is no TOML"),
        ('encoding = "klingon"\n[columns]\nuser_id = "a"\nts = "b"\ntype = "c"', "encoding is unknown"),
        ('times = 5\n[columns]\nuser_id = "a"\nts = "b"\ntype = "c"', "must be texts"),
    ],
)
def test_a_wrong_map_is_one_line(tmp_path, text, says):
    with pytest.raises(ValueError, match=says):
        read_map(written(tmp_path, text))


def test_a_guessed_map_reads_back_as_it_was(tmp_path):
    found = guess(sample(written(tmp_path, SHOP))).table
    assert found is not None
    assert read_map(written(tmp_path, map_text(found), "shop.toml")) == found


def test_letters_of_windows_are_guessed_and_read(tmp_path):
    path = tmp_path / "shop.csv"
    path.write_bytes("Zeit;Kunde;Aktion;Artikel;Kategorie\n2023-12-24 18:30;1;Kauf;A;Hüte\n".encode("cp1252"))
    table = guess(sample(path)).table
    assert ingest_file(path, "attune", tmp_path / "home", progress=False, table=table) == (1, 0, 0)
    assert read_events(tmp_path / "home")["category"].tolist() == ["Hüte"]


def test_words_mean_files_folders_and_patterns(tmp_path, monkeypatch):
    inner = tmp_path / "logs" / "day=1"
    inner.mkdir(parents=True)
    for name in ("a.csv", "b.jsonl.gz", "_SUCCESS", ".c.csv", "notes.md"):
        written(inner, "x", name)
    with files_of([str(tmp_path / "logs"), str(inner / "a.csv")]) as paths:
        assert [path.name for path in paths] == ["a.csv", "b.jsonl.gz"]
    with files_of([str(tmp_path / "**" / "*.csv")]) as paths:
        assert "a.csv" in {path.name for path in paths}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TABLE.encode())))
    with files_of(["-"]) as paths:
        assert ingest_file(paths[0], "rees46", tmp_path / "home", progress=False) == (2, 0, 0)
    assert not paths[0].exists()
    for word in (str(tmp_path / "*.tsv"), str(tmp_path / "home")):
        with pytest.raises(FileNotFoundError), files_of([word]):
            pass


def test_a_partners_history_has_the_pseudonyms_of_its_live_visitors(tmp_path):
    ingest_file(written(tmp_path, TABLE), "rees46", tmp_path / "home", partner="my-shop", progress=False)
    found = read_events(tmp_path / "home")
    assert set(found["partner"]) == {"my-shop"}
    assert set(found["user_id"]) == {pseudonym(partner_key(secret(tmp_path / "home"), "my-shop"), "7")}


# ---- the command -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def attune(tmp_path, monkeypatch):
    """The flows' commands over a home of their own; what a person can mend is one line, as the real command says it."""
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path / "home"))
    return lambda *words: CliRunner().invoke(app, list(map(str, words)))


def test_a_guessed_map_is_written_and_used_and_nothing_is_stored_before(attune, tmp_path):
    path = written(tmp_path, SHOP, "shop.csv")
    printed = attune("ingest", path, "--guess")
    told = attune("ingest", path, "--guess", "--map", tmp_path / "shop.toml")
    assert (tmp_path / "shop.toml").read_text() == printed.stdout
    assert "then: attune ingest" in told.stderr
    assert not (tmp_path / "home").exists()
    assert attune("ingest", path, "--guess", "--map", tmp_path / "shop.toml").exit_code != 0  # it is there
    assert json.loads(attune("ingest", path, "--map", tmp_path / "shop.toml").stdout)["accepted"] == 2


def test_more_than_half_refused_ends_with_the_reasons_and_their_numbers(attune, tmp_path):
    path = written(tmp_path, TABLE + f"{ROW.replace('view', 'steal')}\n" * 3, "shop.csv")
    run = attune("ingest", path, "--format", "rees46")
    assert run.exit_code == 3
    assert json.loads(run.stdout) == {"accepted": 2, "duplicate": 0, "quarantined": 3}
    assert "3 of 5 rows were refused" in run.stderr
    assert "3 rows: event_type: must be one of view, cart" in run.stderr


def test_another_format_ends_with_its_name_and_stores_nothing(attune, tmp_path):
    path = written(tmp_path, GA4)
    for words in ([], ["--check"]):
        run = attune("ingest", path, *words)
        assert run.exit_code == 3
        assert "this looks like ga4: use --format ga4; nothing of it was stored" in run.stderr


def test_several_files_of_a_partner_are_counted_together(attune, tmp_path):
    one, two = written(tmp_path, TABLE, "one.csv"), written(tmp_path, f"{HEADER}\n{OTHER}\n", "two.csv")
    run = attune("ingest", one, two, "--format", "rees46", "--partner", "my-shop")
    assert json.loads(run.stdout) == {"accepted": 2, "duplicate": 1, "quarantined": 0}
    assert "attune partner add my-shop" in run.stderr
    assert set(read_events(tmp_path / "home")["partner"]) == {"my-shop"}


def test_one_file_of_a_folder_that_cannot_be_read_does_not_stop_the_others(attune, tmp_path):
    (folder := tmp_path / "days").mkdir()
    written(folder, TABLE, "a.csv")
    written(folder, "", "b.csv")
    written(folder, GA4, "c.json")
    written(folder, f"{HEADER}\n{OTHER.replace('101', '102')}\n", "d.csv")
    run = attune("ingest", folder, "--format", "rees46")
    assert json.loads(run.stdout) == {"accepted": 3, "duplicate": 0, "quarantined": 0}
    assert run.exit_code == 2
    assert "b.csv is empty: it holds no events; it is left out" in run.stderr
    assert "this looks like ga4: use --format ga4; it is left out" in run.stderr
    assert "1 of 4 files could not be read and were left out" in run.stderr
    (folder / "c.json").unlink()
    assert attune("ingest", folder, "--format", "rees46").exit_code == 0


def test_a_look_at_a_file_says_what_it_found(attune, tmp_path):
    run = attune("ingest", written(tmp_path, TABLE), "--format", "rees46", "--check")
    assert (run.exit_code, run.stdout) == (0, "")
    assert "2 of the first 2 rows can be read" in run.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--partner", "a/b"], "letters, digits"),
        (["--format", "ga4", "--map", "x.toml"], "give --format or --map"),
        (["--map", "x"], "no map"),
    ],
)
def test_words_that_mean_nothing_are_refused(attune, tmp_path, words, says):
    run = attune("ingest", written(tmp_path, TABLE), *words)
    assert isinstance(run.exception, ValueError | OSError)
    assert says in str(run.exception)
