"""A real headless Chromium for the tests of the report."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """Skip, or fail where the environment promises a browser."""
    if os.environ.get("INOC_BROWSER"):
        pytest.fail(f"INOC_BROWSER promises a browser with axe-core: {what}")
    pytest.skip(what)


class Browser:
    """Chromium with a profile of its own; `open` a page in a width and color scheme."""

    def __init__(self, profile: Path) -> None:
        names = ("chromium", "chromium-browser", "google-chrome")
        chromium = next(filter(None, map(shutil.which, names)), None)
        driver = shutil.which("chromedriver")
        if find_spec("selenium") is None:
            lacking("selenium is not installed (pip install selenium)")
        if not chromium or not driver:
            lacking("no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)")
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage",
            f"--user-data-dir={profile}",
        ):  # fmt: skip
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        # a page gets focus events though another window of this machine, or none, has the focus
        self.driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})

    def open(self, page: Path, width: int = 1200, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        self.driver.get(page.as_uri())
        self.wait("return !document.querySelector('.plot') || !!document.querySelector('.plot svg, .plot p')")

    def wait(self, condition: str) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 20).until(lambda driver: driver.execute_script(condition))

    def run(self, script: str, *arguments: object) -> object:
        return self.driver.execute_script(script, *arguments)

    def choose(self, element: str, value: str) -> None:
        from selenium.webdriver.common.by import By

        options = self.driver.find_elements(By.CSS_SELECTOR, f"#{element} option")
        next(option for option in options if option.get_attribute("value") == value).click()

    def messages(self) -> list[str]:
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]
