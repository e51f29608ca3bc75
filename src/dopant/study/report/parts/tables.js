// Tables that sort by any column; the trials, page by page, with filters.
const islands = new Map();

// A data set of the page: base64 of deflated JSON. null where the page has none.
function island(name) {
  if (!islands.has(name)) islands.set(name, unpack(one(`script[data-island="${name}"]`)));
  return islands.get(name);
}

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

async function unpack(element) {
  return element ? JSON.parse(await inflate(element.textContent)) : null;
}

// Numbers before texts, what is missing last whichever the direction.
function compare(a, b, direction) {
  const missing = (v) => v === null || v === undefined || v === "–";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  if (typeof a !== typeof b) return direction * (typeof a === "string" ? 1 : -1);
  return direction * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
}

// Each heading becomes a button: up, down, as it was. sort(column, direction) puts the rows in order.
function sortable(table, sort) {
  const heads = all("thead th", table);
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", class: "sort" });
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.onclick = () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", next);
      sort(column, { ascending: 1, descending: -1, none: 0 }[next]);
    };
  });
}

function keyOf(cell) {
  const data = one("data[value]", cell);
  if (!data) return cell.textContent;
  return data.value === "true" ? 1 : data.value === "false" ? 0 : Number(data.value);
}

function sortTables() {
  for (const table of all("main .scroll > table")) {
    if (table.id === "all-trials" && one('script[data-island="trials"]')) continue;
    const rows = all("tbody tr", table);
    if (rows.length < 2) continue;
    sortable(table, (column, direction) => {
      const order = direction
        ? [...rows].sort((a, b) => compare(keyOf(a.cells[column]), keyOf(b.cells[column]), direction)) : rows;
      table.tBodies[0].append(...order);
    });
  }
}

// A column's value in a row: a number, a text, a truth value or null.
function valueOf(column, row) {
  return column.texts ? (column.at[row] < 0 ? null : column.texts[column.at[row]]) : column.values[row];
}

function rowOf(trials, row, numeric) {
  const line = make("tr");
  trials.columns.forEach((column, i) => {
    const value = valueOf(column, row);
    const text = column.texts ? (value ?? "–") : written(value, column.manner);
    const cell = make("td");
    if (numeric[i]) cell.className = value === null ? "number none" : "number";
    else if (value === null) cell.className = "none";
    else if (column.name === "trial") cell.className = "id";
    else if (column.name === "status") cell.className = "status " + value;
    cell.append(typeof value === "number" || typeof value === "boolean"
      ? make("data", { value: String(value) }, text) : make("bdi", {}, text));
    line.append(cell);
  });
  return line;
}

function chooser(label, options, change) {
  const select = make("select", { oninput: () => change(select.value) });
  options.forEach(([value, text]) => select.append(make("option", { value }, text)));
  return make("label", {}, label + " ", select);
}

async function addTrials() {
  const table = one("#all-trials"), trials = await island("trials");
  if (!table || !trials) return;
  const body = table.tBodies[0], first = [...body.rows], column = (name) => trials.columns.find((c) => c.name === name);
  const numeric = all("thead th", table).map((h) => h.classList.contains("number"));
  const made = (row) => (first[row] ??= rowOf(trials, row, numeric));
  const every = Array.from({ length: trials.count }, (_, i) => i), printed = first.length;
  let size = 50, page = 0, chosen = every, wanted = { cell: "", status: "", text: "" }, sorted = [0, 0];
  const said = make("span", { class: "said", role: "status" });
  const back = make("button", { type: "button", onclick: () => show(page - 1) }, "← Back");
  const on = make("button", { type: "button", onclick: () => show(page + 1) }, "Next →");

  function show(number) {
    const last = Math.max(0, Math.ceil(chosen.length / size) - 1);
    page = Math.min(Math.max(0, number), last);
    const rows = chosen.slice(page * size, page * size + size);
    body.replaceChildren(...rows.map(made));
    const from = page * size + 1, to = page * size + rows.length, total = grouped(String(chosen.length));
    said.textContent = rows.length ? `${grouped(String(from))}–${grouped(String(to))} of ${total} trials` : "No trial fits.";
    back.disabled = page === 0;
    on.disabled = page === last;
  }

  function choose() {
    const text = wanted.text.toLowerCase(), cell = column("cell"), status = column("status");
    chosen = every.filter((row) =>
      (!wanted.cell || valueOf(cell, row) === wanted.cell) && (!wanted.status || valueOf(status, row) === wanted.status)
      && (!text || trials.columns.some((c) => c.texts && (valueOf(c, row) ?? "").toLowerCase().includes(text))));
    const [at, direction] = sorted, by = trials.columns[at];
    if (direction) chosen.sort((a, b) => compare(valueOf(by, a), valueOf(by, b), direction) || a - b);
    show(0);
  }

  const filter = make("input", { type: "search", oninput: () => { wanted.text = filter.value; choose(); } });
  const tools = make("div", { class: "paging" }, make("label", {}, "Find ", filter));
  for (const [name, label] of [["cell", "Cell"], ["status", "Status"]]) {
    const texts = column(name)?.texts ?? [];
    if (texts.length < 2) continue;
    const options = [["", "all"], ...texts.map((t) => [t, t])];
    tools.append(chooser(label, options, (value) => { wanted[name] = value; choose(); }));
  }
  const most = trials.count > 1000 ? [500, "500"] : [1000, "All"];  // ten thousand rows take a browser twenty seconds
  tools.append(segmented("Rows a page", [[50, "50"], [100, "100"], most], size, (value) => {
    size = value;
    show(0);
  }), back, on, said);
  table.closest(".scroll").before(tools);
  sortable(table, (at, direction) => { sorted = [at, direction]; choose(); });
  const fold = table.closest("details");
  fold.open = true;
  one("summary", fold).textContent = `${grouped(String(trials.count))} trials`;
  one("#cut")?.classList.add("print-only");
  show(0);
  window.addEventListener("beforeprint", () => body.replaceChildren(...chosen.slice(0, printed).map(made)));
  window.addEventListener("afterprint", () => show(page));
  document.addEventListener("trial", (event) => {
    filter.value = wanted.text = event.detail;
    choose();
    tools.scrollIntoView();
  });
}
