"""The address of a window of the workbench: it holds the state, is edited, copied, and reached in the wrong way."""

import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from window import Window, serving


@pytest.fixture(scope="module")
def server(start, tmp_path_factory, store):
    with serving(start, tmp_path_factory.mktemp("log") / "log.txt", "fecap?ps=0.31&view=pund") as running:
        yield running
        assert running.faults() == []


def test_an_address_edited_by_hand_is_followed_and_a_reload_keeps_what_was_done(driver, server):
    window = Window(driver, server).open("fecap")
    window.write("ps", "0.25")
    address = driver.current_url
    assert address.endswith("&ps=0.25")
    driver.get(address.replace("ps=0.25", "ps=0.19"))
    window.wait()
    assert (window.view()["link"], window.view()["undo"]) == ("ps=0.19", True)
    driver.execute_script("history.replaceState(null, '', location.href.replace('&ps=0.19', '')); location.reload()")
    time.sleep(0.5)
    window.wait()
    assert window.view()["link"] == "ps=0.19"
    window.click("undo")
    assert window.view()["link"] == "ps=0.25"
    assert window.errors() == []


def test_an_emptied_field_stays_empty_in_a_link(driver, server):
    window = Window(driver, server).open("runs")
    window.choose("window", "")
    link = window.view()["link"]
    assert link == "window="
    window.open("runs", link)
    shown = {choice["name"]: choice["value"] for choice in window.view()["choices"]}
    assert shown["window"] == ""
    assert window.errors() == []


def test_a_dragged_slider_leaves_the_address_alone_until_it_is_let_go(driver, server):
    window = Window(driver, server).open("fecap")
    driver.execute_script(
        "window.replaced = 0; const old = history.replaceState.bind(history); "
        "history.replaceState = (...a) => { window.replaced += 1; old(...a); }"
    )
    for _ in range(10):
        window.move("ps", 3, settled=False)
        window.wait()
    assert driver.execute_script("return window.replaced") == 0
    window.move("ps", 3)
    window.wait()
    assert driver.execute_script("return window.replaced") == 1
    driver.execute_script("history.replaceState = () => { throw new Error('too often'); }")
    window.move("ps", 3)
    window.wait()
    assert window.view()["link"] not in driver.current_url
    window.write("ps", "0.3")
    assert window.text("problem") == ""
    assert window.errors() == []


def test_the_link_of_another_day_is_a_command_that_opens_the_state(driver, server):
    window = Window(driver, server)
    driver.get(server.said)
    window.wait()
    assert window.view()["link"] == "view=pund&ps=0.31"
    window.click("link")
    time.sleep(0.2)
    words = shlex.split(driver.execute_script("return document.querySelector('#linked code').textContent"))
    assert words == ["bruno", "workbench", "fecap?view=pund&ps=0.31"]
    assert window.errors() == []


def test_the_browser_is_started_without_the_word(start, tmp_path):
    """Whoever sees the list of processes sees an address that leads to the page once."""
    seen = tmp_path / "seen"
    browser = tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}.part && mv {seen}.part {seen}\n')
    browser.chmod(0o755)
    command = [sys.executable, "-P", "-m", "bruno_spice", "workbench", "cards"]
    environment = {**os.environ, "BROWSER": str(browser)}
    with subprocess.Popen(command, cwd=start, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            token = re.search(r"http://127\.0\.0\.1:\d+/([\w-]+)/cards", said)[1]
            limit = time.monotonic() + 60
            while not seen.exists() and time.monotonic() < limit:
                time.sleep(0.05)
            once = seen.read_text()
            assert token not in once
            with urllib.request.urlopen(once) as answer:
                assert f"/{token}/cards" in answer.url
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(once)
        finally:
            process.terminate()


FORWARD = """
import asyncio, sys

async def pump(source, sink):
    while data := await source.read(65536):
        sink.write(data)
    sink.close()

async def near(source, sink):
    first = await source.readline()
    if b"/ws" in first:
        sink.write(b"HTTP/1.1 403 Forbidden\\r\\nContent-Length: 0\\r\\n\\r\\n")
        return sink.close()
    there, back = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    back.write(first)
    await asyncio.gather(pump(source, back), pump(there, sink))

async def main():
    server = await asyncio.start_server(near, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
"""A proxy that lets no socket through."""


def test_a_connection_that_never_comes_is_told(driver, server):
    command = [sys.executable, "-c", FORWARD, str(server.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as forward:
        try:
            port = forward.stdout.readline().strip()
            driver.get(server.address("fecap").replace(f":{server.port}/", f":{port}/"))
            limit = time.monotonic() + 30
            script = "const p = document.getElementById('problem'); return p.hidden ? '' : p.textContent"
            while not (said := driver.execute_script(script)) and time.monotonic() < limit:
                time.sleep(0.2)
            assert "There is no connection" in said
        finally:
            forward.terminate()
    driver.get("about:blank")
    driver.get_log("browser")
