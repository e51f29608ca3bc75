// Figures to explore, by Vega-Lite: names from users are values of data, never fields, expressions or markup.
let vega = null;

// The library lies deflated in the page; its hash is in the page's policy, so that it may run and nothing else.
function library() {
  vega ??= inflate(one("script[data-library]").textContent).then((text) => {
    document.head.append(make("script", {}, text));
    return window.vegaEmbed;
  });
  return vega;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
function dark() {
  const theme = document.documentElement.dataset.theme;
  return theme === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : theme === "dark";
}

// Sizes follow the page's own, so that figures can be read from the back of a room too.
const em = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

function config() {
  const size = Math.max(12, 0.74 * em());
  const [ink, soft, grid] = ["ink", "soft", "grid"].map(colour);
  const text = { labelColor: soft, titleColor: soft, labelFontSize: size, titleFontSize: size + 1, titleFontWeight: 400 };
  return {
    background: null, font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif",
    view: { stroke: null }, axis: { ...text, gridColor: grid, domainColor: soft, tickColor: soft, labelOverlap: true, labelSeparation: 6 }, aria: false,
    legend: { ...text, symbolStrokeWidth: 2 }, text: { color: ink, fontSize: size }, rule: { color: ink },
  };
}

// Eight colours that the colour-blind tell apart; further cells repeat them in other dashes.
const LIGHT = ["#0063a6", "#b04a00", "#00755a", "#8c3f74", "#8a5a00", "#16191d", "#2f8fd0", "#6b7a00"];
const DARK = ["#5ab8f0", "#f29a4a", "#3fcfa6", "#e29cc9", "#eab54a", "#edeff2", "#8f9bff", "#c9d25a"];
const DASHES = [[1, 0], [6, 3], [2, 2], [9, 3, 2, 3]];
const shade = (i) => (dark() ? DARK : LIGHT)[i % 8];
const dash = (i) => DASHES[Math.floor(i / 8) % DASHES.length];

// Draw the spec that spec() gives, now and whenever the colours change; ready(view) after each.
async function draw(plot, name, spec, ready = () => {}) {
  const embed = await library();
  const again = async () => {
    plot.result?.finalize();
    plot.result = await embed(plot, { config: config(), ...spec() }, {
      mode: "vega-lite", ast: true, renderer: spec.canvas?.() ? "canvas" : "svg", downloadFileName: "dopant-" + name,
      actions: { export: true, source: false, compiled: false, editor: false }, tooltip: { theme: dark() ? "dark" : "light" },
    });
    ready(plot.result.view);
  };
  plot.redraw = () => (plot.drawing = (plot.drawing ?? Promise.resolve()).then(again));
  document.addEventListener("theme", plot.redraw);
  await plot.redraw();
}

// A block for a figure, filled when it comes near the screen. fill(block, plot).
function mount(after, title, name, fill) {
  const plot = make("div", { class: "plot" });
  const block = make("div", { class: "view", "data-view": name, role: "group", "aria-label": title },
    make("h3", { id: "explore-" + name }, title), plot);
  after.after(block);
  const watch = new IntersectionObserver((seen) => {
    if (!seen.some((s) => s.isIntersecting)) return;
    watch.disconnect();
    fill(block, plot).then(() => { block.dataset.ready = "yes"; }, (error) => { block.remove(); console.error(error); });
  }, { rootMargin: "600px" });
  watch.observe(block);
}

let metric = 0;

// The folds of the static curves become one choice: what is pressed is shown, here and in the figure to explore.
function switchMetrics() {
  const panels = all("#curves > details");
  if (panels.length < 2) return;
  const show = (at) => {
    metric = at;
    panels.forEach((d, i) => { d.hidden = i !== at; if (i === at) d.open = true; });
    document.dispatchEvent(new Event("metric"));
  };
  const texts = panels.map((d, i) => [i, one("summary", d).textContent]);
  for (const d of panels) d.classList.add("switched");
  one("#curves > h2").after(segmented("Metric", texts, 0, show));
  show(0);
}

// Zoom by Shift and the wheel, so that the page still scrolls; none by touch, which scrolls as well.
function zoom(encodings = ["x", "y"]) {
  if (matchMedia("(pointer: coarse)").matches) return [];
  return [{ name: "zoom", select: { type: "interval", encodings, zoom: "wheel![event.shiftKey]" }, bind: "scales" }];
}
const MOVES = "Drag to move, Shift and wheel to zoom, double click for the whole. ";

function axisOf(label, share) {
  return { title: label, format: share ? ".3~%" : "~g", tickCount: 6, labelFlush: false };
}

async function curves(block, plot) {
  const data = await island("curves"), chosen = new Set(), note = one('script[data-island="curves"]').dataset.note;
  let whole = false, view = null;
  if (data.cells.length > 8) data.cells.forEach((c, i) => { if (c.role === "level" && chosen.size < 8) chosen.add(i); });
  const spec = () => {
    const { label, share, curves: lines, limits } = data.metrics[metric];
    const format = share ? ["share"] : ["number", 4];
    const values = lines.flatMap((line, c) => (line?.epoch ?? []).map((epoch, i) => {
      const [mean, low, high] = [line.mean[i], line.low[i], line.high[i]];
      const band = low === null ? "none" : `${written(low, format)} to ${written(high, format)}`;
      return { c, cell: data.cells[c].name, epoch, mean, low, high, band, n: line.n[0], shown: written(mean, format) };
    })).filter((v) => typeof v.mean === "number");
    const on = "length(chosen) == 0 || indexof(chosen, datum.c) >= 0", indices = data.cells.map((_, i) => i);
    const epochs = values.map((v) => v.epoch), ends = [Math.min(...epochs), Math.max(...epochs)];
    const x = { field: "epoch", type: "quantitative", scale: { domain: ends, nice: false }, axis: { title: "epoch", tickMinStep: 1, format: "d", grid: false } };
    const scale = { zero: false, nice: false, ...(whole ? {} : { domain: limits }) };
    const y = { field: "mean", type: "quantitative", scale, axis: axisOf(label, share) };
    const color = { field: "c", type: "nominal", legend: null, scale: { domain: indices, range: indices.map(shade) } };
    const strokeDash = { ...color, scale: { domain: indices, range: indices.map(dash) } };
    const faded = (high, low) => ({ condition: { test: on, value: high }, value: low });
    return {
      width: "container", height: Math.max(340, 19 * em()), data: { values },
      params: [{ name: "chosen", value: [...chosen] }],
      encoding: { x, color },
      layer: [
        { mark: { type: "area", clip: true }, params: zoom(),
          encoding: { y: { ...y, field: "low" }, y2: { field: "high" }, opacity: faded(0.13, 0) } },
        { mark: { type: "line", clip: true, strokeJoin: "round" },
          encoding: { y, strokeDash, opacity: faded(1, 0.13), strokeWidth: faded(2.4, 1.2) } },
        { mark: { type: "point", filled: true, clip: true, size: 45 },
          params: [{ name: "hover", select: { type: "point", on: "pointerover", nearest: true, clear: "pointerout" } }],
          encoding: { y, opacity: { condition: { param: "hover", empty: false, value: 1 }, value: ends[0] === ends[1] ? 1 : 0 },
            tooltip: [["cell", "cell"], ["epoch", "epoch"], ["shown", "mean"], ["band", "95 % interval"], ["n", "replicates"]]
              .map(([field, title]) => ({ field, title, type: "nominal" })) } },
      ],
    };
  };
  spec.canvas = () => data.cells.length * (data.metrics[metric].curves.find((c) => c)?.epoch.length ?? 1) > 4000;
  const legend = make("div", { class: "legend", role: "group", "aria-label": "Cells to highlight" });
  const press = (i) => {
    chosen.has(i) ? chosen.delete(i) : chosen.add(i);
    buttons[i].setAttribute("aria-pressed", String(chosen.has(i)));
    view?.signal("chosen", [...chosen]).runAsync();
  };
  const swatches = () => all("line", legend).forEach((line, i) => line.setAttribute("stroke", shade(i)));
  const buttons = data.cells.map((cell, i) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), box = { width: 26, height: 10 };
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [key, value] of Object.entries({ ...box, "aria-hidden": true })) svg.setAttribute(key, value);
    const ends = { x1: 1, y1: 5, x2: 25, y2: 5, "stroke-width": 3, "stroke-dasharray": dash(i).join(" ") };
    for (const [key, value] of Object.entries(ends)) line.setAttribute(key, value);
    svg.append(line);
    return make("button", { type: "button", "aria-pressed": String(chosen.has(i)), title: cell.name, onclick: () => press(i) },
      svg, make("bdi", {}, cell.name));
  });
  legend.append(...buttons);
  const range = segmented("Range", [[false, "After the start"], [true, "Whole"]], false, (value) => {
    whole = value;
    plot.redraw();
  });
  const none = make("button", { type: "button", class: "plain", onclick: () => {
    for (const i of [...chosen]) press(i);
  } }, "All alike");
  plot.before(make("div", { class: "controls" }, range, none));
  plot.after(legend, make("p", { class: "caption" },
    "Press a name to highlight its curve. " + (zoom().length ? MOVES : "") + note));
  document.addEventListener("metric", () => plot.redraw?.());
  await draw(plot, "curves", spec, (made) => {
    view = made;
    swatches();
    made.addEventListener("click", (_, item) => { if (typeof item?.datum?.c === "number") press(item.datum.c); });
  });
}

