"""The page in a real headless Chromium: it works, shows what the store holds, runs nothing foreign, is accessible."""

import re

import numpy as np
import pytest

from inoc.heuristics.frame.rows import rows as table_rows
from inoc.heuristics.frame.table import measure
from inoc.store import open_store

FIRST_CELLS = """return [...document.querySelectorAll('#table-rows tbody tr')]
    .map(r => [r.cells[0].dataset.prompt, r.cells[2].textContent])"""
DETAIL = "return document.getElementById('{}-detail').textContent"


@pytest.fixture
def page(browser, hostile_report):
    browser.messages()
    browser.open(hostile_report)
    return browser


def column(page, name):
    """Texts of a table column without its intervals, top to bottom."""
    return page.run(
        """
        const heads = [...document.querySelectorAll('#table-rows thead th')];
        const at = heads.findIndex(h => h.querySelector('button').firstChild.textContent === arguments[0]);
        return [...document.querySelectorAll('#table-rows tbody tr')].map(r => r.cells[at].firstChild.textContent);
        """,
        name,
    )


def click_head(page, name):
    page.run(
        """
        [...document.querySelectorAll('#table-rows thead button')]
          .find(b => b.firstChild.textContent === arguments[0]).click();
        """,
        name,
    )


def aria_sort(page):
    return page.run(
        "return Object.fromEntries([...document.querySelectorAll('#table-rows thead th')]"
        ".map(h => [h.querySelector('button').firstChild.textContent, h.getAttribute('aria-sort')]))"
    )


def numbers(texts):
    return [np.nan if text == "–" else float(text.replace("−", "-")) for text in texts]


def press(page, key, times=1):
    from selenium.webdriver.common.action_chains import ActionChains

    for _ in range(times):
        ActionChains(page.driver).send_keys(key).perform()


def test_loads_without_a_word_on_the_console(page):
    assert page.messages() == []
    assert page.run("return document.querySelectorAll('#scatter-plot [data-row]').length") > 0
    assert page.run("return document.querySelectorAll('.token').length") > 0


def test_loads_nothing(page):
    assert page.run("return performance.getEntriesByType('resource').length") == 0


def test_policy_stops_foreign_code(page):
    """The policy would hold even if something got in."""
    page.run(
        "window.ran = false; const s = document.createElement('script');"
        "s.textContent = 'window.ran = true'; document.body.append(s);"
        "const i = document.createElement('img'); i.setAttribute('onerror', 'window.ran = true');"
        "i.src = 'data:,'; document.body.append(i);"
    )
    page.run("return new Promise(done => setTimeout(done, 200))")
    assert page.run("return window.ran") is False
    assert any("Content Security Policy" in message for message in page.messages())


def test_table_sorts(page, hostile):
    rows = table_rows(measure(open_store(hostile)))
    truth = dict(zip(zip(rows.prompts, rows.prefix_types, strict=True), rows.columns["ph"].values, strict=True))
    click_head(page, "ph")
    assert aria_sort(page)["ph"] == "descending"
    shown = numbers(column(page, "ph"))
    cells = [(key, kind) for key, kind in page.run(FIRST_CELLS)]
    np.testing.assert_allclose(shown, [truth[cell] for cell in cells], atol=0.0006)
    known = [value for value in shown if not np.isnan(value)]
    assert known == sorted(known, reverse=True)
    assert np.isnan(shown[-1])  # the pending unit comes last, ...
    assert page.run("return document.activeElement.textContent").startswith("ph")
    click_head(page, "ph")
    assert aria_sort(page)["ph"] == "ascending"
    shown = numbers(column(page, "ph"))
    assert [value for value in shown if not np.isnan(value)] == known[::-1]
    assert np.isnan(shown[-1])  # ... either way
    assert [name for name, order in aria_sort(page).items() if order != "none"] == ["ph"]


def test_table_filters_and_columns(page):
    assert page.run("return document.getElementById('table-count').textContent").startswith("8 of 8 rows")
    page.choose("table-role", "positive")
    page.choose("table-prefix", "mix")
    assert page.run(FIRST_CELLS) == [["german", "mix"], ["german_too", "mix"]]
    page.driver.find_element("id", "table-find").send_keys("sprich DEUTSCH")
    assert page.run(FIRST_CELLS) == [["german_too", "mix"]]
    page.driver.find_element("id", "table-find").send_keys(" nothing")
    assert page.run(FIRST_CELLS) == []
    page.driver.find_element("id", "table-reset").click()
    assert len(page.run(FIRST_CELLS)) == 8
    page.driver.find_element("css selector", "#table-columns summary").click()
    page.driver.find_element("xpath", "//label[starts-with(., 'mald')]//input").click()
    assert len(column(page, "mald")) == 8


