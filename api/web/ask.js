// Ask: an answer, what else was weighed, and the moments that support it.

import { $, busy, forget, make, say, send } from "./api.js";
import { cost, show } from "./moments.js";
import { go } from "./route.js";

const form = $("ask-form");
let shown = "";

form.addEventListener("submit", (event) => {
  event.preventDefault();
  go("ask", { q: form.text.value.trim(), choices: form.choices.value.trim() });
});

const clear = () => { shown = ""; $("ask-answer").replaceChildren(); $("ask-results").replaceChildren(); };

export function openAsk({ at, ...state }) {
  form.text.value = state.q ?? "";
  form.choices.value = state.choices ?? "";
  const wanted = JSON.stringify(state);
  if (!state.q || (wanted === shown && at)) return;
  shown = wanted;
  busy(form, "ask-said", (still) => ask(state, still), clear);
}

async function ask(state, still) {
  say("ask-said", "Thinking…");
  forget();
  const choices = (state.choices ?? "").split(",").map((choice) => choice.trim()).filter(Boolean);
  const result = await send("/query", { text: state.q, mode: "grounded_qa", top_k: 8, ...(choices.length > 1 && { choices }) });
  if (!still()) return;
  const { answer } = result;
  say("ask-said", [cost(result), answer.how, answer.caution].filter(Boolean).join("; "));
  const ranked = Object.entries(answer.scores).sort((a, b) => b[1] - a[1]).slice(0, 8);
  $("ask-answer").replaceChildren(make("div", { className: "answer" },
    make("h2", {}, `${answer.caution ? "Its guess: " : ""}${answer.text} `,
      make("small", { textContent: `${(answer.confidence * 100).toFixed(0)} %` })),
    ...ranked.map(([choice, share]) => {
      const meter = make("i");
      meter.style.width = `${share * 100}%`;
      return make("div", { className: "choice" }, make("span", { textContent: choice }),
        make("div", { className: "meter" }, meter), make("span", { textContent: `${(share * 100).toFixed(1)} %` }));
    })));
  show($("ask-results"), answer.evidence, state.q);
}
