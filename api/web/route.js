// What is shown is what the address says: #tab?name=value&…

const PAGES = ["find", "ask", "sql", "videos", "video", "settings"];

export function here() {
  const [tab, rest] = location.hash.slice(1).split("?");
  return { tab: PAGES.includes(tab) ? tab : "find", state: Object.fromEntries(new URLSearchParams(rest)) };
}

export function address(tab, state = {}) {
  const kept = Object.entries(state).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return `#${tab}${kept.length ? `?${new URLSearchParams(kept)}` : ""}`;
}

// a new entry of the history; the same address once more shows it anew
export function go(tab, state = {}) {
  const to = address(tab, state);
  if (to === location.hash) dispatchEvent(new Event("hashchange"));
  else location.hash = to;
}

// another state of what is shown already, without an entry of its own
export function amend(changes) {
  const { tab, state } = here();
  history.replaceState(null, "", address(tab, { ...state, ...changes }));
}