const ROLES = ["level", "control", "variant", "baseline"];
function byRole(values) {
  const roles = new Set(values.map((v) => v.role));
  const encoding = (range) => ({ field: "role", type: "nominal", legend: roles.size < 2 ? null : { title: null, orient: "top", symbolOpacity: 1, labelExpr: "datum.label === 'level' ? 'swap' : datum.label" },
    scale: { domain: ROLES.filter((r) => roles.has(r)), range: range.filter((_, i) => roles.has(ROLES[i])) } });
  return { color: encoding(["level", "control", "variant", "soft"].map(colour)),
    shape: encoding(["circle", "square", "triangle-up", "diamond"]) };
}

const SHOWN = 40;

async function pairs(block, plot) {
  const data = await island("trials"), column = (name) => data.columns.find((c) => c.name === name);
  const cells = column("cell"), replicates = column("replicate"), known = new Map(data.cells.map((c) => [c.name, c.role]));
  const order = [...new Set([...known.keys(), ...cells.texts])].filter((c) => cells.texts.includes(c));
  const results = data.columns.filter((c) => c.values && new Set(c.values).size > 2
    && !["level", "replicate", "attempts", "seed"].includes(c.name));
  let score = results.find((c) => c === data.columns[data.score]) ?? results[0], from = 0;
  if (!score || !replicates) return block.remove();
  const details = ["trial", "replicate", "seed", "status", "swaps"].map(column).filter(Boolean);
  const some = () => order.slice(from, from + SHOWN);
  const valuesOf = () => {
    const here = new Map(some().map((c, i) => [c, i])), found = [];
    for (let row = 0; row < data.count; row++) {
      const cell = valueOf(cells, row), value = valueOf(score, row);
      if (!here.has(cell) || typeof value !== "number") continue;
      const told = { cell, c: here.get(cell), r: valueOf(replicates, row), value, role: known.get(cell) ?? "level",
        shown: written(value, score.manner) };
      details.forEach((d, i) => { told["d" + i] = valueOf(d, row); });
      found.push(told);
    }
    return found;
  };
  const spec = () => {
    const values = valuesOf(), share = score.manner[0] === "share", many = new Set(values.map((v) => v.r)).size > 30;
    const names = some(), means = names.map((cell) => {
      const mine = values.filter((v) => v.cell === cell).map((v) => v.value);
      return { cell, value: mine.reduce((a, b) => a + b, 0) / mine.length, n: mine.length };
    }).filter((m) => m.n);
    const narrow = plot.clientWidth < 560;
    const y = { field: "cell", type: "nominal", scale: { domain: names }, sort: null,
      axis: { title: null, labelLimit: narrow ? 120 : 19 * em(), grid: true, ticks: false, domain: false, labelColor: colour("ink") } };
    const x = { field: "value", type: "quantitative", scale: { zero: false }, axis: axisOf(score.label, share) };
    const told = [["cell", "cell"], ["shown", score.label], ...details.map((d, i) => ["d" + i, d.label])];
    const near = { name: "near", select: { type: "point", fields: ["r"], on: "pointerover", clear: "pointerout",
      nearest: values.length < 3000 } };
    const lit = (high, low) => ({ condition: { param: "near", empty: false, value: high }, value: low });
    return {
      width: "container", height: Math.max(22, 1.4 * em()) * names.length, data: { values }, encoding: { y },
      layer: [
        { mark: { type: "line", clip: true, color: colour("soft") },
          encoding: { x, detail: { field: "r" }, order: { field: "c", type: "quantitative" },
            opacity: lit(0.95, many ? 0 : 0.22), strokeWidth: lit(2.2, 1) } },
        { data: { values: means }, mark: { type: "tick", thickness: 3, size: 20, clip: true, color: colour("ink") }, encoding: { x } },
        { mark: { type: "point", filled: true, clip: true, size: many ? 22 : 55 }, params: [near, ...zoom(["x"])],
          encoding: { x, ...byRole(values), opacity: lit(1, many ? 0.4 : 0.75),
            tooltip: told.map(([field, title]) => ({ field, title, type: "nominal" })) } },
      ],
    };
  };
  spec.canvas = () => valuesOf().length > 1500;
  const controls = make("div", { class: "controls" });
  if (results.length > 1) {
    controls.append(chooser("Score", results.map((c) => [c.name, c.label]), (name) => {
      score = column(name);
      plot.redraw();
    }));
    one("select", controls).value = score.name;
  }
  if (order.length > SHOWN) {
    const parts = Array.from({ length: Math.ceil(order.length / SHOWN) }, (_, i) => i * SHOWN);
    const words = (at) => `${at + 1} to ${Math.min(order.length, at + SHOWN)} of ${order.length}`;
    controls.append(chooser("Cells", parts.map((at) => [at, words(at)]), (at) => { from = Number(at); plot.redraw(); }));
  }
  plot.before(controls);
  plot.after(make("p", { class: "caption" }, "One mark a trial, a line joins the trials of one replicate, which share "
    + "their draws; the upright stroke is the mean. Point at a mark for its trial; failed trials have no score. " + (zoom().length ? MOVES : "")));
  await draw(plot, "replicates", spec);
}

