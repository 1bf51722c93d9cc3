// Angles between prompts as a heatmap; one tab stop, arrow keys move a cursor over the cells.
function startAngles() {
  const { prompts: keys, matrices } = report.angles;
  const name = byId("angles-name"), prefix = byId("angles-prefix"), order = byId("angles-order"), place = byId("angles-plot");
  const MEANINGS = { raw: "all examples", svd2: "two leading singular directions", pca2: "two principal components (centered)" };
  let cursor = [0, 1];

  // The scale of the figures: linear between its colors.
  function color(value) {
    const at = (Math.min(Math.max(value, 0), 180) / 180) * (LOOKS.angles.length - 1), low = Math.min(Math.floor(at), LOOKS.angles.length - 2);
    const [a, b] = [LOOKS.angles[low], LOOKS.angles[low + 1]].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
    return `rgb(${a.map((v, i) => Math.round(v + (b[i] - v) * (at - low))).join(", ")})`;
  }

  function label(full) {
    const [, variable, inside] = full.match(/^(.*)\[(.*)\]$/) ?? [null, full, ""];
    return `${variable.replaceAll("_", " ")}: ${MEANINGS[inside] ?? inside}`;
  }

  function places() {
    const every = keys.map((_, i) => i);
    if (order.value === "experiment") return every;
    return sorted(every, (i) => ROLES.indexOf(roleOf(keys[i])), false);
  }

  function draw(width) {
    const kinds = matrices.filter((m) => m.name === name.value).map((m) => m.prefix_type);
    if (!kinds.includes(prefix.value)) prefix.value = kinds[0];
    const values = matrices.find((m) => m.name === name.value && m.prefix_type === prefix.value).values;
    const at = places(), n = at.length;
    const LETTER = 7.1, LEFT = Math.min(Math.max(...keys.map((key) => key.length)) * LETTER + 20, width < 500 ? 140 : 210);
    const size = Math.min(Math.max(Math.floor((width - LEFT - 4) / n), 13), 26);
    const picture = svg("svg", { width: LEFT + n * size + 4, height: n * size + 4, role: "group", "aria-label": "Heatmap of angles" });
    at.forEach((i, row) => {
      const most = Math.floor((LEFT - 18) / LETTER);
      const text = keys[i].length > most ? keys[i].slice(0, most - 1) + "…" : keys[i];
      const role = roleOf(keys[i]);
      const inner = svg("svg", { x: 0, y: row * size + size / 2 - 6, width: 12, height: 12, viewBox: "0 0 16 16" }, mark(8, 8, role, "fixed"));
      const words = svg("text", { class: role, x: 16, y: row * size + size / 2 + 4 }, text);
      words.style.fontSize = `${Math.min(size, 12)}px`;
      picture.append(svg("g", { "aria-hidden": "true" }, inner, words));
      at.forEach((j, column) => {
        const cell = svg("rect", { x: LEFT + column * size, y: row * size, width: size - 1, height: size - 1, "data-at": `${row},${column}` });
        const value = values[i][j];
        cell.style.fill = value === null ? "var(--missing)" : color(value);
        picture.append(cell);
      });
    });
    const box = svg("rect", { class: "cursor", width: size - 1, height: size - 1, tabindex: 0, role: "img" });
    picture.append(box);

    function move(row, column, speak = true) {
      cursor = [Math.min(Math.max(row, 0), n - 1), Math.min(Math.max(column, 0), n - 1)];
      const [i, j] = cursor.map((k) => at[k]);
      box.setAttribute("x", LEFT + cursor[1] * size);
      box.setAttribute("y", cursor[0] * size);
      const value = values[i][j] === null ? "undefined" : `${values[i][j].toFixed(1)}°`;
      box.setAttribute("aria-label", `${keys[i]} and ${keys[j]}: ${value}`);
      if (!speak) return;
      const line = (key) => [html("span", { class: `role ${roleOf(key)}` }, glyph(roleOf(key), "fixed"), key), " ", html("q", { dir: "auto" }, prompts.get(key)?.text ?? "")];
      byId("angles-detail").replaceChildren(html("strong", {}, value), html("br"), ...line(keys[i]), html("br"), ...line(keys[j]));
    }

    picture.addEventListener("pointermove", (event) => {
      const found = event.target.dataset?.at?.split(",").map(Number);
      if (found) move(...found);
    });
    box.addEventListener("focus", () => move(...cursor));
    box.addEventListener("keydown", (event) => {
      const [row, column] = cursor;
      const steps = { ArrowRight: [row, column + 1], ArrowLeft: [row, column - 1], ArrowDown: [row + 1, column], ArrowUp: [row - 1, column], Home: [row, 0], End: [row, n - 1] };
      if (!(event.key in steps)) return;
      event.preventDefault();
      move(...steps[event.key]);
    });
    move(...cursor, false);
    const focused = place.contains(document.activeElement);
    place.replaceChildren(picture);
    if (focused) box.focus();
  }

  const swatch = (value, text) => {
    const box = html("span", { class: "swatch patch" });
    box.style.backgroundColor = color(value);
    return html("span", {}, box, text);
  };
  byId("angles-note").textContent = report.angles.note;
  byId("angles-legend").append("Angle:", ...[0, 45, 90, 135, 180].map((v) => swatch(v, `${v}°`)), html("span", {}, html("span", { class: "swatch none" }, "–"), "undefined"));
  options(name, [...new Set(matrices.map((m) => m.name))].map((full) => [full, label(full)]));
  options(prefix, [...new Set(matrices.map((m) => m.prefix_type))].map((kind) => [kind, kind || "none"]));
  options(order, [["role", "by role"], ["experiment", "as in the experiment"]]);
  for (const control of [name, prefix, order]) control.addEventListener("change", () => draw(Math.floor(place.clientWidth)));
  onWidth(place.parentElement, (width) => draw(width));
}
