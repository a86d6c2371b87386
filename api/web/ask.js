// Ask: an answer, what else was weighed, what it says and whether its frames show that.

import { $, busy, clock, forget, make, say, send } from "./api.js";
import { show } from "./moments.js";
import { play } from "./player.js";
import { go } from "./route.js";
import { NOT_SHOWN, t } from "./words.js";

const form = $("ask-form");
let shown = "";

const named = (text) => (text === NOT_SHOWN ? t("ask.nothing") : text);

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
  say("ask-said", t("ask.thinking"));
  forget();
  const choices = (state.choices ?? "").split(",").map((choice) => choice.trim()).filter(Boolean);
  const answer = await send("/ask", { question: state.q, ...(choices.length > 1 && { choices }) });
  if (!still()) return;
  say("ask-said", [answer.how, answer.caution].filter(Boolean).join("; "));
  const ranked = Object.entries(answer.scores).sort((a, b) => b[1] - a[1]).slice(0, 8);
  $("ask-answer").replaceChildren(make("div", { className: "answer" },
    make("h2", {}, `${answer.caution ? t("ask.guess", { answer: named(answer.text) }) : named(answer.text)} `,
      make("small", { textContent: t("app.percent", { share: (answer.confidence * 100).toFixed(0) }) })),
    ...ranked.map(([choice, share]) => {
      const meter = make("i");
      meter.style.width = `${share * 100}%`;
      return make("div", { className: "choice" }, make("span", { textContent: named(choice) }),
        make("div", { className: "meter" }, meter), make("span", { textContent: t("app.percent", { share: (share * 100).toFixed(1) }) }));
    }),
    make("ul", { className: "claims" }, ...answer.claims.map((claim) => said(claim, state.q)))));
  show($("ask-results"), answer.evidence, state.q);
}

function said(claim, question) {
  const cited = claim.moments.map((moment, at) => {
    const button = make("button", { type: "button", className: "cited", textContent: t("time.span", { start: clock(moment.start_seconds), stop: clock(moment.stop_seconds) }),
      title: moment.name });
    button.addEventListener("click", () => play(claim.moments, at, question));
    return button;
  });
  return make("li", { className: claim.verdict }, make("b", { textContent: t(`ask.${claim.verdict}`) }), ` ${claim.text} `, ...cited);
}
