// The data of the page, and small helpers for all parts. Text is only ever written as text nodes.
const given = JSON.parse(document.getElementById("data").textContent);
const report = {};
let prompts = new Map();
const ROLES = ["positive", "negative", "neutral", "unknown"];
const SVG = "http://www.w3.org/2000/svg";

function byId(id) {
  return document.getElementById(id);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((child) =>
    child instanceof Node ? child : document.createTextNode(String(child))));
  return node;
}

function html(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function roleOf(key) {
  const role = prompts.get(key)?.role;
  return ROLES.includes(role) ? role : "unknown";
}

// Decimals that give a typical value three digits.
function decimals(values) {
  const sizes = values.filter((v) => v !== null && v !== 0).map(Math.abs).sort((a, b) => a - b);
  if (!sizes.length || values.every((v) => v === null || Number.isInteger(v))) return 0;
  return Math.min(Math.max(2 - Math.floor(Math.log10(sizes[sizes.length >> 1])), 0), 6);
}

function format(value, digits, signed = false) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(digits);
  const sign = Number(text) === 0 ? "" : value < 0 ? "−" : signed ? "+" : "";
  return sign + text;
}

function interval(low, high, digits) {
  return low === null || low === undefined ? "" : `[${format(low, digits)}, ${format(high, digits)}]`;
}

function withUnits(column) {
  return column.units ? `${column.name} (${column.units})` : column.name;
}

// Fill a select with [value, label] pairs, or with {group: pairs}.
function options(select, choices, chosen) {
  const make = ([value, label]) => html("option", { value }, label);
  const nodes = Array.isArray(choices)
    ? choices.map(make)
    : Object.entries(choices).map(([label, pairs]) => html("optgroup", { label }, ...pairs.map(make)));
  select.replaceChildren(...nodes);
  if (chosen !== undefined) select.value = chosen;
}

function columnsByGroup(value) {
  const groups = {};
  report.columns.forEach((column, i) => {
    (groups[column.group] ??= []).push([value(column, i), withUnits(column)]);
  });
  return groups;
}

// A mark: its hue and fill tell the role, its shape the prefix type, as in the figures.
function mark(x, y, role, prefixType, size = 5.5) {
  const common = { class: `mark ${role} ${LOOKS.fills[role] ?? "full"}`, "data-shape": LOOKS.shapes[prefixType || "none"] ?? "diamond" };
  const polygon = (points) =>
    svg("polygon", { ...common, points: points.map(([a, b]) => `${x + a * size},${y + b * size}`).join(" ") });
  const shape = common["data-shape"];
  if (shape === "circle") return svg("circle", { ...common, cx: x, cy: y, r: size });
  if (shape === "triangle") return polygon([[0, -1.2], [1.15, 0.85], [-1.15, 0.85]]);
  if (shape === "square") return polygon([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]);
  return polygon([[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]]);
}

// Text in which `code` is marked.
function withCode(text) {
  return text.split("`").map((part, i) => (i % 2 ? html("code", {}, part) : part));
}

function glyph(role, prefixType) {
  return svg("svg", { width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" }, mark(8, 8, role, prefixType));
}

// Arrow keys move the one tab stop among `items`; `show(item)` runs on focus and on pointing.
function roving(items, show) {
  items.forEach((item, i) => {
    item.setAttribute("tabindex", i === 0 ? "0" : "-1");
    item.addEventListener("pointerenter", () => show(item));
    item.addEventListener("focus", () => {
      for (const other of items) if (other.getAttribute("tabindex") === "0") other.setAttribute("tabindex", "-1");
      item.setAttribute("tabindex", "0");
      show(item);
    });
    item.addEventListener("click", () => item.focus());
    item.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: items.length - 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      items[Math.min(Math.max(steps[event.key], 0), items.length - 1)].focus();
    });
  });
}

// A head cell whose button sorts; `sort` is {key, down}.
function sortHead(label, units, key, sort, again, word = false) {
  const active = sort.key === key;
  const button = html("button", { type: "button" }, label,
    html("span", { class: "arrow", "aria-hidden": "true" }, active ? (sort.down ? "▼" : "▲") : ""),
    units ? html("span", { class: "units" }, units) : null);
  button.addEventListener("click", () => {
    again(active ? { key, down: !sort.down } : { key, down: !word });
  });
  const order = active ? (sort.down ? "descending" : "ascending") : "none";
  return html("th", { scope: "col", "aria-sort": order, class: word ? "word" : null, "data-key": key }, button);
}

// Sorted copy: missing values last either way, ties in the order given.
function sorted(rows, value, down) {
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    const order = typeof x === "string" ? x.localeCompare(y) : x - y;
    return down ? -order : order;
  });
}

// About `count` round numbers over a range, and how many decimals they need.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let i = first; i * step <= high + step * 1e-9; i++) found.push(i * step);
  return [found, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))];
}

// Draw now and whenever the width of the place changes.
function onWidth(place, draw) {
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.floor(place.clientWidth);
    if (now && now !== width) draw((width = now));
  }).observe(place);
}

function promptCell(key) {
  const prompt = prompts.get(key);
  return html("th", { scope: "row", class: "word key", "data-prompt": key },
    html("span", { class: `role ${roleOf(key)}`, title: roleOf(key) }, glyph(roleOf(key), "fixed"), key),
    html("span", { class: "text", title: prompt?.text ?? "", dir: "auto" }, prompt?.text ?? ""));
}

const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;
const CONTROL_NAMES = { "\n": "↵", "\t": "⇥", "\r": "␍" };

// Nodes for untrusted text: what cannot be seen, or would turn the text around, is named instead of written.
function visible(text, lines = false) {
  const nodes = [];
  let last = 0;
  for (const match of text.matchAll(CONTROLS)) {
    if (match[0] === "\u200d" || (lines && match[0] === "\n")) continue; // joins emoji; a line that may end as it does
    const code = `U+${match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    nodes.push(text.slice(last, match.index), html("span", { class: "control" }, CONTROL_NAMES[match[0]] ?? code));
    if (match[0] === "\n") nodes.push("\n");
    last = match.index + match[0].length;
  }
  return [...nodes, text.slice(last)].filter((node) => node !== "");
}
