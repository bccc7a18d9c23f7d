// The way to the server: the token, the answers, and the rhythm of asking.

/** The endpoints stand beside the page, also where its address has no slash at the end. */
const root = location.pathname.endsWith("/") ? location.pathname : `${location.pathname}/`;

class Refused extends Error {
  constructor(status, message, detail, retryAfter) {
    super(detail ? `${message} ${detail}` : message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const token = {
  get: () => tab.get("token"),
  set: (value) => tab.set("token", value),
};

/** Asks for a path beside the page. Throws `Refused` for what is not a 2xx. */
async function ask(path, options = {}) {
  const headers = { ...options.headers };
  const secret = token.get();
  if (secret) headers.Authorization = `Bearer ${secret}`;
  const response = await fetch(root + path, {
    ...options,
    headers,
    cache: "no-store",
    redirect: "error",
    // With a token of its own the page needs none of the browser's, which would ask for one.
    credentials: secret ? "omit" : "same-origin",
  });
  if (response.ok) return response;
  let told = {};
  try { told = await response.json(); } catch { /* Something in between answered. */ }
  if (response.status === 401) locked(secret ? "The server refuses this token." : "");
  throw new Refused(
    response.status,
    told.message ?? `The server answered ${response.status}.`,
    told.detail,
    Number(response.headers.get("retry-after")) || null,
  );
}

const askJson = async (path, options) => (await ask(path, options)).json();

/**
 * Calls `look` again and again, `period()` seconds apart: not while the tab is hidden or `may` says
 * no, and more slowly while the server is slow, busy or gone.
 */
function poll(look, period, may, told) {
  const state = { timer: null, running: false, factor: 1 };
  const idle = () => document.hidden || !may();
  const later = (pause) => {
    clearTimeout(state.timer);
    if (!idle()) state.timer = setTimeout(run, pause);
  };
  async function run() {
    clearTimeout(state.timer);
    if (state.running || idle()) return;
    state.running = true;
    const began = performance.now();
    let wait = 0;
    try {
      await look();
      const took = performance.now() - began;
      state.factor = took > 1000 ? Math.min(state.factor * 2, 16) : 1;
      told(state.factor > 1 ? "slow" : "live");
    } catch (error) {
      state.factor = Math.min(state.factor * 2, 16);
      wait = (error.retryAfter ?? 0) * 1000;
      told(error.status === 409 || error.status === 503 ? "slow" : "down", error);
    }
    state.running = false;
    later(Math.max(period() * 1000 * state.factor, wait, 2 * (performance.now() - began)));
  }
  document.addEventListener("visibilitychange", () => (idle() ? clearTimeout(state.timer) : run()));
  return { now: run, again: () => later(0), stop: () => clearTimeout(state.timer), state };
}
