// The page: each section is drawn from its part of the report when that part is there, and again when it changes.
// The parts are in the page itself (a report), or are asked of the server that made it (`inoc view`).
const SECTIONS = {
  progress: [startProgress, () => report.stages?.length],
  summary: [startSummary, () => report.summary],
  compare: [startCompare, () => live && stores.length > 1],
  curves: [startCurves, () => report.curves?.length],
  table: [startTable, () => report.columns?.length],
  scatter: [startScatter, () => report.columns?.length],
  angles: [startAngles, () => report.angles],
  outcomes: [startOutcomes, () => report.outcomes?.suppression.length],
  leaks: [startLeaks, () => report.leaks],
  emergence: [startEmergence, () => report.emergence && (report.emergence.rows.length || report.emergence.absent)],
  answers: [startAnswers, () => report.answers?.questions.length],
  tokens: [startTokens, () => report.tokens],
  figures: [startFigures, () => report.figures?.length],
  meaning: [startMeaning, () => report.columns?.length],
};
// The sections that a part of the report changes; the prompts of the table give their names and roles to all.
const SHOWN_IN = {
  progress: ["progress"],
  table: ["table", "scatter", "meaning", "curves", "outcomes", "leaks", "angles", "tokens"],
};

// Draw a section again, with what was chosen, unfolded and scrolled; one whose marks have the focus waits.
function draw(name) {
  const [start, present] = SECTIONS[name];
  const section = byId(name), focus = section.contains(document.activeElement) ? document.activeElement : null;
  if (focus && !focus.id) {
    section.addEventListener("focusout", () => setTimeout(() => draw(name)), { once: true });
    return;
  }
  section.hidden = !present();
  document.querySelector(`nav a[href="#${name}"]`).hidden = section.hidden;
  const chosen = [...section.querySelectorAll("select[id], input[id]")].map((node) => [node.id, node.value]);
  const open = [...section.querySelectorAll("details[id]")].filter((node) => node.open).map((node) => node.id);
  const scrolled = [...section.querySelectorAll(".scroll")].map((node) => [node.scrollLeft, node.scrollTop]);
  section.replaceChildren(section.querySelector("template"));
  if (section.hidden) return;
  section.append(section.querySelector("template").content.cloneNode(true));
  start();
  for (const [id, value] of chosen) {
    const control = byId(id);
    if (control.value === value || (control.options && ![...control.options].some((option) => option.value === value))) continue;
    control.value = value;
    control.dispatchEvent(new Event(control.options ? "change" : "input"));
  }
  for (const id of open) byId(id).open = true;
  [...section.querySelectorAll(".scroll")].forEach((node, i) => node.scrollTo(...(scrolled[i] ?? [0, 0])));
  if (focus) byId(focus.id)?.focus();
}

function receive(part, names) {
  Object.assign(report, part);
  if (part.prompts) prompts = new Map(report.prompts.map((prompt) => [prompt.key, prompt]));
  if (part.title !== undefined) {
    byId("title").textContent = report.title;
    byId("about").textContent = report.about;
    document.title = `${report.title} · inoc`;
  }
  for (const name of names) draw(name);
}

let stores = [];
const live = given.live === true;

const tags = {};

// A part of the report from the server; null where it is the one that was asked for before, unless `always`.
async function ask(path, always = false) {
  const answer = await fetch(path, { headers: tags[path] && !always ? { "If-None-Match": tags[path] } : {}, cache: "no-store" });
  if (answer.status === 304) return null;
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error ?? answer.statusText);
  if (!always) tags[path] = answer.headers.get("ETag");
  return found;
}

async function follow() {
  const PAUSE = 2000, LEAST = 3; // milliseconds between questions; at most a fourth of the time is spent on asking
  const PARTS = ["table", "summary", "curves", "outcomes", "leaks", "angles", "emergence", "answers", "tokens", "figures"];
  const choice = byId("live-store"), note = byId("live-note");
  let shown = null, store = null, wake = () => {};

  async function round() {
    const status = await ask("status");
    if (status && stores.length !== status.stores.length) {
      options(choice, status.stores.map((one, i) => [String(i), one.name]), "0");
      byId("live-choice").hidden = status.stores.length < 2;
    }
    if (status) stores = status.stores;
    const i = Number(choice.value), now = stores[i], other = store !== i;
    if (other) {
      for (const path of Object.keys(tags)) if (path !== "status") delete tags[path];
      store = i;
      draw("compare");
    }
    receive({ stages: now.stages }, SHOWN_IN.progress);
    if (other || now.version !== shown) {
      for (const name of PARTS) {
        note.textContent = `Reading ${name} …`;
        const part = await ask(`stores/${i}/${name}`);
        if (Number(choice.value) !== i) return;
        if (part) receive(part, SHOWN_IN[name] ?? [name]);
      }
      shown = now.version;
    }
    note.textContent = `Live; the store changed ${duration(now.age)} ago.`;
  }

  byId("live").hidden = false;
  choice.addEventListener("change", () => wake());
  for (;;) {
    const begun = performance.now();
    try {
      await round();
    } catch (error) {
      note.textContent = error instanceof TypeError ? "The server is gone; the page shows what was last read. Fix: run `inoc view` again." : error.message;
    }
    if (Number(choice.value) !== store && stores.length) continue;
    await new Promise((done) => {
      wake = done;
      setTimeout(done, Math.max(PAUSE, LEAST * (performance.now() - begun)));
    });
  }
}

if (live) follow();
else receive(given, Object.keys(SECTIONS));
