// The page is whole without this: it adds a choice of colours, folds that open together, links to every heading.
const one = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick" || key === "oninput") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function remembered(key, value) {
  try {
    if (value === undefined) return localStorage.getItem("dopant-" + key);
    localStorage.setItem("dopant-" + key, value);
  } catch { /* a page opened from a file may not be allowed to remember */ }
  return null;
}

// Buttons of which one is pressed. choices: [value, text]; choose(value) is called for each press.
function segmented(label, choices, current, choose) {
  const group = make("div", { class: "segmented", role: "group", "aria-label": label });
  for (const [value, text] of choices) {
    const press = () => {
      for (const b of group.children) b.setAttribute("aria-pressed", String(b === button));
      choose(value);
    };
    const button = make("button", { type: "button", "aria-pressed": String(value === current), onclick: press }, text);
    group.append(button);
  }
  return group;
}

// Light, dark or as the system has it: the style sheets' own conditions are rewritten, so colours stand there once.
const SCHEMES = [];
function findSchemes() {
  for (const sheet of document.styleSheets) {
    for (const rule of sheet.cssRules) {
      const text = rule.media?.mediaText ?? "";
      if (text.includes("prefers-color-scheme")) SCHEMES.push([rule, text]);
    }
  }
}

function setTheme(choice) {
  for (const [rule, text] of SCHEMES) {
    const screen = /^screen\b/.test(text) ? text : "screen and " + text;
    const fits = (_, scheme) => (scheme === choice ? "(min-width: 0)" : "(max-width: 0)");
    rule.media.mediaText = choice === "auto" ? screen : screen.replace(/\(prefers-color-scheme:\s*(\w+)\)/, fits);
  }
  document.documentElement.dataset.theme = choice;
  document.dispatchEvent(new Event("theme"));
}

function openAround(element) {
  for (let e = element; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
}

function follow() {
  const id = decodeURIComponent(location.hash.slice(1));
  const target = id && document.getElementById(id);
  if (target) {
    openAround(target);
    target.scrollIntoView();
  } else if (id.startsWith("trial-")) document.dispatchEvent(new CustomEvent("trial", { detail: id.slice(6) }));
}

function folds() {
  return all("main details").filter((d) => !d.closest(".vega-embed"));
}

function addTools(theme) {
  const expand = make("button", { type: "button", class: "expand", "aria-pressed": "false", onclick: () => {
    const open = expand.getAttribute("aria-pressed") !== "true";
    for (const fold of folds()) fold.open = open;
    expand.setAttribute("aria-pressed", String(open));
    expand.textContent = open ? "Fold all" : "Unfold all";
  } }, "Unfold all");
  const choose = (value) => { remembered("theme", value); setTheme(value); };
  const themes = [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]];
  one("header").prepend(make("div", { class: "tools" }, expand, segmented("Colours", themes, theme, choose)));
}

function addLinks() {
  for (const heading of all("main section[id] > h2, main h3[id]")) {
    const id = heading.id || heading.parentElement.id;
    heading.append(" ", make("a", { class: "anchor", href: "#" + id, "aria-label": "Link to this part" }, "#"));
  }
}

findSchemes();
const STARTED = ["light", "dark"].includes(remembered("theme")) ? remembered("theme") : "auto";
setTheme(STARTED);
document.addEventListener("DOMContentLoaded", () => {
  addTools(STARTED);
  addLinks();
  sortTables();
  switchMetrics();
  addTrials().then(follow);
  addViews();
  window.addEventListener("hashchange", follow);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));
