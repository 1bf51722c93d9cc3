// The table of heuristics: find, filter, sort, choose columns.
const tableState = { columns: new Map(), sort: { key: "", down: false } };

function startTable() {
  const find = byId("table-find"), role = byId("table-role"), prefix = byId("table-prefix");
  const kinds = [...new Set(report.row_prefix_type)];
  const roles = ROLES.filter((name) => report.row_prompt.some((key) => roleOf(key) === name));
  const digits = report.columns.map((column) => decimals(column.values));
  const rows = report.row_prompt.map((key, i) => ({ i, key, role: roleOf(key), kind: report.row_prefix_type[i] }));
  const names = report.columns.map((column) => column.name);
  const byName = (name) => (names.includes(name) ? String(names.indexOf(name)) : name);
  const unsorted = { key: "", down: false };
  // what was chosen stays when new data come: by name, since columns may be added
  const shown = new Set(report.columns.flatMap((column, i) => (tableState.columns.get(column.name) ?? column.shown ? [i] : [])));
  let sort = { key: byName(tableState.sort.key), down: tableState.sort.down };

  function matches(row) {
    const prompt = prompts.get(row.key);
    const words = [row.key, prompt?.text, prompt?.group, prompt?.family].join(" ").toLowerCase();
    return (!role.value || row.role === role.value) && (!prefix.value || row.kind === prefix.value)
      && find.value.toLowerCase().split(/\s+/).every((word) => words.includes(word));
  }

  function valueOf(row) {
    if (sort.key === "prompt") return row.key;
    if (sort.key === "role" || sort.key === "kind") return row[sort.key];
    return report.columns[Number(sort.key)].values[row.i];
  }

  function cell(column, c, i) {
    const bounds = interval(column.low?.[i], column.high?.[i], digits[c]);
    return html("td", {}, format(column.values[i], digits[c]), bounds ? html("span", { class: "interval" }, bounds) : null);
  }

  function draw() {
    const again = (next) => {
      sort = next;
      tableState.sort = { key: names[Number(sort.key || NaN)] ?? sort.key, down: sort.down };
      draw();
      byId("table-rows").querySelector(`th[data-key="${CSS.escape(sort.key)}"] button`)?.focus();
    };
    const kept = rows.filter(matches);
    const ordered = sort.key === "" ? kept : sorted(kept, valueOf, sort.down);
    const columns = report.columns.map((column, c) => [column, c]).filter(([, c]) => shown.has(c));
    const heads = columns.map(([column, c]) => {
      const head = sortHead(column.name, column.units, String(c), sort, again);
      head.title = `${column.meaning}: ${column.formula}`;
      return head;
    });
    const first = sortHead("prompt", "", "prompt", sort, again, true);
    const roleHead = sortHead("role", "", "role", sort, again, true);
    first.classList.add("key");
    roleHead.classList.add("role-cell");
    const head = html("thead", {}, html("tr", {}, first, roleHead,
      sortHead("prefix", "", "kind", sort, again, true), ...heads));
    const body = html("tbody", {}, ...ordered.map((row) => html("tr", {}, promptCell(row.key),
      html("td", { class: "word role-cell" }, row.role), html("td", { class: "word" }, row.kind || "–"),
      ...columns.map(([column, c]) => cell(column, c, row.i)))));
    const table = byId("table-rows");
    table.replaceChildren(table.caption, head, body);
    byId("table-count").textContent = `${ordered.length} of ${rows.length} rows, ${columns.length} of ${report.columns.length} columns.`;
  }

  function chooser() {
    const fields = Object.entries(columnsByGroup((_, i) => i)).map(([group, pairs]) => html("fieldset", {},
      html("legend", {}, group), ...pairs.map(([i, label]) => {
        const box = html("input", { type: "checkbox" });
        box.checked = shown.has(i);
        box.addEventListener("change", () => {
          tableState.columns.set(names[i], box.checked);
          if (box.checked) shown.add(i);
          else shown.delete(i);
          draw();
        });
        return html("label", {}, box, label);
      })));
    byId("table-columns").append(...fields);
  }

  options(role, [["", "all"], ...roles.map((name) => [name, name])]);
  options(prefix, [["", "all"], ...kinds.map((name) => [name, name || "none"])]);
  find.addEventListener("input", draw);
  for (const control of [role, prefix]) control.addEventListener("change", draw);
  byId("table-reset").addEventListener("click", () => {
    find.value = role.value = prefix.value = "";
    sort = tableState.sort = unsorted;
    draw();
  });
  chooser();
  draw();
}