def test_scatter_switches_axes(page):
    ph = {
        (p, k): v
        for (p, k), v in zip(
            page.run(FIRST_CELLS) and map(tuple, page.run(FIRST_CELLS)), numbers(column(page, "ph")), strict=True
        )
    }
    page.choose("scatter-x", "gamma")
    page.choose("scatter-y", "ph")
    assert page.run("return document.querySelector('#scatter-plot svg').getAttribute('aria-label')") == (
        "Scatter of ph (nats per token) against gamma"
    )
    places = page.run(
        "return [...document.querySelectorAll('#scatter-plot [data-row]')].map(p => [Number(p.dataset.row),"
        " Number(p.querySelector('.ring').getAttribute('cx')), Number(p.querySelector('.ring').getAttribute('cy'))])"
    )
    labels = page.run(FIRST_CELLS)
    values = np.array([ph[tuple(labels[i])] for i, _, _ in places])
    heights = np.array([y for _, _, y in places])
    assert len(places) == 7  # the pending unit has no value
    assert np.corrcoef(values, heights)[0, 1] < -0.9999  # up is more, linearly
    page.choose("scatter-x", "suppression[German]")
    assert page.run("return document.querySelectorAll('#scatter-plot [data-row]').length") == 5
    assert "3 left out" in page.run("return document.getElementById('scatter-note').textContent")
    page.choose("scatter-prefix", "mix")
    assert page.run("return document.querySelectorAll('#scatter-plot [data-row]').length") == 1


def test_scatter_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    assert page.run("return document.querySelectorAll('#scatter-plot [tabindex=\"0\"]').length") == 1
    page.run("document.querySelector('#scatter-plot [tabindex=\"0\"]').focus()")
    first = page.run(DETAIL.format("scatter"))
    press(page, Keys.ARROW_RIGHT)
    second = page.run(DETAIL.format("scatter"))
    assert first != second
    labels = page.run(
        "return [...document.querySelectorAll('#scatter-plot [data-row]')].map(p => p.getAttribute('aria-label'))"
    )
    assert second.startswith(labels[1].split(". ")[0])
    assert page.run("return document.querySelectorAll('#scatter-plot [tabindex=\"0\"]').length") == 1
    page.choose("scatter-x", "snr")  # the prompt stays named on other axes
    name = page.run("return document.querySelector('#scatter-plot .name').textContent")
    assert name
    assert second.startswith(name)


PLACES = """return [...document.querySelectorAll('#scatter-plot [data-row]')].map(p => [Number(p.dataset.row),
    Number(p.querySelector('.ring').getAttribute('cx')), -Number(p.querySelector('.ring').getAttribute('cy'))])"""


def looked_at(page, turn, tilt):
    """Where the marks are, right and up, by row."""
    for name, value in (("turn", turn), ("tilt", tilt)):
        page.run(
            "const input = document.getElementById(arguments[0]); input.value = arguments[1];"
            "input.dispatchEvent(new Event('input'))",
            f"scatter-{name}",
            str(value),
        )
    return np.array(sorted(page.run(PLACES)))[:, 1:].T


