// Any column against any other; one mark per prompt and prefix type.
function startScatter() {
  const x = byId("scatter-x"), y = byId("scatter-y"), prefix = byId("scatter-prefix"), place = byId("scatter-plot");
  const HEIGHT = 440, LEFT = 62, RIGHT = 18, TOP = 14, BOTTOM = 52;
  const groups = columnsByGroup((column) => column.name);
  const names = report.columns.map((column) => column.name);
  const kinds = [...new Set(report.row_prefix_type)];
  let shown = null; // the row whose prompt is named

  function preferred(wanted, otherwise) {
    return wanted.map((start) => names.find((name) => name.startsWith(start))).find(Boolean) ?? names[otherwise] ?? names[0];
  }

  function range(column, rows) {
    const every = rows.flatMap((i) => [column.values[i], column.low?.[i], column.high?.[i]]).filter((v) => v !== null && v !== undefined);
    let [low, high] = [Math.min(...every), Math.max(...every)];
    if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.5, high + (Math.abs(high) || 1) * 0.5];
    const margin = (high - low) * 0.05;
    return [low - margin, high + margin];
  }

  function describe(i, columns) {
    const key = report.row_prompt[i], kind = report.row_prefix_type[i];
    const values = columns.map((column) => {
      const digits = decimals(column.values);
      return `${column.name} ${format(column.values[i], digits)} ${interval(column.low?.[i], column.high?.[i], digits)} ${column.units}`.replace(/\s+/g, " ").trim();
    });
    return { title: kind ? `${key}, ${kind}` : key, text: `${roleOf(key)}; ${values.join("; ")}`, prompt: prompts.get(key)?.text ?? "" };
  }

  function draw(width) {
    const [across, up] = [x.value, y.value].map((name) => report.columns[names.indexOf(name)]);
    const chosen = report.row_prompt.map((_, i) => i).filter((i) => !prefix.value || report.row_prefix_type[i] === prefix.value);
    const rows = chosen.filter((i) => across.values[i] !== null && up.values[i] !== null);
    const left = chosen.length - rows.length;
    byId("scatter-note").textContent = `${rows.length} points` + (left ? `; ${left} left out without a value.` : ".")
      + (across.low || up.low ? " Thin lines are 95 % intervals." : "");
    if (!rows.length) {
      place.replaceChildren(html("p", {}, "No prompt has both values."));
      return;
    }
    const [x0, x1] = range(across, rows), [y0, y1] = range(up, rows);
    const px = (v) => LEFT + ((v - x0) / (x1 - x0)) * (width - LEFT - RIGHT);
    const py = (v) => HEIGHT - BOTTOM - ((v - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
    const picture = svg("svg", { width, height: HEIGHT, role: "group", "aria-label": `Scatter of ${withUnits(up)} against ${withUnits(across)}` });
    const [xs, xDigits] = ticks(x0, x1, Math.max(3, Math.floor(width / 110))), [ys, yDigits] = ticks(y0, y1, 6);
    for (const v of xs) {
      picture.append(svg("line", { class: Math.abs(v) < 1e-12 ? "zero" : "grid", x1: px(v), x2: px(v), y1: TOP, y2: HEIGHT - BOTTOM }),
        svg("text", { class: "tick", x: px(v), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, format(v, xDigits)));
    }
    for (const v of ys) {
      picture.append(svg("line", { class: Math.abs(v) < 1e-12 ? "zero" : "grid", x1: LEFT, x2: width - RIGHT, y1: py(v), y2: py(v) }),
        svg("text", { class: "tick", x: LEFT - 7, y: py(v) + 4, "text-anchor": "end" }, format(v, yDigits)));
    }
    const middle = (TOP + HEIGHT - BOTTOM) / 2;
    picture.append(svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 10, "text-anchor": "middle" }, withUnits(across)),
      svg("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, withUnits(up)));
    const points = sorted(rows, (i) => across.values[i], false).map((i) => point(i, across, up, px, py));
    const name = svg("text", { class: "name", "aria-hidden": "true" });
    picture.append(...points, name);
    const show = (item) => {
      shown = item.dataset.row;
      for (const other of points) other.classList.toggle("active", other === item);
      const i = Number(item.dataset.row), at = px(across.values[i]);
      const about = describe(i, [across, up]);
      const right = at < width / 2;
      for (const [key, value] of Object.entries({ x: at + (right ? 11 : -11), y: py(up.values[i]) - 9, "text-anchor": right ? "start" : "end" })) name.setAttribute(key, value);
      name.textContent = about.title;
      byId("scatter-detail").replaceChildren(html("strong", {}, about.title), html("br"), html("q", { dir: "auto" }, about.prompt), html("br"), about.text);
    };
    roving(points, show);
    const again = points.find((item) => item.dataset.row === shown), focused = place.contains(document.activeElement);
    place.replaceChildren(picture);
    if (again) (focused ? again.focus() : show(again));
  }

  function point(i, across, up, px, py) {
    const role = roleOf(report.row_prompt[i]), about = describe(i, [across, up]);
    const [a, b] = [px(across.values[i]), py(up.values[i])];
    const group = svg("g", { class: role, role: "img", "data-row": i, "aria-label": `${about.title}. ${about.text}` });
    if (across.low && across.low[i] !== null) group.append(svg("line", { class: "bar", x1: px(across.low[i]), x2: px(across.high[i]), y1: b, y2: b }));
    if (up.low && up.low[i] !== null) group.append(svg("line", { class: "bar", x1: a, x2: a, y1: py(up.low[i]), y2: py(up.high[i]) }));
    group.append(mark(a, b, role, report.row_prefix_type[i]), svg("circle", { class: "ring", cx: a, cy: b, r: 10 }));
    return group;
  }

  const roles = ROLES.filter((role) => report.row_prompt.some((key) => roleOf(key) === role));
  byId("scatter-legend").append(...roles.map((role) => html("span", {}, glyph(role, "fixed"), role)),
    ...kinds.filter(Boolean).map((kind) => html("span", {}, glyph("control", kind), kind)));
  // the trade-off first: the leak held back against what is lost of the wanted trait
  const { traits, effects } = report.outcomes ?? { traits: [], effects: [] };
  const of = (effect) => traits.filter((_, t) => effects[t] === effect).map((trait) => `suppression[${trait}]`);
  const both = of("loss").length && of("suppression").length;
  options(x, groups, preferred([...(both ? of("loss") : []), "ph", "elicitation["], 0));
  options(y, groups, preferred([...of("suppression"), "suppression[", "elicitation[", "gamma"], 1));
  options(prefix, [["", "all"], ...kinds.map((kind) => [kind, kind || "none"])]);
  for (const control of [x, y, prefix]) control.addEventListener("change", () => draw(Math.floor(place.clientWidth)));
  onWidth(place, draw);
}
