"""The documentation site: it builds without a warning, its links hold, it needs no network, and it reads well."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from browser import assert_readable, broken_images, console_errors, open_page
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from bruno_spice.training.networks.config import NetworkConfig, NeuronConfig, RunConfig, SynapseConfig, TrainingConfig

LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """Links, anchors, what is loaded, and the text."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.loaded = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if LOADING.get(tag) in values and values.get("rel") != "canonical":
            self.loaded.append(values[LOADING[tag]])


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


def test_the_build_says_nothing_to_worry_about(build):
    done, _ = build
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr + done.stdout
    assert "ERROR" not in done.stderr + done.stdout


def test_every_link_leads_somewhere(pages, site):
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = target in pages and (not parts.fragment or unquote(parts.fragment) in pages[target].anchors)
            if not (known or (target not in pages and target.is_file())):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert len(pages) > 15
    assert broken == []


def test_nothing_comes_from_a_network(pages, site):
    for path, page in pages.items():
        assert [url for url in page.loaded if "//" in url] == [], path
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", sheet.read_text()), sheet


def test_equations_are_markup_that_browsers_draw(site):
    text = (site / "explanation" / "felif.html").read_text()
    equations = re.findall(r"<math.*?</math>", text, re.DOTALL)
    assert len(equations) > 10
    assert not [e for e in equations if "\\" in e]
    assert "\\(" not in text
    assert 'class="arithmatex"' not in text


def test_the_command_reference_tells_every_command_and_option(site):
    text = (site / "reference" / "commands.html").read_text()
    assert {"bruno-train", "bruno-simulate-neuron", "bruno-card-diff"} <= Page(text).anchors
    for option in ("--gradient", "--t-stop", "--monte-carlo", "--chips"):
        assert f"<code>{option}</code>" in text


def test_the_configuration_reference_tells_every_key_and_what_it_means(site):
    text = (site / "reference" / "configuration.html").read_text()
    for model in (RunConfig, NetworkConfig, NeuronConfig, SynapseConfig, TrainingConfig):
        for name, field in model.model_fields.items():
            if not hasattr(field.annotation, "model_fields"):
                assert re.search(rf"<dt><code>{name}</code>.*?</dt>\s*<dd>\s*\S", text), name


@pytest.mark.parametrize("name", ["index", "explanation/felif", "reference/commands", "tutorial"])
def test_a_page_reads_well_in_a_browser(browser, site, tmp_path, name):
    for width in (1280, 400):
        open_page(browser, site / f"{name}.html", width)
        assert_readable(browser, width)
        assert broken_images(browser) == []
    assert console_errors(browser) == []


def test_equations_are_drawn_as_fractions_not_as_source(browser, site):
    open_page(browser, site / "explanation" / "felif.html", 1280)
    fraction = browser.find_element(By.CSS_SELECTOR, ".math-block mfrac")
    numerator, denominator = (part.rect for part in fraction.find_elements(By.XPATH, "./*"))
    assert numerator["y"] + numerator["height"] <= denominator["y"] + 2
    assert fraction.rect["height"] > 20


def test_the_search_finds_a_command_on_a_page_opened_as_a_file(browser, site):
    open_page(browser, site / "index.html", 1280)
    browser.find_element(By.CSS_SELECTOR, ".md-search__input").send_keys("profile likelihood confidence")
    hits = WebDriverWait(browser, 20).until(
        lambda d: d.find_elements(By.CSS_SELECTOR, ".md-search-result__link[href*='reference/commands']")
    )
    assert hits
    assert console_errors(browser) == []
