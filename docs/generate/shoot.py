"""A picture of a study's page for the documentation: `python docs/generate/shoot.py STUDY_FOLDER OUT.png [SELECTOR]`.

Headless Chromium draws report.html of the folder at 1,100 pixels of width, light; of the whole first screen, or of the
element that the CSS selector names, such as `#effects`. Pictures in docs/ stay below 200 kB (a test looks).
"""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
from pathlib import Path

WIDTH, HEIGHT = 1100, 1060


def shoot(page: Path, out: Path, selector: str | None = None) -> None:
    """Write the picture. SystemExit without Chromium, or where no element is so named."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chromium and driver):
        raise SystemExit("needs the programs chromium and chromedriver")
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking",
                         "--disable-component-update", f"--user-data-dir={profile}"):  # fmt: skip
            options.add_argument(argument)
        browser = webdriver.Chrome(options=options, service=Service(driver))
        try:
            size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(page.resolve().as_uri())
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
            if selector is not None:
                box = browser.execute_script(
                    "const e = document.querySelector(arguments[0]); if (!e) return null;"
                    "const r = e.getBoundingClientRect(); return [r.x, r.y + scrollY, r.width, r.height]", selector
                )  # fmt: skip
                if box is None:
                    raise SystemExit(f"{page} has no element {selector!r}")
                x, y, width, height = box
                clip = {"x": max(0, x - 12), "y": y - 8, "width": width + 24, "height": height + 16, "scale": 1}
            shot = {"clip": clip, "captureBeyondViewport": True}
            out.write_bytes(base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", shot)["data"]))
        finally:
            browser.quit()


if __name__ == "__main__":
    shoot(Path(sys.argv[1]) / "report.html", Path(sys.argv[2]), *sys.argv[3:4])
