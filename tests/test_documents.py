"""What the documents promise: links that lead somewhere; commands, settings and endpoints named; decisions in order."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import Typer

from infra.settings import Settings, setting_names
from tests.tree import ROOT, nothing, place

DOCUMENTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))


def anchors(text: str) -> set[str]:
    """Names by which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def dead_links(page: Path) -> Iterator[str]:
    prose = re.sub(r"^(`{3,}).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        if not linked.exists() or (anchor and anchor not in anchors(linked.read_text(encoding="utf-8"))):
            yield f"{place(page)}: {target}"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    assert nothing(link for page in DOCUMENTS for link in dead_links(page))


def test_files_and_folders_that_the_documents_name_exist() -> None:
    """Words such as `models/events/rules.py`; templates with capitals or braces are none."""
    named = re.compile(r"`((?:models|infra|feature_repo|flows|services|tests|benchmarks|docs)/[a-z0-9_/.]*)`")
    pages = [page for page in DOCUMENTS if page.name != "CHANGELOG.md"]
    assert nothing(f"{place(p)}: {name}" for p in pages for name in named.findall(p.read_text()) if not (ROOT / name).exists())


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_context_choice_and_consequence_and_stands_in_the_index(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Choice", "Consequence"]
    assert text.startswith(f"# {int(page.stem[:4])} ")
    assert f"({page.name})" in (page.parent / "README.md").read_text(encoding="utf-8")


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(page.stem[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_the_glossary_is_in_alphabetical_order() -> None:
    terms = re.findall(r"^\*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(terms) > 60
    assert terms == sorted(terms, key=lambda term: re.sub(r"[`_]", "", term).casefold())


def test_the_readme_names_every_command_and_every_setting() -> None:
    readme = (ROOT / "README.md").read_text()
    named: set[str] = set()
    for group, words in re.findall(r"attune ([a-z]+)(?: ([a-z|]+))?", readme):
        named |= {group, *(f"{group} {word}" for word in words.split("|"))}
    commands = list(command_words())
    assert len(commands) >= 25
    assert nothing(f"attune {command}" for command in commands if command not in named)
    assert nothing(name for name in setting_names() if name not in readme)


def test_the_readme_names_every_endpoint(tmp_path: Path) -> None:
    from services.api.app import build_app

    readme = (ROOT / "README.md").read_text()
    families = {family.rstrip("…") for family in re.findall(r"`(/v1/[^`]*…)`", readme)}
    paths = {path for _, path in build_app(Settings(home=tmp_path)).endpoints}
    assert nothing(p for p in sorted(paths) if f"{p}`" not in readme and not p.startswith(tuple(families)))


def command_words() -> Iterator[str]:
    """All commands as they are typed behind ``attune``: ``up``, ``quarantine list``, …"""
    from services.cli import app

    def words(typed: Typer | None, before: str = "") -> Iterator[str]:
        if typed is None:
            return
        yield from (f"{before}{c.name or getattr(c.callback, '__name__', '')}" for c in typed.registered_commands)
        for group in typed.registered_groups:
            yield from words(group.typer_instance, f"{group.name or ''} ".lstrip())

    yield from words(app())