def test_embeddings_in_three_dimensions(page, hostile):
    """From the front, the side and above, the marks lie where the stored vectors do."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    vectors = open_store(hostile).embeddings["prompt_vector"].values
    truth = np.repeat(PCA(3).fit_transform(normalize(vectors)), 2, axis=0).T  # a row for fixed, one for mix
    prompts = page.run("return report.row_prompt")
    keys = [str(key) for key in open_store(hostile).embeddings["prompt"].values]
    truth = np.array([[axis[2 * keys.index(prompt)] for prompt in prompts] for axis in truth])
    assert page.run("return document.getElementById('scatter-turn').checkVisibility()") is False
    page.choose("scatter-axes", "embedding")
    assert page.run("return document.getElementById('scatter-turn').checkVisibility()") is True
    assert page.run("return document.getElementById('scatter-z').value") == "embedding[3]"

    def along(seen, axis):
        return abs(np.corrcoef(seen, truth[axis])[0, 1])

    for turn, tilt, across, up in ((0, 0, 0, 2), (90, 0, 1, 2), (0, 90, 0, 1)):
        right, height = looked_at(page, turn, tilt)
        assert along(right, across) == pytest.approx(1, abs=1e-5)
        assert along(height, up) == pytest.approx(1, abs=1e-5)
    page.choose("scatter-z", "")
    assert page.run("return document.getElementById('scatter-axes').value") == ""
    assert page.run("return document.getElementById('scatter-turn').checkVisibility()") is False


def test_three_dimensions_turn_by_keyboard_and_pointer(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.choose("scatter-axes", "pca")
    before = page.run(PLACES)
    page.run("document.getElementById('scatter-turn').focus()")
    press(page, Keys.ARROW_RIGHT, 3)
    turned = page.run(PLACES)
    assert turned != before
    assert page.run("return document.activeElement.id") == "scatter-turn"
    plot = page.driver.find_element("id", "scatter-plot")
    ActionChains(page.driver).move_to_element_with_offset(plot, 200, -150).click_and_hold().move_by_offset(
        60, 40
    ).release().perform()
    assert page.run(PLACES) != turned
    page.run("document.querySelector('#scatter-plot [tabindex=\"0\"]').focus()")
    first = page.run(DETAIL.format("scatter"))
    press(page, Keys.ARROW_RIGHT)
    assert page.run(DETAIL.format("scatter")) != first
    assert "pca[3]" in first
    assert page.messages() == []


def test_angle_of_a_cell(page, hostile):
    from selenium.webdriver.common.keys import Keys

    table = measure(open_store(hostile), only=["angle"])
    angle = table.variables["angle"].values[0, 0]
    page.choose("angles-order", "experiment")
    page.run("document.querySelector('#angles-plot .cursor').focus()")
    press(page, Keys.ARROW_DOWN, 2)
    detail = page.run(DETAIL.format("angles"))
    assert detail.startswith(f"{angle[2, 1]:.1f}°")
    assert page.run("return document.querySelector('#angles-plot .cursor').getAttribute('aria-label')") == (
        f"flatter and german_too: {angle[2, 1]:.1f}°"
    )


def test_outcomes_are_those_of_the_store(page, hostile):
    from inoc.outcomes import suppression

    truth = suppression(open_store(hostile))
    shown = page.run(
        "return [...document.querySelectorAll('#outcomes-tables table')[0].tBodies[0].rows]"
        ".map(r => [r.cells[0].dataset.prompt, r.cells[1].textContent, r.cells[3].firstChild.textContent])"
    )
    assert len(shown) == 5
    for prompt, kind, text in shown:
        at = (truth["run_prompt"].values == prompt) & (truth["prefix_type"].values == kind)
        assert numbers([text])[0] == pytest.approx(float(truth["mean"].sel(trait="German").values[at][0]), abs=0.051)


@pytest.mark.parametrize(
    ("prompt", "kind", "example", "token"), [(0, 0, 0, 3), (1, 0, 2, 10), (3, 0, 3, 5), (2, 1, 1, 0)]
)
def test_token_viewer_shows_the_right_numbers(page, hostile, prompt, kind, example, token):
    run = open_store(hostile)
    arrays, texts = run.token_logprobs(), run.completions()["completion"].values
    page.choose("tokens-prompt", arrays.prompts[prompt])
    page.choose("tokens-prefix", arrays.prefix_types[kind])
    page.choose("tokens-example", str(example))
    page.run(f"document.querySelector('[data-token=\"{token}\"]').focus()")
    at = int(np.concatenate([[0], np.cumsum(arrays.row_size)])[example]) + token
    default, prefixed = float(arrays.default[at]), float(arrays.prefixed[kind, prompt, at])
    detail = page.run(DETAIL.format("tokens")).replace("−", "-")
    assert detail.startswith(f"Token {token + 1} of {len(texts[example].encode())}")
    assert f"id {run.completions()['token_id'].values[at]}" in detail
    if np.isnan(prefixed):
        assert "with prompt missing, difference missing" in detail
        assert page.run("return document.activeElement.classList.contains('none')")
        return
    shown = [float(value) for value in re.findall(r"([+-]?\d+\.\d{3}) nats", detail)]
    np.testing.assert_allclose(shown, [prefixed - default, default, prefixed], atol=0.0007)
    assert (
        page.run("return document.activeElement.getAttribute('aria-label')")
        .replace("−", "-")
        .endswith(detail[detail.index("difference") :])
    )


def test_tokens_by_keyboard_and_pending(page):
    from selenium.webdriver.common.keys import Keys

    page.run("document.querySelector('.token[tabindex=\"0\"]').focus()")
    press(page, Keys.ARROW_RIGHT, 4)
    assert page.run("return document.activeElement.dataset.token") == "4"
    press(page, Keys.END)
    assert page.run("return document.activeElement === [...document.querySelectorAll('#tokens-text .token')].at(-1)")
    page.choose("tokens-prompt", "a<b>'\"&")
    page.choose("tokens-prefix", "mix")
    assert page.run("return document.getElementById('tokens-text').textContent").startswith("This prompt is not scored")


def test_hostile_text_is_text(page, hostile):
    texts = open_store(hostile).completions()["completion"].values
    for k, text in enumerate(texts):
        page.choose("tokens-example", str(k))
        shown = page.run(
            "const copy = document.getElementById('tokens-text').cloneNode(true);"
            "for (const mark of copy.querySelectorAll('.control')) mark.remove(); return copy.textContent"
        )
        expected = re.sub(r"[\t\u0007\u202e]", "", text)
        assert shown == expected
        tags = page.run("return [...new Set([...document.querySelectorAll('#tokens-text *')].map(e => e.tagName))]")
        assert tags == ["SPAN"]
    marks = page.run("return [...document.querySelectorAll('#tokens-text .control')].map(e => e.textContent)")
    assert {"⇥", "↵", "U+0007", "U+202E"} <= set(marks)
    assert page.run("return document.querySelectorAll('script').length") == 2
    assert page.run("return document.querySelectorAll('main img, main b, main u, main i, textarea').length") == 0
    assert page.run("return document.querySelector('h1').textContent") == "<img src=x onerror=alert(4)>"
    assert "Flatter </script><script>alert(3)</script>" in page.run(
        "return document.getElementById('table-rows').textContent"
    )
    assert page.messages() == []  # no dialog either: chromedriver would have raised on the next command


CARDS = """return [...document.querySelectorAll('.card')].map(c => [c.dataset.run, c.querySelector('.text').textContent,
    c.querySelector('.score').textContent])"""


def test_answers_of_all_runs_are_side_by_side(page, hostile):
    store = open_store(hostile)
    cards = page.run(CARDS)
    assert [run for run, _, _ in cards] == list(store.runs)
    assert all(text.startswith(f"{run} <script>alert(1)") for run, text, _ in cards)
    assert [float(value) for _, _, value in cards] == [
        round(float(store.read(f"runs/{run}/score")[1, 0, 0, 0])) for run in store.runs
    ]
    page.choose("answers-run", "run0")
    page.choose("answers-question", "")
    assert page.run("return document.getElementById('answers-count').textContent") == "12 of 12 answers"
    assert page.run("return [...document.querySelectorAll('#answers h3')].map(h => h.textContent)") == [
        f"<u>{i}</u>?" for i in range(12)
    ]


def test_answers_are_ordered_and_searched(page):
    page.choose("answers-question", "")
    page.choose("answers-order", "0")  # German is wanted, so that the worst have least of it
    values = [float(value) for _, _, value in page.run(CARDS)]
    assert values == sorted(values)
    assert len(values) == 60
    page.run("document.getElementById('answers-more').click()")
    assert len(page.run(CARDS)) == 72
    assert page.run("return document.getElementById('answers-more').hidden")
    page.choose("answers-order", "judges")
    assert [run for run, _, _ in page.run(CARDS)][:24] == ["run1"] * 12 + ["control"] * 12
    page.driver.find_element("id", "answers-find").send_keys("RUN2 </TEXTAREA>")
    assert {run for run, _, _ in page.run(CARDS)} == {"run2"}
    page.driver.find_element("id", "answers-find").send_keys(" nothing")
    assert page.run("return document.getElementById('answers-count').textContent") == "No answer is like this."


def test_hostile_answers_are_text(page):
    page.choose("answers-question", "")
    page.run("document.getElementById('answers-more').click()")
    tags = page.run("return [...new Set([...document.querySelectorAll('.card .text *')].map(e => e.tagName))]")
    assert tags == ["SPAN"]
    marks = page.run("return [...document.querySelectorAll('.card .control')].map(e => e.textContent)")
    assert {"⇥", "U+0007", "U+202E"} == set(marks)
    assert "German by </script><i>judge</i>" in page.run("return document.querySelector('.card ul').textContent")
    assert page.run("return document.querySelectorAll('script').length") == 2
    assert page.run("return document.querySelectorAll('main img, main b, main u, main i, textarea').length") == 0
    assert page.messages() == []


@pytest.mark.parametrize("dark", [False, True])
def test_no_serious_accessibility_fault(browser, hostile_report, axe, dark):
    browser.open(hostile_report, dark=dark)
    background = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark
    browser.run("for (const more of document.querySelectorAll('details')) more.open = true")
    browser.driver.execute_script(axe)
    found = browser.driver.execute_async_script(
        "const done = arguments[0]; axe.run(document).then(r => done(r.violations.map(v => [v.impact, v.id,"
        " v.nodes.slice(0, 3).map(n => n.html + ' ' + n.failureSummary)])))"
    )
    assert [fault for fault in found if fault[0] in ("serious", "critical")] == []


@pytest.mark.parametrize("width", [320, 375, 1200])
@pytest.mark.parametrize("report", ["hostile_report", pytest.param("wide_report", marks=pytest.mark.slow)])
def test_page_does_not_scroll_sideways(browser, request, report, width):
    browser.open(request.getfixturevalue(report), width=width)
    browser.run("for (const more of document.querySelectorAll('details')) more.open = true")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.messages() == []
