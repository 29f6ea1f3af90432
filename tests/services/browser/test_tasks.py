"""The console's five main tasks by keyboard alone, in Chromium; and that what they lead to is accessible.

A visit is found and asked for again; what goes with an item is seen for another intent; a policy is rehearsed and saved; an
experiment is started and stopped; a key is made and taken back.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chromium import until
from tests.services.beacon.chromium import Browser
from tests.services.browser.house import House, axe, violations
from tests.services.browser.test_pages import enter
from tests.stores import copied

FARTHEST = 150  # presses of Tab to anything on a page


@pytest.fixture(scope="module")
def house(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = House(copied(trained, tmp_path_factory.mktemp("house") / "home"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def browser(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    opened.look(1280, 860, dark=False)
    opened.listen()
    enter(opened, house)
    yield opened
    opened.close()


def reach(browser: Browser, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(FARTHEST):
        if browser.value(f"document.activeElement.matches({selector!r})"):
            return
        browser.key("Tab")
    raise AssertionError(f"{selector} cannot be reached")


def follow(browser: Browser, selector: str) -> None:
    """Reach something, press Enter, and wait for the page that comes."""
    reach(browser, selector)
    browser.value("window.left = true")
    browser.key("Enter")
    until(lambda: browser.value("!window.left && document.readyState === 'complete'"), f"{selector} leads nowhere")


def write(browser: Browser, selector: str, text: str) -> None:
    """Put a text into a field, in place of what stands there."""
    reach(browser, selector)
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="a", modifiers=2, commands=["selectAll"])
    browser.call("Input.insertText", text=text)


def told(browser: Browser) -> str:
    return str(browser.value("document.querySelector('p.told')?.textContent ?? ''"))


def test_a_visit_is_found_and_asked_for_again(browser: Browser, house: House) -> None:
    house.partner.client.send_events(
        [{"user_id": "by-keyboard", "session_id": "k", "type": "item_view", "item_id": f"sku-{k:05d}"} for k in (1, 2, 5)]
    )
    browser.open(f"{house.console}/")
    follow(browser, "nav a[href='/sessions']")
    follow(browser, "#sessions a")
    follow(browser, "#ask button")
    assert browser.value("document.querySelectorAll('#again tbody tr').length") > 0


def test_what_goes_with_an_item_is_seen_for_another_intent(browser: Browser, house: House) -> None:
    browser.open(f"{house.console}/")
    follow(browser, "nav a[href='/associations']")
    write(browser, "#find input", "sku-00005")
    browser.value("window.left = true")
    browser.key("Enter")
    until(lambda: browser.value("!window.left && document.readyState === 'complete'"), "nothing is looked for")
    follow(browser, "#found a")
    reach(browser, "input[name=exploratory]")
    before = browser.value("document.querySelector('#lead').textContent")
    for _ in range(3):
        browser.key("PageUp")
    until(lambda: browser.value("document.querySelector('#lead').textContent") != before, "the slider changes nothing")


def test_a_policy_is_rehearsed_and_saved(browser: Browser, house: House) -> None:
    browser.open(f"{house.console}/")
    follow(browser, "nav a[href='/signals']")
    write(browser, "#policy input[name=max_per_day]", "7")
    follow(browser, "#policy button[formaction]")
    assert "Nothing was set, nothing was sent" in told(browser)
    assert browser.value("document.querySelectorAll('#rehearsed tbody tr').length") == 5
    write(browser, "#policy input[name=reason]", "tried it")
    follow(browser, "#policy button.main")
    assert "is saved" in told(browser)
    assert browser.value("document.querySelector('#policy input[name=max_per_day]').value") == "7"


def test_an_experiment_is_started_and_stopped(browser: Browser, house: House) -> None:
    browser.open(f"{house.console}/")
    follow(browser, "nav a[href='/experiments']")
    write(browser, "#start input[name=share]", "0.3")
    follow(browser, "#start button")
    assert "30 % of the visitors" in told(browser)
    follow(browser, "#stop button")
    assert "every visitor gets static" in told(browser)


def test_a_key_is_made_and_taken_back_by_its_name_typed_once_more(browser: Browser, house: House) -> None:
    browser.open(f"{house.console}/")
    follow(browser, "nav a[href='/partners']")
    write(browser, "form[action$='/add'] input[name=name]", "typed")
    follow(browser, "form[action$='/add'] button")
    assert "sk_" in told(browser)
    reach(browser, "form[action$='/revoke'] select")
    browser.key("t", "t")
    write(browser, "form[action$='/revoke'] input[name=typed]", "typed")
    follow(browser, "form[action$='/revoke'] button")
    assert "of typed" in told(browser), told(browser)


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 860, False), (390, 844, True)])
def test_what_forms_answer_fits_and_is_accessible(browser: Browser, house: House, width: int, height: int, dark: bool) -> None:
    script = axe()
    browser.look(width, height, dark=dark)
    house.partner.client.send_events([{"user_id": "by-hand", "session_id": "k", "type": "item_view", "item_id": "sku-00003"}])
    for path, button in (("/signals", "#policy button[formaction]"), ("/sessions", "#ask button")):
        browser.open(house.console + path)
        for selector in (*(["#sessions a"] if path == "/sessions" else []), button):
            browser.value(f"window.left = true, document.querySelector({selector!r}).click()")
            until(lambda: browser.value("!window.left && document.readyState === 'complete'"), "no answer")
        wide = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert (path, violations(browser.value, script), wide <= 0) == (path, [], True)
    assert browser.complaints() == []
