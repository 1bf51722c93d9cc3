// The token viewer: a completion with each token colored by how much the prompt changed its log-probability.
function startTokens() {
  const view = report.tokens;
  const prompt = byId("tokens-prompt"), prefix = byId("tokens-prefix"), example = byId("tokens-example");

  function hint() {
    byId("tokens-detail").textContent = "Point at a token, or move to one with Tab and the arrow keys, to see its log-probabilities.";
  }

  function tokenNodes(one, t) {
    if (one.texts) return one.texts[t] === "" ? [html("span", { class: "control" }, "…")] : visible(one.texts[t]);
    return [one.token_ids ? `#${one.token_ids[t]}` : String(t + 1)];
  }

  function nameOf(one, t) {
    const parts = [`Token ${t + 1} of ${one.tokens}`];
    if (one.texts) parts.push(one.texts[t] === "" ? "(part of the next character)" : `“${visible(one.texts[t]).map((n) => n.textContent ?? n).join("")}”`);
    if (one.token_ids) parts.push(`(id ${one.token_ids[t]})`);
    return parts.join(" ");
  }

  const nats = (value) => `${format(value / view.unit, 3)} nats`;
  const percent = (value) => `${(100 * Math.exp(value / view.unit)).toPrecision(3)} %`;

  function numbersOf(without, withPrompt) {
    if (without === null || withPrompt === null) {
      const known = (value) => (value === null ? "missing" : nats(value));
      return `without prompt ${known(without)}, with prompt ${known(withPrompt)}, difference missing`;
    }
    return `difference ${format((withPrompt - without) / view.unit, 3, true)} nats: without prompt ${nats(without)} (p ${percent(without)}), with prompt ${nats(withPrompt)} (p ${percent(withPrompt)})`;
  }

  function color(node, difference) {
    if (difference === null) {
      node.classList.add("none");
      return;
    }
    const share = Math.min(Math.abs(difference) / view.scale, 1) * 100;
    node.style.backgroundColor = `color-mix(in oklab, var(${difference > 0 ? "--more" : "--less"}) ${share.toFixed(0)}%, transparent)`;
    if (share >= 20) node.classList.add(difference > 0 ? "more" : "less");
  }

  function context(one, differences) {
    const known = differences.filter((d) => d !== null);
    const lost = differences.length - known.length;
    const mean = known.length ? `${format(known.reduce((a, b) => a + b, 0) / known.length, 3, true)} nats per token over ${known.length} tokens` : "no token has both values";
    const rows = [["Prompt", prompts.get(prompt.value)?.text ?? ""], ["Instruction", one.instruction],
      ["Mean difference", mean + (lost ? `; ${lost} missing` : "") + (one.default.length < one.tokens ? `; cut after ${one.default.length} of ${one.tokens} tokens` : "")]];
    if (!one.texts && one.completion) rows.push(["Completion", one.completion]);
    byId("tokens-context").replaceChildren(...rows.filter(([, text]) => text).map(([title, text]) =>
      html("div", {}, html("dt", {}, title), html("dd", { class: "untrusted", dir: "auto" }, ...visible(text)))));
  }

  function draw() {
    const f = view.prefix_types.indexOf(prefix.value), p = view.prompts.indexOf(prompt.value), k = Number(example.value);
    const one = view.examples[k], values = view.prefixed[f][p]?.[k] ?? one.default.map(() => null);
    const differences = values.map((v, t) => (v === null || one.default[t] === null ? null : (v - one.default[t]) / view.unit));
    const place = byId("tokens-text");
    context(one, differences);
    hint();
    if (view.prefixed[f][p] === null) {
      place.replaceChildren("This prompt is not scored yet with this prefix type.");
      return;
    }
    const items = values.map((value, t) => {
      const node = html("span", { class: `token${one.texts ? "" : " apart"}`, role: "img", "data-token": t,
        "aria-label": `${nameOf(one, t)}, ${numbersOf(one.default[t], value)}` }, ...tokenNodes(one, t));
      color(node, differences[t]);
      return node;
    });
    place.replaceChildren(...(one.texts ? items : items.flatMap((node) => [node, " "])));
    place.setAttribute("dir", one.texts ? "auto" : "ltr");
    place.scrollTop = 0;
    roving(items, (item) => {
      const t = Number(item.dataset.token);
      for (const other of place.querySelectorAll(".active")) other.classList.remove("active");
      item.classList.add("active");
      byId("tokens-detail").replaceChildren(html("strong", {}, nameOf(one, t)), html("br"), numbersOf(one.default[t], values[t]));
    });
    byId("tokens-previous").disabled = k === 0;
    byId("tokens-next").disabled = k === view.examples.length - 1;
  }

  function legend() {
    const swatch = (difference, text) => {
      const node = html("span", { class: "swatch token" }, text);
      color(node, difference);
      return node;
    };
    const s = view.scale;
    byId("tokens-legend").append(
      html("span", {}, "less likely", swatch(-s, `−${s.toFixed(1)}`), swatch(-s / 2, `−${(s / 2).toFixed(1)}`), swatch(0, "0"),
        swatch(s / 2, `+${(s / 2).toFixed(1)}`), swatch(s, `+${s.toFixed(1)}`), "more likely with the prompt, nats"),
      html("span", {}, "underline: more, dashed: less"), html("span", {}, swatch(null, "–"), "missing"));
  }

  const groups = {};
  for (const key of view.prompts) (groups[roleOf(key)] ??= []).push([key, key]);
  options(prompt, groups);
  options(prefix, view.prefix_types.map((kind) => [kind, kind]));
  options(example, view.examples.map((one, i) => [String(i), `${one.example_id}${one.instruction ? `: ${one.instruction.slice(0, 60)}` : ""}`]));
  for (const control of [prompt, prefix, example]) control.addEventListener("change", draw);
  const step = (by) => () => {
    example.value = String(Number(example.value) + by);
    draw();
  };
  byId("tokens-previous").addEventListener("click", step(-1));
  byId("tokens-next").addEventListener("click", step(1));
  byId("tokens-note").append(...withCode(view.notes.join(" ")));
  legend();
  draw();
}
