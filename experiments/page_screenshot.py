"""Screenshot of the page of `svilm serve` for the README, with headless Chromium.

    svilm embed clips --model runs/demo --out features.parquet
    python -m experiments.page_screenshot features.parquet --query "..." --phrase "..."

It needs the extras `serve` and `dev`, and Chromium.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from PIL import Image
from playwright.sync_api import Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OUT = Path(__file__).parent / "results" / "serve.png"
SECONDS = 0.6  # of every clip at which its picture is taken
COLORS = 200  # of the PNG file, which is a third as large as one with all colors
WAIT = 600_000  # milliseconds for anything on a busy machine


def main() -> None:
    """Starts a server, takes the screenshot, and stops the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="index file written by `svilm embed`")
    parser.add_argument("--query", required=True, help="text query")
    parser.add_argument("--phrase", required=True, help="phrase to locate in the best clip")
    parser.add_argument("--out", type=Path, default=OUT, help=f"PNG file (default: {OUT})")
    args = parser.parse_args()
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        sys.exit(f"no browser found: install one of {', '.join(BROWSERS)}")
    command = [sys.executable, "-m", "svilm_jax.main", "serve", "--index", args.index, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                sys.exit("the server does not start")
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 700})
            page.set_default_timeout(WAIT)
            take(page, line.split()[0], args)
            browser.close()
        finally:
            server.terminate()


def take(page: Page, address: str, args: argparse.Namespace) -> None:
    """Searches, locates the phrase in the best clip, and writes the picture."""
    page.goto(f"{address}/?{urlencode({'q': args.query})}")
    link = page.locator(".card a").first.get_attribute("href") or ""
    row = parse_qs(urlsplit(link).query)["row"][0]
    page.goto(f"{address}/?{urlencode({'q': args.query, 'row': row, 'phrase': args.phrase})}")
    page.wait_for_function("[...document.querySelectorAll('video')].every((v) => v.readyState >= 3)")
    page.evaluate(
        """(seconds) => Promise.all([...document.querySelectorAll("video")].map((v) => new Promise((done) => {
            v.pause(); v.controls = false; v.onseeked = done; v.currentTime = seconds;
        })))""",
        SECONDS,
    )
    page.screenshot(path=args.out, full_page=True)
    with Image.open(args.out) as picture:
        small = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    small.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
