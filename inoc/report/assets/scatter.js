// Any column against any other, or against two others in 3-D; one mark per prompt and prefix type.
function startScatter() {
  const x = byId("scatter-x"), y = byId("scatter-y"), z = byId("scatter-z"), together = byId("scatter-axes"), prefix = byId("scatter-prefix"), place = byId("scatter-plot");
  const turn = byId("scatter-turn"), tilt = byId("scatter-tilt");
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

  // Two axes: where each row is, what lies behind the marks, and the intervals of a row.
  function flat(width, rows, [across, up]) {
    const [x0, x1] = range(across, rows), [y0, y1] = range(up, rows);
    const px = (v) => LEFT + ((v - x0) / (x1 - x0)) * (width - LEFT - RIGHT);
    const py = (v) => HEIGHT - BOTTOM - ((v - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
    const [xs, xDigits] = ticks(x0, x1, Math.max(3, Math.floor(width / 110))), [ys, yDigits] = ticks(y0, y1, 6);
    const behind = [];
    for (const v of xs) {
      behind.push(svg("line", { class: Math.abs(v) < 1e-12 ? "zero" : "grid", x1: px(v), x2: px(v), y1: TOP, y2: HEIGHT - BOTTOM }),
        svg("text", { class: "tick", x: px(v), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, format(v, xDigits)));
    }
    for (const v of ys) {
      behind.push(svg("line", { class: Math.abs(v) < 1e-12 ? "zero" : "grid", x1: LEFT, x2: width - RIGHT, y1: py(v), y2: py(v) }),
        svg("text", { class: "tick", x: LEFT - 7, y: py(v) + 4, "text-anchor": "end" }, format(v, yDigits)));
    }
    const middle = (TOP + HEIGHT - BOTTOM) / 2;
    behind.push(svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 10, "text-anchor": "middle" }, withUnits(across)),
      svg("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, withUnits(up)));
    const bars = (i) => {
      const [a, b] = [px(across.values[i]), py(up.values[i])], found = [];
      if (across.low && across.low[i] !== null) found.push({ x1: px(across.low[i]), x2: px(across.high[i]), y1: b, y2: b });
      if (up.low && up.low[i] !== null) found.push({ x1: a, x2: a, y1: py(up.low[i]), y2: py(up.high[i]) });
      return found;
    };
    return { at: (i) => [px(across.values[i]), py(up.values[i]), 0], behind, bars, label: `Scatter of ${withUnits(up)} against ${withUnits(across)}` };
  }

  // Three axes, from the side and from above as chosen, without perspective: equal lengths stay equal.
  function solid(width, rows, axes) {
    const ranges = axes.map((column) => range(column, rows));
    const [a, t] = [turn, tilt].map((input) => (Number(input.value) * Math.PI) / 180);
    const scale = Math.min((width - 40) / 2.9, (HEIGHT - 30) / 2.9), middle = [width / 2, HEIGHT / 2];
    const seen = ([x, y, z]) => {
      const [side, away] = [x * Math.cos(a) - y * Math.sin(a), x * Math.sin(a) + y * Math.cos(a)];
      return [middle[0] + scale * side, middle[1] - scale * (z * Math.cos(t) + away * Math.sin(t)), away * Math.cos(t) - z * Math.sin(t)];
    };
    const inside = (i) => axes.map((column, k) => ((column.values[i] - ranges[k][0]) / (ranges[k][1] - ranges[k][0])) * 2 - 1);
    const line = (from, to, kind) => {
      const [[x1, y1], [x2, y2]] = [seen(from), seen(to)];
      return svg("line", { class: kind, x1, y1, x2, y2 });
    };
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => [n & 1, n & 2, n & 4].map((bit) => (bit ? 1 : -1)));
    const behind = [];
    for (const corner of corners) {
      for (const k of [0, 1, 2]) if (corner[k] < 0) behind.push(line(corner, corner.with(k, 1), "grid"));
    }
    // each axis is named where its edge is seen best: the floor's near edges, and the upright farthest to the left
    const sum = (k, sign) => corners.filter((corner) => corner[k] === sign && corner[2] < 0).reduce((all, corner) => all + seen(corner)[2], 0);
    const near = [0, 1].map((k) => (sum(k, 1) < sum(k, -1) ? 1 : -1));
    const left = corners.slice(0, 4).reduce((best, corner) => (seen(corner)[0] < seen(best)[0] ? corner : best));
    const edges = [[0, near[1], -1], [near[0], 0, -1], [left[0], left[1], 0]];
    edges.forEach((edge, k) => {
      const digits = decimals(axes[k].values), [x, y] = seen(edge);
      behind.push(line(edge.with(k, -1), edge.with(k, 1), "zero"));
      for (const end of [-1, 1]) {
        const [tx, ty] = seen(edge.with(k, end * 0.86)), [dx, dy] = k === 2 ? [-7, 4] : x < middle[0] ? [-3, 15] : [3, 15];
        behind.push(svg("text", { class: "tick", x: tx + dx, y: ty + dy, "text-anchor": dx < 0 ? "end" : "start" },
          format(ranges[k][0] + ((end * 0.86 + 1) / 2) * (ranges[k][1] - ranges[k][0]), digits)));
      }
      const words = { "text-anchor": x < middle[0] || k === 2 ? "end" : "start", x: x + (k === 2 ? -9 : x < middle[0] ? -6 : 6), y: y + (k === 2 ? 4 : 28) };
      const room = (text) => text.length * 6.6 > (words["text-anchor"] === "end" ? words.x : width - words.x);
      behind.push(svg("text", words, room(withUnits(axes[k])) ? axes[k].name : withUnits(axes[k])));
    });
    const bars = (i) => {
      const point = inside(i), [[x1, y1], [x2, y2]] = [seen(point), seen(point.with(2, -1))];
      return [{ x1, y1, x2, y2 }];
    };
    return { at: (i) => seen(inside(i)), behind, bars, label: `Scatter in 3-D of ${axes.map(withUnits).join(", ")}` };
  }

  function draw(width) {
    const axes = [x, y, ...(z.value ? [z] : [])].map((select) => report.columns[names.indexOf(select.value)]);
    const chosen = report.row_prompt.map((_, i) => i).filter((i) => !prefix.value || report.row_prefix_type[i] === prefix.value);
    const rows = chosen.filter((i) => axes.every((column) => column.values[i] !== null));
    const left = chosen.length - rows.length, deep = axes.length > 2;
    for (const input of [turn, tilt]) input.parentElement.hidden = !deep;
    place.classList.toggle("turns", deep);
    byId("scatter-note").textContent = `${rows.length} points` + (left ? `; ${left} left out without a value.` : ".")
      + (deep ? " Thin lines fall to the floor. Drag the picture, or move the sliders, to turn it." : axes.some((column) => column.low) ? " Thin lines are 95 % intervals." : "");
    if (!rows.length) {
      place.replaceChildren(html("p", {}, "No prompt has all these values."));
      return;
    }
    const { at, behind, bars, label } = (deep ? solid : flat)(width, rows, axes);
    const picture = svg("svg", { width, height: HEIGHT, role: "group", "aria-label": label }, ...behind);
    const points = sorted(rows, (i) => at(i)[0], false).map((i) => point(i, axes, at(i), bars(i)));
    const name = svg("text", { class: "name", "aria-hidden": "true" });
    picture.append(...sorted(points, (item) => at(Number(item.dataset.row))[2], true), name);
    const show = (item) => {
      shown = item.dataset.row;
      for (const other of points) other.classList.toggle("active", other === item);
      const i = Number(item.dataset.row), [px, py] = at(i);
      const about = describe(i, axes);
      const right = px < width / 2;
      for (const [key, value] of Object.entries({ x: px + (right ? 11 : -11), y: py - 9, "text-anchor": right ? "start" : "end" })) name.setAttribute(key, value);
      name.textContent = about.title;
      byId("scatter-detail").replaceChildren(html("strong", {}, about.title), html("br"), html("q", { dir: "auto" }, about.prompt), html("br"), about.text);
    };
    roving(points, show);
    const again = points.find((item) => item.dataset.row === shown), focused = place.contains(document.activeElement);
    place.replaceChildren(picture);
    if (again) (focused ? again.focus() : show(again));
  }

  function point(i, axes, [a, b, away], bars) {
    const role = roleOf(report.row_prompt[i]), about = describe(i, axes);
    const group = svg("g", { class: role, role: "img", "data-row": i, "aria-label": `${about.title}. ${about.text}` });
    group.append(...bars.map((ends) => svg("line", { class: "bar", ...ends })),
      mark(a, b, role, report.row_prefix_type[i], 5.5 - 0.9 * away), svg("circle", { class: "ring", cx: a, cy: b, r: 10 }));
    return group;
  }

  // The pointer turns a picture of three axes: a whole turn over the width.
  function turned(event) {
    if (!z.value || !place.hasPointerCapture(event.pointerId)) return;
    const next = Number(turn.value) - event.movementX / 2;
    turn.value = String(next > 180 ? next - 360 : next < -180 ? next + 360 : next);
    tilt.value = String(Number(tilt.value) + event.movementY / 3);
    draw(Math.floor(place.clientWidth));
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
  options(z, { "": [["", "none: 2-D"]], ...groups }, "");
  const triple = (base) => [1, 2, 3].map((k) => `${base}[${k}]`);
  const bases = names.filter((name) => name.endsWith("[3]")).map((name) => name.slice(0, -3)).filter((base) => triple(base).every((name) => names.includes(name)));
  options(together, [["", "as chosen"], ...bases.map((base) => [base, `${base.replaceAll("_", " ")}, 3-D`])], "");
  together.parentElement.hidden = !bases.length;
  together.addEventListener("change", () => {
    if (together.value) [x.value, y.value, z.value] = triple(together.value);
    draw(Math.floor(place.clientWidth));
  });
  for (const control of [x, y, z, prefix]) control.addEventListener("change", () => {
    if (control !== prefix && together.value && triple(together.value).join() !== [x.value, y.value, z.value].join()) together.value = "";
    draw(Math.floor(place.clientWidth));
  });
  for (const input of [turn, tilt]) input.addEventListener("input", () => draw(Math.floor(place.clientWidth)));
  place.addEventListener("pointerdown", (event) => z.value && event.button === 0 && place.setPointerCapture(event.pointerId));
  place.addEventListener("pointermove", turned);
  onWidth(place, draw);
}
