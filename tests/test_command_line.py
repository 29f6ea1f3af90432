"""The commands as a person meets them: results on stdout, one line and exit code 2 for what can be mended, no traceback."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from infra import layout
from infra.store.engines import server
from services.cli import app
from tests.stores import embedded_only
from tests.waiting import PATIENCE_S

EVENT = (
    '{"event_id":"e%d","user_id":"u-1","session_id":"s","type":"item_view","item_id":"sku-1","ts":"2026-11-01T10:00:%02dZ"}\n'
)


def attune(home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *words],
        env={**os.environ, "ATTUNE_HOME": str(home), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


BROKEN = {
    "no such file": (None, "attune"),
    "unknown format": (b"{}\n", "parquetish"),
    "truncated gzip": (gzip.compress((EVENT % (1, 1)).encode() * 50)[:-20], "attune"),
    "wrong delimiter": (b"user_id;session_id;timestamp\n1;2;3\n", "trivago"),
    "not text": (bytes(range(128, 256)) * 20 + b"\n", "taobao"),
    "missing column": (b"event_time,event_type,product_id\n2019-10-01 00:00:00 UTC,view,1\n", "rees46"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2(name: str, tmp_path: Path) -> None:
    content, format = BROKEN[name]
    file = tmp_path / "events" if content is None else write(tmp_path / "events", content)
    run = attune(tmp_path / "home", "ingest", str(file), "--format", format)
    assert run.returncode == 2
    assert run.stderr.startswith("attune: ")
    assert run.stderr.count("\n") == 1
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "truncated gzip"])  # whose whole lines are taken
def test_the_main_job_says_the_same_before_anything_is_started(name: str, tmp_path: Path) -> None:
    content, format = BROKEN[name]
    file = tmp_path / "events" if content is None else write(tmp_path / "events", content)
    run = attune(tmp_path / "home", "up", "--once", "--port", "0", "--events", str(file), "--format", format)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1), run.stderr
    assert run.stderr.startswith("attune: ")
    assert not (tmp_path / "home").exists()


def test_ingest_says_what_became_of_every_row_and_quarantine_shows_why(tmp_path: Path) -> None:
    lines = [
        EVENT % (1, 1),
        EVENT % (2, 2),
        EVENT % (1, 1),
        (EVENT % (3, 3)).replace("item_view", "dance"),
        (EVENT % (4, 4)).replace("}", ',"price":-1}'),
        (EVENT % (5, 5)).replace("2026", "2096"),
        "{not json\n",
        "\xff\xfe\n",
    ]
    file = write(tmp_path / "events.jsonl", "".join(lines).encode("latin-1"))
    run = attune(tmp_path, "ingest", str(file), "--format", "attune")
    assert run.returncode == 3  # more than half were refused
    assert "attune: 5 of 8 rows were refused" in run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == {"accepted": 2, "duplicate": 1, "quarantined": 5}
    again = attune(tmp_path, "ingest", str(file), "--format", "attune")
    assert json.loads(again.stdout.splitlines()[-1])["accepted"] == 0
    rows = json.loads(attune(tmp_path, "quarantine", "list", "--json").stdout)
    assert {row["line"] for row in rows} == {4, 5, 6, 7, 8}
    assert "canary" not in json.dumps(rows)


def test_a_setting_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    run = attune(tmp_path, "partner", "list", ATTUNE_HOMME="x")
    assert run.returncode == 2
    assert "ATTUNE_HOMME is not a setting" in run.stderr


@pytest.mark.parametrize(
    "words",
    [
        "dance",
        "ingest",
        "quarantine list --limit 0",
        "simulate --users many",
        "up --port 99999",
        "schedule --port 99999",
        "doctor --deeply",
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(words: str, tmp_path: Path) -> None:
    run = attune(tmp_path / "home", *words.split())
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1), run.stderr
    assert run.stderr.startswith("attune: ")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("partner list", marks=embedded_only("a server tells of its partners without a home")),
        *("models", "serve", "up --once", "quarantine list", "ingest FILE"),
    ],
)
def test_a_home_that_is_none_and_a_store_that_is_none_are_one_line(words: str, tmp_path: Path) -> None:
    file = write(tmp_path / "events.jsonl", (EVENT % (1, 1)).encode())
    (tmp_path / "home").mkdir()
    write(tmp_path / "home" / layout.STORE, b"this is no store at all" * 100)
    for home in (file, tmp_path / "home") if server(tmp_path) is None else (file,):
        run = attune(home, *words.replace("FILE", str(file)).split())
        assert (run.returncode, run.stderr.count("\n")) == (2, 1), run.stderr
        assert "Traceback" not in run.stderr


def test_a_damaged_secret_is_one_line_and_the_doctor_names_it(tmp_path: Path) -> None:
    assert attune(tmp_path, "partner", "list").returncode == 0
    write(tmp_path / layout.SECRET, b"short").chmod(0o600)
    for words in (("serve", "--port", "0"), ("erase", "u"), ("ingest", str(write(tmp_path / "e.jsonl", b"{}\n")))):
        run = attune(tmp_path, *words)
        assert (run.returncode, run.stderr.count("\n")) == (2, 1), run.stderr
    assert "fail  secret: the file is damaged" in attune(tmp_path, "doctor").stdout


def test_byte_code_is_kept_whatever_the_environment_says(tmp_path: Path) -> None:
    kept = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(tmp_path / "kept")}
    attune(tmp_path / "home", "partner", "list", **kept)
    assert {path.name.partition(".")[0] for path in (tmp_path / "kept").rglob("*.pyc")} >= {"partners", "settings"}


@embedded_only("its file tells which home was taken")
def test_an_empty_setting_is_as_good_as_none(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "services.cli", "partner", "list"],
        cwd=tmp_path,
        env={**os.environ, "ATTUNE_HOME": "", "PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    assert run.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [".attune"]


def test_a_user_is_erased_where_no_feature_was_ever_written(tmp_path: Path) -> None:
    file = write(tmp_path / "events.jsonl", (EVENT % (1, 1)).encode())
    assert attune(tmp_path, "ingest", str(file)).returncode == 0
    receipt = json.loads(attune(tmp_path, "erase", "u-1", "--json").stdout)
    assert (receipt["completed"], receipt["removed"]) == (True, {"events": 1})
    for words in (("erase", ""), ("erase", "x" * 257), ("erase", "u-1", "--partner", "nobody")):
        run = attune(tmp_path, *words)
        assert (run.returncode, run.stderr.count("\n")) == (2, 1), run.stderr


SERVERS = {"up", "serve", "worker", "schedule", "shop", "console"}  # do not end by themselves


def test_every_command_that_ends_speaks_to_programs() -> None:
    def without(command: Any, words: str = "") -> Iterator[str]:
        for name, one in getattr(command, "commands", {}).items():
            yield from without(one, f"{words} {name}".strip())
        if not getattr(command, "commands", {}) and not any("--json" in option.opts for option in command.params):
            yield words

    assert set(without(get_command(app()))) == SERVERS


def test_a_simulated_shop_and_a_new_key_are_told_to_programs(tmp_path: Path) -> None:
    run = attune(tmp_path, "simulate", "--users", "5", "--days", "1", "--out", str(tmp_path / "shop.jsonl"), "--json")
    assert (tmp_path / "shop.jsonl").exists()
    assert isinstance(json.loads(run.stdout), dict)
    told = json.loads(attune(tmp_path, "partner", "add", "shop", "--json").stdout)
    assert told["key"].startswith("sk_")
    assert (told["partner"], told["kind"], "events:write" in told["scopes"]) == ("shop", "sk", True)
    browser = attune(tmp_path, "partner", "add", "shop", "--browser", "--origin", "https://shop.example", "--json").stdout
    assert (json.loads(browser)["origins"], json.loads(browser)["scopes"]) == (["https://shop.example"], ["events:write"])
    assert json.loads(attune(tmp_path, "partner", "rotate", "shop", "--json").stdout)["key"].startswith("sk_")
    assert json.loads(attune(tmp_path, "partner", "names", "shop", "--json").stdout) == {"partner": "shop", "names": {}}
    assert attune(tmp_path, "partner", "names", "nobody").returncode == 2
    assert json.loads(attune(tmp_path, "partner", "revoke", "shop", "--json").stdout)["revoked"] == 3


def test_partners_come_and_go(tmp_path: Path) -> None:
    key = attune(tmp_path, "partner", "add", "shop").stdout.strip()
    assert key.startswith("sk_")
    listed = json.loads(attune(tmp_path, "partner", "list", "--json").stdout)
    assert [row["partner"] for row in listed] == ["shop"]
    assert attune(tmp_path, "partner", "rotate", "shop").stdout.startswith("sk_")
    assert attune(tmp_path, "partner", "revoke", "shop").stdout == "2 keys revoked\n"
    assert attune(tmp_path, "partner", "revoke", "nobody").returncode == 2


def test_models_and_promotion_before_any_training_say_what_to_do(tmp_path: Path) -> None:
    assert attune(tmp_path, "models", "--json").stdout.strip() == "[]"
    for words in (("promote", "intent"), ("rollback", "intent"), ("promote", "nonsense:x"), ("evaluate",)):
        run = attune(tmp_path, *words)
        assert (run.returncode, run.stderr.count("\n")) == (2, 1), run.stderr


@embedded_only("on a server a store is there for every home")
def test_a_doctor_of_an_empty_home_names_the_first_step(tmp_path: Path) -> None:
    findings = json.loads(attune(tmp_path / "new", "doctor", "--json").stdout)
    assert {"part": "event log", "state": "warn", "says": "there is no store yet", "mend": "attune up"} in findings
    assert not (tmp_path / "new").exists()


def test_simulated_events_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    words = ("simulate", "--users", "20", "--days", "2", "--seed", "3", "--end", "2026-11-01", "--out")
    for name in ("a.jsonl", "b.jsonl"):
        assert attune(tmp_path, *words, str(tmp_path / name)).returncode == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_package_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['prefect'] = None; sys.argv = ['attune', 'retrain']; from services.cli import main; main()"
    environment = {**os.environ, "ATTUNE_HOME": str(tmp_path / "home")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "attune: this needs the package prefect: install Attune with its extras, attune[flows,services]\n"


def test_the_root_tells_its_version_and_completes_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from services.cli import app

    # Typer would look for the shell among our ancestors, and a test may have none.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    told = CliRunner().invoke(app(), ["--version"])
    assert (told.exit_code, told.stdout.split()[0]) == (0, "attune")
    assert told.stdout.split()[1][0].isdigit()
    completion = CliRunner().invoke(app(), ["--show-completion", "bash"], prog_name="attune")
    assert "_ATTUNE_COMPLETE" in completion.stdout
    words = {"_ATTUNE_COMPLETE": "complete_bash", "COMP_WORDS": "attune rest", "COMP_CWORD": "1"}
    assert CliRunner().invoke(app(), [], prog_name="attune", env=words).stdout.split() == ["restore"]
