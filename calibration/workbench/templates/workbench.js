"use strict";
// The window's side: controls become requests, views become controls. One request is under way at a time; of a slider
// that moves meanwhile the last position is sent.
(() => {
  const $ = (id) => document.getElementById(id);
  const page = document.body.dataset.page;
  const address = new URL(location.href);
  const root = document.documentElement;
  let bridge = null, seen = 0, waiting = false, lost = false, drawn = false, last = null, shape = "", held = null;
  const queue = [];
  const LONG_MS = 10000;
  const UNCONNECTED = "There is no connection to the workbench behind this page. Open the very address that bruno workbench printed; what forwards it must let WebSockets through, and ssh -L best keeps the port (--port fixes it).";
  window.workbench = { views: 0, answered: 0, latencies: [], last: () => last, idle: () => drawn && !waiting && !queue.length };

  const ask = (request) => {
    const moving = request.do === "set" && !request.settled;
    if (moving && queue.length && queue.at(-1).do === "set" && queue.at(-1).name === request.name) queue.pop();
    queue.push(request);
    pump();
  };
  const pump = () => {
    if (waiting || !queue.length || !bridge || lost) return;
    waiting = performance.now();
    bridge.ask = JSON.stringify({ ...queue.shift(), seen: ++seen });
  };

  const remember = (name, value) => { try { localStorage.setItem(name, value); } catch { /* a browser without it */ } };
  const recall = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const dark = () => root.hasAttribute("data-dark");
  const paint = (on) => { root.toggleAttribute("data-dark", on); $("theme").textContent = on ? "Light" : "Dark"; };
  const stored = recall("bruno-dark");
  paint(stored === null ? matchMedia("(prefers-color-scheme: dark)").matches : stored === "1");

  const windowName = () => address.searchParams.get("w");
  // The address follows what is shown. A browser takes few changes a minute: not while a hand moves a slider.
  const plain = (link) => new URLSearchParams(link).toString();
  let addressed = null;
  const show = (link) => {
    if (held || link === addressed) return;
    try {
      history.replaceState(null, "", `${address.pathname}?w=${windowName()}${link ? `&${link}` : ""}`);
      addressed = link;
      sessionStorage.setItem("bruno-link", plain(link));
    } catch { /* with the next one */ }
  };
  const problem = (text) => { $("problem").hidden = !text; $("problem").textContent = text || ""; };
  const element = (tag, attributes = {}, ...inner) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null) made.setAttribute(name, value);
    }
    made.append(...inner);
    return made;
  };

  const knobRow = (knob) => {
    const move = (event, settled) => ask({ do: "set", name: knob.name, position: event.target.value / 1000, settled });
    const range = element("input", {
      type: "range", min: 0, max: 1000, step: 1, "aria-label": `${knob.name}, ${knob.meaning}`,
      oninput: (e) => { held = knob.name; move(e, false); },
      onchange: (e) => { held = null; move(e, true); },
      onkeydown: (e) => {
        const step = { ArrowLeft: -10, ArrowDown: -10, ArrowRight: 10, ArrowUp: 10 }[e.key];
        if (!step || !e.shiftKey) return;
        e.preventDefault();
        e.target.value = Number(e.target.value) + step;
        move(e, true);
      },
    });
    const field = element("input", {
      type: "text", "aria-label": `value of ${knob.name}`,
      onchange: (e) => ask({ do: "set", name: knob.name, text: e.target.value }),
    });
    const tick = element("input", {
      type: "checkbox", title: `fit ${knob.name}`, "aria-label": `fit ${knob.name}`,
      onchange: () => ask({ do: "free", name: knob.name }),
    });
    if (!knob.free) tick.style.visibility = "hidden";
    const name = element("span", {
      class: "name", title: `${knob.meaning}; from ${knob.low} to ${knob.high} ${knob.unit}${knob.log ? ", logarithmic" : ""}`,
      ondblclick: () => ask({ do: "reset", name: knob.name }),
    }, knob.name);
    const row = element("div", { class: "knob", "data-name": knob.name }, tick, name, field, element("span", { class: "unit" }, knob.unit), range);
    return { row, range, field, tick };
  };
  const rows = new Map();
  const knobs = (list) => {
    const now = JSON.stringify(list.map((k) => [k.name, k.unit, k.free, k.low, k.high, k.group]));
    if (now !== shape) {
      shape = now;
      rows.clear();
      $("knobs").replaceChildren();
      let group = null;
      for (const knob of list) {
        if (knob.group !== group) $("knobs").append(element("h3", {}, (group = knob.group)));
        const made = knobRow(knob);
        rows.set(knob.name, made);
        $("knobs").append(made.row);
      }
    }
    for (const knob of list) {
      const { row, range, field, tick } = rows.get(knob.name);
      row.classList.toggle("moved", knob.moved);
      tick.checked = knob.ticked;
      if (held !== knob.name) range.value = Math.round(1000 * knob.position);
      range.setAttribute("aria-valuetext", `${knob.value} ${knob.unit}`);
      if (document.activeElement !== field || !queue.length) field.value = knob.value;
    }
  };
  let choiceShape = "";
  const choices = (list) => {
    const now = JSON.stringify(list.map((c) => [c.name, c.options]));
    if (now !== choiceShape) {
      choiceShape = now;
      $("choices").replaceChildren(...list.map((choice) => {
        const change = (e) => ask({ do: "choose", name: choice.name, value: e.target.value });
        const control = choice.options.length
          ? element("select", { name: choice.name, onchange: change }, ...choice.options.map(([value, text]) => element("option", { value }, text)))
          : element("input", { name: choice.name, placeholder: choice.hint, onchange: change });
        return element("label", {}, choice.label, control);
      }));
    }
    for (const choice of list) {
      const control = $("choices").querySelector(`[name="${choice.name}"]`);
      if (document.activeElement !== control || control.tagName === "SELECT") control.value = choice.value;
    }
  };
  const table = (numbers) => {
    const heads = ["", "model", "SPICE", "measured"].filter((_, n) => n === 0 || numbers.some((row) => row[n]));
    const keep = [0, 1, 2, 3].filter((n) => n === 0 || numbers.some((row) => row[n]));
    const lines = numbers.map((row) => element("tr", {}, ...keep.map((n) => element(n ? "td" : "th", {}, row[n]))));
    $("numbers").replaceChildren(...(numbers.length ? [element("tr", {}, ...heads.map((h) => element("th", {}, h))), ...lines] : []));
  };
  const tables = (list) => $("extra").replaceChildren(...list.map((t) => element("div", { class: "wide" },
    element("h3", {}, t.title), element("table", {},
      element("tr", {}, ...t.head.map((h) => element("th", {}, h))),
      ...t.rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))))));
  const saved = (what) => {
    $("saved").hidden = !what;
    if (!what) return;
    const replaced = what.replaced.length ? `, in the place of another ${what.replaced.join(", ")}` : "";
    const parts = [`Saved ${what.paths.join(", ")}${replaced}. The same from the command line:`, element("code", {}, what.command)];
    if (what.then) parts.push("And from there:", element("code", {}, what.then));
    $("saved").replaceChildren(...parts);
  };
  const progress = (what) => {
    const busy = Object.values(what);
    $("state").textContent = busy.join("; ");
    $("state").classList.toggle("busy", busy.length > 0);
    $("stop").disabled = busy.length === 0;
  };
  const view = (v) => {
    if (v.window) {
      address.searchParams.set("w", v.window);
      $("intro").textContent = v.intro;
      $("takes").textContent = v.takes_files;
      $("files").hidden = !v.takes_files;
      return;
    }
    if (v.progress) progress(v.progress);
    if (!("knobs" in v)) return;
    last = v;
    workbench.views += 1;
    if (v.seen === seen && waiting) {
      workbench.latencies.push(performance.now() - waiting);
      if (workbench.latencies.length > 500) workbench.latencies.shift();
      waiting = false;
      workbench.answered = seen;
    }
    knobs(v.knobs);
    choices(v.choices);
    table(v.numbers);
    tables(v.tables || []);
    problem(v.problem);
    saved(v.saved);
    $("said").replaceChildren(...v.said.map((text) => element("li", {}, text)));
    $("undo").disabled = !v.undo;
    $("redo").disabled = !v.redo;
    $("best").disabled = !v.best || v.at_best;
    $("best").textContent = v.best ? `Best ${v.best}` : "Best";
    $("regions").hidden = !v.regions;
    $("regions").firstElementChild.textContent = `Region of the fit (${v.regions})`;
    if (document.activeElement !== $("region")) $("region").value = v.region;
    for (const id of ["fit", "save", "reset", "best", "undo", "redo"]) $(id).hidden = (v.without || []).includes(id);
    clearTimeout(painting);
    painted(50);
    pump();
    show(v.link);
  };

  const download = (name, blob) => {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const figures = () => [...Bokeh.index.roots].flatMap((v) => v.child_views || []).filter((v) => v.model.type === "Figure");
  const picture = async (figure, kind) => {
    const canvas = figure.export(kind === "svg" ? "svg" : "png");
    download(`${page}-${figure.model.name}.${kind}`, await canvas.to_blob());
  };
  const csv = (figure) => {
    const lines = ["line,x,y"], thinned = [];
    for (const renderer of figure.model.renderers) {
      const { x, y } = renderer.data_source.data;
      const role = renderer.data_source.name.split("-").pop();
      if (lines.some((l) => l.startsWith(`${role},`))) continue;
      const [step] = renderer.data_source.tags;
      if (step > 1 && x.length) thinned.push(`# ${role}: one of ${step} computed points each; the others were not sent to the browser\n`);
      for (let n = 0; n < x.length; n += 1) lines.push(`${role},${x[n]},${y[n]}`);
    }
    const head = `# ${figure.model.title.text}; x: ${figure.model.below[0].axis_label}; y: ${figure.model.left[0].axis_label}\n`;
    download(`${page}-${figure.model.name}.csv`, new Blob([head, ...thinned, lines.join("\n"), "\n"], { type: "text/csv" }));
  };
  let exported = "";
  const exportsRow = () => {
    const now = figures().map((f) => f.model.id).join();
    if (now === exported) return;
    exported = now;
    const made = figures().flatMap((f) => [
      element("span", {}, f.model.title.text.replace(/ \(rms .*/, "")),
      ...["png", "svg"].map((kind) => element("button", { "data-export": `${f.model.name}.${kind}`, onclick: () => picture(f, kind) }, kind.toUpperCase())),
      element("button", { "data-export": `${f.model.name}.csv`, onclick: () => csv(f) }, "CSV"),
    ]);
    $("exports").replaceChildren(...made);
  };

  // A view comes before the browser has painted its figures.
  let painting = 0;
  const painted = (left) => {
    const wanted = Bokeh.documents[0].get_model_by_name("figures").children.filter((m) => m.type === "Figure").length;
    const there = figures();
    if (left && !(there.length === wanted && there.every((f) => f.has_finished()))) {
      painting = setTimeout(painted, 20, left - 1);
      return;
    }
    exportsRow();
    if (!drawn) { drawn = true; ask({ do: "drawn" }); }
  };

  const send = async (file) => {
    const most = Number(document.body.dataset.mostBytes);
    if (file.size > most) return problem(`${file.name} has ${file.size.toLocaleString("en")} bytes; at most ${most.toLocaleString("en")} are taken`);
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let n = 0; n < bytes.length; n += 32768) text += String.fromCharCode(...bytes.subarray(n, n + 32768));
    ask({ do: "upload", name: file.name, content: btoa(text) });
  };
  {
    const taken = () => !$("files").hidden;
    $("upload").addEventListener("change", (e) => { if (e.target.files[0]) send(e.target.files[0]); e.target.value = ""; });
    document.addEventListener("dragover", (e) => { e.preventDefault(); document.body.classList.toggle("over", taken()); });
    document.addEventListener("dragleave", () => document.body.classList.remove("over"));
    document.addEventListener("drop", (e) => {
      e.preventDefault();
      document.body.classList.remove("over");
      if (taken() && e.dataTransfer.files[0]) send(e.dataTransfer.files[0]);
    });
  }

  const actions = {
    undo: () => ask({ do: "undo" }), redo: () => ask({ do: "redo" }), reset: () => ask({ do: "reset" }),
    best: () => ask({ do: "best" }), fit: () => ask({ do: "fit" }), stop: () => ask({ do: "stop" }), save: () => ask({ do: "save" }),
    theme: () => { paint(!dark()); remember("bruno-dark", dark() ? "1" : "0"); ask({ do: "dark", dark: dark() }); },
    help: () => $("keys").showModal(),
    link: async () => {
      const query = last && last.link ? `?${last.link}` : "";
      const text = `${location.origin}${address.pathname}${query}`;
      const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
      $("linked").replaceChildren(
        copied ? "The link is copied. It opens this state as long as this workbench runs; on another day, in this folder:" : `This link opens this state as long as this workbench runs: ${text}; on another day, in this folder:`,
        element("code", {}, `bruno workbench '${page}${query}'`));
      $("linked").hidden = false;
    },
  };
  for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);
  $("region").addEventListener("change", (e) => ask({ do: "region", text: e.target.value }));
  const keys = { u: "undo", r: "redo", 0: "reset", b: "best", f: "fit", s: "save", l: "link", d: "theme", "?": "help", Escape: "stop" };
  document.addEventListener("keydown", (e) => {
    const typing = e.target.matches("input[type=text], input:not([type]), select");
    if ((typing && e.key !== "Escape") || e.altKey || $("keys").open) return;
    let key = keys[e.key];
    if (e.ctrlKey || e.metaKey) key = { z: e.shiftKey ? "redo" : "undo", Z: "redo", y: "redo", s: "save" }[e.key];
    if (!key || $(key).disabled || $(key).hidden) return;
    e.preventDefault();
    actions[key]();
  });
  for (const link of document.querySelectorAll("nav a")) {
    link.addEventListener("click", (e) => { e.preventDefault(); location.href = `${link.dataset.to}?w=${windowName()}`; });
  }

  const started = performance.now();
  const connect = () => {
    const found = Bokeh.documents.find((d) => d.get_model_by_name("window"));
    if (!found) {
      setTimeout(connect, 10);
      if (performance.now() - started > LONG_MS && $("problem").hidden) problem(UNCONNECTED);
      return;
    }
    problem("");
    bridge = found.get_model_by_name("window");
    bridge.properties.tell.change.connect(() => view(JSON.parse(bridge.tell)));
    const said = "The workbench does not answer any more: it was ended, or the machine slept. What you see stays; start it again with bruno workbench, or reload.";
    found.on_event("connection_lost", () => { lost = true; problem(said); });
    found.on_event("client_reconnected", () => location.reload());
    const query = new URLSearchParams(address.search);
    const name = query.get("w") || Math.random().toString(16).slice(2, 14);
    query.delete("w");
    address.searchParams.set("w", name);
    let edited = true;
    try { edited = query.toString() !== sessionStorage.getItem("bruno-link"); } catch { /* a browser without it */ }
    ask({ do: "hello", window: name, dark: dark(), query: query.toString(), edited });
  };
  connect();
})();