async function costs(block, plot) {
  const data = await island("costs"), sizes = data.points.map((p) => Math.abs(p.mean)).sort((a, b) => a - b);
  const reach = 4 * sizes[Math.floor(0.75 * (sizes.length - 1))], far = sizes.filter((s) => s > reach).length;
  let at = data.start, near = far > 0;
  const difference = (v) => (v > 0 ? "+" : "") + (data.unit ? fixed(v, 2).replace("-", MINUS) + data.unit : number(v));
  const spec = () => {
    const { label, manner } = data.costs[at], seen = data.points.filter((p) => typeof p.costs[at] === "number"
      && !(near && Math.abs(p.mean) > reach));
    const spent = seen.map((p) => p.costs[at]), middle = (Math.min(...spent) + Math.max(...spent)) / 2;
    const log = Math.min(...spent) > 0 && Math.max(...spent) / Math.min(...spent) > 20;
    const values = seen.map((p) => ({ swap: p.swap, versus: p.versus, role: p.role, verdict: p.verdict, cost: p.costs[at],
      mean: p.mean, low: p.low ?? p.mean, high: p.high ?? p.mean, shown: difference(p.mean), left: p.costs[at] > middle,
      band: p.low === null ? "none" : `${difference(p.low)} to ${difference(p.high)}`, spent: written(p.costs[at], manner) }));
    const x = { field: "cost", type: "quantitative",
      scale: log ? { type: "log", nice: false, padding: 24 } : { zero: false, nice: false, padding: 24 },
      axis: { title: label + (manner[0] === "seconds" ? ", s" : "") + (log ? " (logarithmic)" : ""), tickCount: 6, grid: false,
        format: manner[0] === "seconds" ? ".3~r" : ".3~s" } };
    const y = { field: "mean", type: "quantitative", axis: { title: data.label, format: "+.3~r", tickCount: 6 } };
    const told = [["swap", "swap"], ["versus", "versus"], ["shown", "difference"], ["band", "95 % interval"],
      ["spent", label], ["verdict", "verdict"]];
    const named = (side, align, dx) => ({ mark: { type: "text", align, dx, dy: -8, limit: 230 },
      transform: [{ filter: `datum.role == 'level' && datum.left == ${side}` }],
      encoding: { x, y, text: { field: "swap", type: "nominal" } } });
    return {
      width: "container", height: Math.max(320, 18 * em()), data: { values },
      layer: [
        { data: { values: [{ mean: 0 }] }, mark: { type: "rule", strokeWidth: 1.3 }, encoding: { y } },
        { mark: { type: "rule", strokeWidth: 1.6, opacity: 0.55 },
          encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color: byRole(values).color } },
        { mark: { type: "point", filled: true, size: 120, opacity: 1 }, params: zoom(),
          encoding: { x, y, ...byRole(values), tooltip: told.map(([field, title]) => ({ field, title, type: "nominal" })) } },
        ...(values.length > 12 || plot.clientWidth < 560 ? [] : [named(false, "left", 9), named(true, "right", -9)]),
      ],
    };
  };
  const controls = make("div", { class: "controls" });
  if (data.costs.length > 1) {
    const pick = chooser("Cost", data.costs.map((c, i) => [i, c.label]), (i) => { at = Number(i); plot.redraw(); });
    one("select", pick).value = String(at);
    controls.append(pick);
  }
  if (far) {
    const ranges = [[true, "Near zero"], [false, `With ${far} far away`]];
    controls.append(segmented("Range", ranges, near, (value) => { near = value; plot.redraw(); }));
  }
  plot.before(controls);
  plot.after(make("p", { class: "caption" }, "Up is better, left is cheaper; point at a mark for its name. Each against what it is compared with. "
    + "Measured here: for circuits that is their simulation. " + (zoom().length ? MOVES : "")));
  await draw(plot, "costs", spec);
}

function addViews() {
  if (!one("script[data-library]")) return;
  const has = (name) => one(`script[data-island="${name}"]`);
  const switcher = one("#curves > .segmented") ?? one("#curves > h2");
  if (has("curves") && switcher) mount(switcher, "All cells in one figure", "curves", curves);
  const costed = one("#pareto")?.lastElementChild ?? one("#costs")?.lastElementChild;
  if (has("costs") && costed) mount(costed, "Effect against cost, to explore", "costs", costs);
  if (has("trials") && one("#trials > h2")) mount(one("#trials > h2"), "Replicate by replicate", "pairs", pairs);
}
