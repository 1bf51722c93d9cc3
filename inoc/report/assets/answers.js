// The stored answers side by side: a card for each, by question, with its scores; ordered, filtered and searched.
function startAnswers() {
  const { questions, scores, answers, runs, conditions } = report.answers;
  const PAGE = 60;
  const served = live && report.answers.note; // the server has more answers than the page
  const question = byId("answers-question"), run = byId("answers-run"), condition = byId("answers-condition");
  const order = byId("answers-order"), find = byId("answers-find");
  let most = PAGE, asked = 0;

  const nameOf = (score) => (score.judge ? `${score.of} by ${score.judge}` : score.of);

  // How far the judges of one score are apart on an answer; null where no score has two of them.
  function disagreement(answer) {
    const found = {};
    scores.forEach((score, s) => {
      if (answer.scores[s] !== null) (found[score.of] ??= []).push(answer.scores[s]);
    });
    const spans = Object.values(found).filter((v) => v.length > 1).map((v) => Math.max(...v) - Math.min(...v));
    return spans.length ? Math.max(...spans) : null;
  }

  function card(answer) {
    const marks = scores.map((score, s) => html("li", {}, `${nameOf(score)} `,
      html("span", { class: "score" }, format(answer.scores[s], 0)),
      answer.coverage[s] === null ? null : ` (${format(answer.coverage[s], 2)})`));
    const about = [answer.condition, `step ${answer.step}`, ...(answer.sample > 1 ? [`sample ${answer.sample}`] : [])];
    return html("article", { class: "card", "data-run": answer.run },
      html("h4", {}, answer.run, html("span", { class: "muted" }, ` · ${about.join(" · ")}`)),
      html("ul", { "aria-label": "Scores" }, ...marks),
      html("p", { class: "text", dir: "auto", tabindex: 0, role: "group", "aria-label": `Answer of ${answer.run}` }, ...visible(answer.text, true),
        answer.left_out ? html("span", { class: "muted" }, ` … ${answer.left_out} more characters`) : null));
  }

  function chosen() {
    const words = find.value.toLowerCase();
    const kept = answers.filter((a) => (question.value === "" || a.question === Number(question.value))
      && (run.value === "" || a.run === run.value) && (condition.value === "" || a.condition === condition.value)
      && (a.text.toLowerCase().includes(words) || questions[a.question].toLowerCase().includes(words)));
    if (order.value === "") return sorted(sorted(kept, (a) => conditions.indexOf(a.condition), false), (a) => a.question * 1e6 + a.sample, false);
    if (order.value === "judges") return sorted(kept, disagreement, true);
    const s = Number(order.value);
    return sorted(kept, (a) => a.scores[s], !scores[s].high_is_good);
  }

  // The first answers as chosen, of the page's own or of all that the server has.
  async function page() {
    if (!served) {
      const kept = chosen();
      return { questions, answers: kept.slice(0, most), found: kept.length };
    }
    const wanted = { question: question.value, run: run.value, condition: condition.value, order: order.value, find: find.value, most };
    return ask(`answers/${byId("live-store").value}?${new URLSearchParams(wanted)}`, true);
  }

  async function draw() {
    const turn = ++asked, shown = await page().catch((error) => ({ questions, answers: [], found: 0, error: error.message }));
    if (turn !== asked || !byId("answers-cards")) return; // another choice came after this one
    const nodes = [];
    let last = null;
    for (const answer of shown.answers) {
      if (answer.question !== last) {
        nodes.push(html("h3", { dir: "auto" }, ...visible(shown.questions[answer.question])), html("div", { class: "cards" }));
        last = answer.question;
      }
      nodes[nodes.length - 1].append(card(answer));
    }
    byId("answers-cards").replaceChildren(...nodes);
    byId("answers-count").textContent = shown.error ?? (shown.found ? `${shown.answers.length} of ${shown.found} answers` : "No answer is like this.");
    byId("answers-more").hidden = shown.answers.length === shown.found;
  }

  const again = () => {
    most = PAGE;
    draw();
  };
  byId("answers-note").append(...withCode(served ? "The list of questions holds some, drawn at random; Find and “all questions” reach every answer." : report.answers.note));
  const pairs = (names) => names.map((name) => [name, name]);
  options(question, [...questions.map((text, i) => [String(i), text.length > 90 ? `${text.slice(0, 90)}…` : text]), ["", "all questions"]], "0");
  options(run, [["", "all runs"], ...pairs(runs)], "");
  options(condition, [["", "all conditions"], ...pairs(conditions)], "");
  const worst = scores.map((score, s) => [String(s), `${score.directed ? "worst" : "highest"} ${nameOf(score)} first`]);
  const disputed = answers.some((a) => disagreement(a) !== null) ? [["judges", "most disputed by judges first"]] : [];
  options(order, [["", "by run"], ...worst, ...disputed], "");
  for (const control of [question, run, condition, order]) control.addEventListener("change", again);
  find.addEventListener("input", again);
  byId("answers-more").addEventListener("click", () => {
    most += PAGE;
    draw();
  });
  draw();
}
