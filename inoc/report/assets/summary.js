// What to use and why, and the other parts that are words and plain tables.
function factList(facts) {
  const item = ({ prompt, number, text }) => html("li", {}, html("strong", {}, prompt), " ", html("span", { class: "number" }, number), " ",
    text ? html("q", { dir: "auto" }, text.length > 90 ? `${text.slice(0, 89)}…` : text) : null);
  const ranking = ({ title, items }) => html("div", {}, html("p", { class: "muted" }, title), html("ol", {}, ...items.map(item)));
  return html("dl", { class: "facts" }, ...facts.map(({ title, lines, rankings }) => html("div", {}, html("dt", {}, title),
    html("dd", {}, ...lines.map((line) => html("p", {}, ...withCode(line))),
      rankings.length ? html("div", { class: "rankings" }, ...rankings.map(ranking)) : null))));
}

function startSummary() {
  byId("summary-facts").append(factList(report.summary));
  const n = report.missing.length, more = byId("summary-missing");
  more.hidden = !n;
  more.firstElementChild.textContent = `What is missing or left out (${n})`;
  more.append(n ? factList(report.missing) : "");
  if (!n) more.before(html("p", {}, "Nothing is missing."));
}

function plainTable(place, heads, rows) {
  place.append(html("thead", {}, html("tr", {}, ...heads.map((head) => html("th", { scope: "col" }, head)))),
    html("tbody", {}, ...rows.map(([first, ...rest]) => html("tr", {}, html("th", { scope: "row" }, first), ...rest.map((cell) => html("td", {}, cell))))));
}

function startMeaning() {
  byId("meaning-all").firstElementChild.textContent = `All ${report.columns.length} columns`;
  plainTable(byId("meaning-rows"), ["column", "meaning", "formula", "units"],
    report.columns.map((column) => [column.name, column.meaning, column.formula, column.units || "1"]));
}

function startFigures() {
  byId("figures-all").append(...report.figures.map(({ name, about, package: offered, caption, picture, reason }) => html("figure", {},
    picture ? html("img", { src: picture, alt: about }) : html("p", { class: "note" }, `Not drawn: ${reason}`),
    html("figcaption", {}, html("strong", {}, name), ` (${offered}). ${about} ${caption}`))));
}

function startEmergence() {
  const { rows, absent } = report.emergence;
  if (absent) {
    byId("emergence-note").textContent = absent;
    byId("emergence-rows").parentElement.remove();
    return;
  }
  plainTable(byId("emergence-rows"), ["run", "behavior", "counted", "at least", "forecast", "P(emerges)"],
    rows.map((row) => [row.run, row.behavior, row.counted, row.bound, row.forecast, row.probability]));
}

function duration(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

function startProgress() {
  plainTable(byId("progress-rows"), ["stage", "done", "", "time left"], report.stages.map(({ name, done, total, left }) => [name,
    html("progress", { max: total, value: done, "aria-label": `${name}: ${done} of ${total}` }), `${done} of ${total}`,
    done >= total ? "done" : left === null ? "–" : `about ${duration(left)}`]));
}

// Differences to another store, asked for when both are chosen; the clearest first.
function startCompare() {
  const other = byId("compare-store"), kind = byId("compare-kind"), me = Number(byId("live-store").value);
  let found = { rows: [], settings: [], left_out: [] };

  function show() {
    const rows = found.rows.filter((row) => row.kind === kind.value);
    const clear = (row) => row.lower !== null && (row.lower > 0 || row.upper < 0);
    const ordered = sorted(rows, (row) => (clear(row) ? 1e6 : 0) + Math.abs(row.difference), true);
    const digits = decimals(rows.map((row) => row.difference));
    byId("compare-count").textContent = rows.length ? `${rows.filter(clear).length} of ${rows.length} differ clearly (interval without 0), ${rows[0].units}; one in 20 would by chance.` : "Nothing is paired.";
    byId("compare-rows").replaceChildren();
    plainTable(byId("compare-rows"), ["prompt", "prefix", "of", "condition", "this", "other", "difference", "n"], ordered.map((row) => [
      row.prompt || "(control)", row.prefix_type, row.of, row.condition, format(row.first, digits), format(row.second, digits),
      html("span", {}, format(row.difference, digits, true), html("span", { class: "interval" }, interval(row.lower, row.upper, digits))), row.n]));
    byId("compare-settings").replaceChildren(...found.settings.map(([name, a, b]) => html("li", {}, `${name}: this ${a}, other ${b}`)),
      ...found.left_out.map((line) => html("li", {}, `left out: ${line}`)));
  }

  async function load() {
    byId("compare-count").textContent = "Reading …";
    const path = `compare/${me}/${other.value}`;
    delete tags[path];
    try {
      found = await ask(path);
      options(kind, [...new Set(found.rows.map((row) => row.kind))].map((name) => [name, name]));
      show();
    } catch (error) {
      byId("compare-count").textContent = error.message;
    }
  }

  options(other, [["", "choose"], ...stores.map((store, i) => [String(i), store.name]).filter(([i]) => Number(i) !== me)], "");
  other.addEventListener("change", () => other.value !== "" && load());
  kind.addEventListener("change", show);
}
