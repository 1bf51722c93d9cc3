// Losses and scores by update: a line for each run, with its interval where it is the one pointed at.
function startCurves() {
  const name = byId("curves-name"), role = byId("curves-role"), prefix = byId("curves-prefix"), place = byId("curves-plot");
  const HEIGHT = 380, LEFT = 62, RIGHT = 18, TOP = 14, BOTTOM = 46;
  const lineRole = (line) => (line.prompt ? roleOf(line.prompt) : "control");

  function path(xs, ys, px, py) {
    let pen = "M";
    return xs.map((x, i) => {
      if (ys[i] === null) {
        pen = "M";
        return "";
      }
      const step = `${pen}${px(x).toFixed(1)},${py(ys[i]).toFixed(1)}`;
      pen = "L";
      return step;
    }).join("");
  }

  function draw(width) {
    const chart = report.curves.find((one) => one.name === name.value);
    const lines = chart.lines.filter((line) => (!role.value || lineRole(line) === role.value || !line.prompt) && (!prefix.value || line.prefix_type === prefix.value || !line.prompt));
    const known = lines.flatMap((line) => line.y.filter((v) => v !== null));
    byId("curves-note").textContent = `${lines.length} of ${chart.lines.length} runs. ${chart.note}`;
    if (!known.length) return place.replaceChildren(html("p", {}, "No run is like this."));
    const xs = lines.flatMap((line) => line.x), [x0, x1] = [Math.min(...xs), Math.max(...xs, 1)];
    const [low, high] = [Math.min(...known), Math.max(...known)], pad = 0.05 * (high - low || 1), [y0, y1] = [low - pad, high + pad];
    const px = (v) => LEFT + ((v - x0) / (x1 - x0 || 1)) * (width - LEFT - RIGHT);
    const py = (v) => HEIGHT - BOTTOM - ((v - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
    const picture = svg("svg", { width, height: HEIGHT, role: "group", "aria-label": `${chart.name} by update` });
    const [ticksX, digitsX] = ticks(x0, x1, Math.max(3, Math.floor(width / 110))), [ticksY, digitsY] = ticks(y0, y1, 6);
    for (const v of ticksX) picture.append(svg("line", { class: "grid", x1: px(v), x2: px(v), y1: TOP, y2: HEIGHT - BOTTOM }), svg("text", { class: "tick", x: px(v), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, format(v, digitsX)));
    for (const v of ticksY) picture.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: py(v), y2: py(v) }), svg("text", { class: "tick", x: LEFT - 7, y: py(v) + 4, "text-anchor": "end" }, format(v, digitsY)));
    const middle = (TOP + HEIGHT - BOTTOM) / 2;
    picture.append(svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "update"),
      svg("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, chart.units));
    const groups = sorted(lines, (line) => (line.prompt ? 0 : 1), false).map((line) => one(chart, line, px, py));
    picture.append(...groups);
    roving(groups, (group) => {
      for (const other of groups) {
        other.classList.toggle("active", other === group);
        other.classList.toggle("dim", other !== group);
      }
      const line = lines.find((run) => run.run === group.dataset.run);
      byId("curves-detail").replaceChildren(html("strong", {}, line.run), html("br"), html("q", { dir: "auto" }, prompts.get(line.prompt)?.text ?? "no prompt: control"), html("br"), group.getAttribute("aria-label"));
    });
    place.replaceChildren(picture);
  }

  function one(chart, line, px, py) {
    const kind = lineRole(line), at = line.y.map((v, i) => [v, i]).filter(([v]) => v !== null), last = at[at.length - 1];
    const digits = decimals(line.y), bounds = last && line.low ? interval(line.low[last[1]], line.high[last[1]], digits) : "";
    const group = svg("g", { class: `run ${kind}${at.length === 1 ? " alone" : ""}`, role: "img", "data-run": line.run,
      "aria-label": last ? `${line.run}: ${format(last[0], digits)} ${bounds} at update ${line.x[last[1]]}` : `${line.run}: no value` });
    group.append(svg("path", { class: `curve${LOOKS.dashed.includes(line.prefix_type) ? " dashed" : ""}`, d: path(line.x, line.y, px, py) }));
    for (const [v, i] of line.low || at.length < 4 ? at : []) group.append(mark(px(line.x[i]), py(v), kind, line.prefix_type, 4));
    return group;
  }

  const all = report.curves.flatMap((chart) => chart.lines);
  const roles = ROLES.filter((one) => all.some((line) => line.prompt && roleOf(line.prompt) === one));
  const kinds = [...new Set(all.filter((line) => line.prompt).map((line) => line.prefix_type))];
  options(name, report.curves.map((chart) => [chart.name, chart.name]));
  options(role, [["", "all"], ...roles.map((one) => [one, one])]);
  options(prefix, [["", "all"], ...kinds.map((one) => [one, one])]);
  byId("curves-legend").append(...roles.map((one) => html("span", {}, glyph(one, "fixed"), one)),
    html("span", {}, "thick: control"), ...(kinds.includes("mix") ? [html("span", {}, "dashed: mix")] : []));
  for (const control of [name, role, prefix]) control.addEventListener("change", () => draw(Math.floor(place.clientWidth)));
  onWidth(place, draw);
}

// What every run scores under each condition; tinted by how much, in the color of what a high score means.
function startLeaks() {
  const { scores, conditions, rows } = report.leaks, score = byId("leaks-score"), place = byId("leaks-rows");
  let sort = { key: "0", down: true };

  function draw() {
    const s = Number(score.value), good = scores[s].high_is_good;
    const again = (next) => {
      sort = next;
      draw();
      place.querySelector(`th[data-key="${CSS.escape(sort.key)}"] button`)?.focus();
    };
    const value = (row) => (sort.key === "run" ? row.run : row.values[s][Number(sort.key)]?.mean ?? null);
    const head = html("thead", {}, html("tr", {}, sortHead("run", "", "run", sort, again, true), ...conditions.map((c, i) => sortHead(c, "0–100", String(i), sort, again))));
    const cell = (estimate) => {
      const node = html("td", { class: "tinted", title: estimate ? `${estimate.n} questions` : null }, estimate ? format(estimate.mean, 1) : "–",
        estimate ? html("span", { class: "interval" }, interval(estimate.low, estimate.high, 1)) : null);
      node.style.setProperty("--tint", `color-mix(in oklab, var(${good ? "--more" : "--less"}) ${estimate ? Math.round(0.7 * estimate.mean) : 0}%, transparent)`);
      return node;
    };
    place.replaceChildren(place.caption, head, html("tbody", {}, ...sorted(rows, value, sort.down).map((row) => html("tr", {},
      html("th", { scope: "row", class: "word key" }, html("span", { class: `role ${row.prompt ? roleOf(row.prompt) : ""}` }, row.prompt ? glyph(roleOf(row.prompt), row.prefix_type) : null, row.run),
        html("span", { class: "text", title: prompts.get(row.prompt)?.text ?? "" }, row.prompt ? prompts.get(row.prompt)?.text ?? "" : "control")),
      ...row.values[s].map(cell)))));
  }

  const worst = scores.findIndex((one) => !one.high_is_good);
  options(score, scores.map((one, i) => [String(i), one.name]), String(Math.max(worst, 0)));
  score.addEventListener("change", draw);
  draw();
}
