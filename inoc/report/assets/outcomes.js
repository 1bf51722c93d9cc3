// What training did: a sortable table of estimates with their intervals drawn next to the numbers.
function startOutcomes() {
  const { traits, control, effects, suppression, gap, left_out: leftOut } = report.outcomes;
  const WIDTH = 150, HEIGHT = 20;

  function domain(rows, t) {
    const every = rows.flatMap((row) => (row.estimates[t] ? [row.estimates[t].mean, row.estimates[t].low, row.estimates[t].high] : []));
    const known = [0, ...every.filter((v) => v !== null)];
    return [Math.min(...known), Math.max(...known)];
  }

  function drawn(row, estimate, [low, high]) {
    const at = (v) => 8 + ((v - low) / (high - low || 1)) * (WIDTH - 16);
    const picture = svg("svg", { width: WIDTH, height: HEIGHT, "aria-hidden": "true", class: roleOf(row.prompt) },
      svg("line", { class: "zero", x1: at(0), x2: at(0), y1: 0, y2: HEIGHT }));
    if (estimate?.low !== null && estimate) {
      picture.append(svg("line", { class: "bar", x1: at(estimate.low), x2: at(estimate.high), y1: HEIGHT / 2, y2: HEIGHT / 2 }));
    }
    if (estimate) picture.append(mark(at(estimate.mean), HEIGHT / 2, roleOf(row.prompt), row.prefix_type, 4.5));
    return html("td", {}, picture);
  }

  function numbers(estimate) {
    if (!estimate) return html("td", {}, "–");
    const bounds = interval(estimate.low, estimate.high, 1);
    return html("td", { title: `${estimate.n} questions` }, format(estimate.mean, 1, true), bounds ? html("span", { class: "interval" }, bounds) : null);
  }

  function table(title, rows, perRun) {
    const place = html("table", {}, html("caption", { class: "hidden" }, title));
    const seeds = rows.some((row) => row.seed >= 0);
    const flags = rows.some((row) => row.flag);
    const domains = traits.map((_, t) => domain(rows, t));
    let sort = { key: "0", down: true };

    function draw() {
      const again = (next) => {
        sort = next;
        draw();
        place.querySelector(`th[data-key="${CSS.escape(sort.key)}"] button`)?.focus();
      };
      const value = (row) => ({ prompt: row.prompt, kind: row.prefix_type, seed: row.seed, step: row.step })[sort.key]
        ?? (/^\d+$/.test(sort.key) ? row.estimates[Number(sort.key)]?.mean ?? null : null);
      const first = sortHead("prompt", "", "prompt", sort, again, true);
      first.classList.add("key");
      const head = html("thead", {}, html("tr", {}, first,
        perRun ? sortHead("prefix", "", "kind", sort, again, true) : null,
        seeds ? sortHead("seed", "", "seed", sort, again) : null,
        perRun ? sortHead("step", "", "step", sort, again) : null,
        ...traits.flatMap((trait, t) => [sortHead(perRun ? `${effects[t]} of ${trait}` : trait, "pp", String(t), sort, again), html("td", {}, html("span", { class: "hidden" }, `${trait}, drawn`))]),
        flags ? html("th", { scope: "col", class: "word" }, "remark") : null));
      const body = html("tbody", {}, ...sorted(rows, value, sort.down).map((row) => html("tr", {}, promptCell(row.prompt),
        perRun ? html("td", { class: "word" }, row.prefix_type) : null,
        seeds ? html("td", {}, row.seed >= 0 ? row.seed : "–") : null,
        perRun ? html("td", {}, row.step ?? "–") : null,
        ...traits.flatMap((_, t) => [numbers(row.estimates[t]), drawn(row, row.estimates[t], domains[t])]),
        flags ? html("td", { class: "word flag" }, row.flag) : null)));
      place.replaceChildren(place.caption, head, body);
    }

    draw();
    return [html("h3", {}, title), html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${title}, scrolls sideways` }, place)];
  }

  const levels = traits.map((trait, t) => `${trait} ${format(control[t], 1)}`).join(", ");
  byId("outcomes-tables").append(
    html("p", {}, `Score of the control run, trained without a prompt: ${levels}.`),
    ...table("Suppression and loss, by run", suppression, true),
    ...(gap.length ? table("Gap, by prompt", gap, false) : []),
    ...(leftOut.length ? [html("p", { class: "muted" }, `Left out: ${leftOut.join("; ")}.`)] : []));
}
