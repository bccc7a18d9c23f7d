// One button for a bundle; what this process can't give; and lines to copy into a terminal.

/** What a bundle has where nothing else is asked for. */
const usualKinds = new Set(["cpu", "heap", "allocs", "block", "mutex", "goroutine"]);
const bundle = { stop: null, chosen: null };

/** Fills a progress bar over so many seconds; gives a function that ends it. */
function progress(bar, window, told) {
  const began = performance.now();
  bar.value = 0;
  const timer = setInterval(() => {
    const gone = (performance.now() - began) / 1000;
    bar.value = Math.min(1, window ? gone / window : 1);
    told?.(gone);
  }, 100);
  return () => clearInterval(timer);
}

const fileStem = () =>
  `${(state.stats?.process.service ?? "service").replace(/[^\w.-]/g, "-")}-${new Date().toISOString().replace(/[:.]/g, "-").slice(0, 19)}`;

async function takeBundle() {
  const window = Number($("bundle-seconds").value) || 10;
  const kinds = [...bundle.chosen].join(",");
  const stop = new AbortController();
  bundle.stop = stop;
  const note = $("bundle-note");
  show($("bundle-stop"), true);
  show($("bundle-progress"), true);
  $("bundle-take").disabled = true;
  let got = 0;
  let recorded = false;
  const done = progress($("bundle-progress"), window, (gone) => {
    recorded = gone >= window;
    say(note, recorded ? `Receiving: ${bytes(got)}` : `Recording: ${seconds(Math.max(0, window - gone))} left`);
  });
  try {
    const response = await ask(`profile?duration=${window}s&profiles=${kinds}`, { method: "POST", signal: stop.signal });
    const chunks = [];
    const reader = response.body.getReader();
    for (;;) {
      const { done: ended, value } = await reader.read();
      if (ended) break;
      chunks.push(value);
      got += value.length;
    }
    const name = response.headers.get("content-disposition")?.match(/filename="([^"]+)"/)?.[1] ?? `${fileStem()}.tar.gz`;
    download(name, new Blob(chunks, { type: "application/gzip" }));
    done();
    say(note, `Collected ${name}, ${bytes(got)}. Read it with: profilez report ${name}`);
  } catch (error) {
    done();
    say(note, stop.signal.aborted ? "Cancelled; the service has undone the collection." : error.message);
  }
  bundle.stop = null;
  show($("bundle-stop"), false);
  show($("bundle-progress"), false);
  $("bundle-take").disabled = false;
}

function makeCollect() {
  $("bundle-take").addEventListener("click", takeBundle);
  $("bundle-stop").addEventListener("click", () => bundle.stop?.abort());
  $("bundle-seconds").addEventListener("input", drawLines);
}

function drawCollect(stats) {
  const can = stats.kinds.filter((kind) => kind.available);
  bundle.chosen ??= new Set(can.map((kind) => kind.kind).filter((kind) => usualKinds.has(kind)));
  for (const kind of bundle.chosen) if (!can.some((one) => one.kind === kind)) bundle.chosen.delete(kind);
  keep($("bundle-kinds"), can, (kind) => kind.kind,
    ({ kind }) => h("button", { type: "button", onclick: () => {
      if (!bundle.chosen.delete(kind)) bundle.chosen.add(kind);
      drawCollect(state.stats);
    } }, kind),
    (button, { kind }) => button.setAttribute("aria-pressed", String(bundle.chosen.has(kind))));
  $("bundle-take").disabled = bundle.stop != null || bundle.chosen.size === 0;
  $("bundle-seconds").max = $("flame-seconds").max = stats.limits.max_window_seconds;
  const cannot = stats.kinds.filter((kind) => !kind.available);
  keep($("missing"), cannot.length ? cannot : [null], (kind) => (kind ? `${kind.kind}${kind.reason}` : ""),
    (kind) => (kind
      ? h("p", { class: "note" }, h("b", {}, kind.kind), `: ${kind.reason}. `, kind.hint ? `To switch it on, ${kind.hint}.` : "")
      : h("p", { class: "note" }, "This process gives every kind of profile.")));
  drawLines();
}

/** The lines hold no secret: where one is needed, they name a variable. */
function drawLines() {
  const secret = token.get() != null;
  const plain = `${location.origin}${root}`;
  const withUser = secret ? plain.replace("://", "://x:$DEBUG_TOKEN@") : plain;
  const quoted = (text) => (secret ? `"${text}"` : text);
  const window = $("bundle-seconds").value || 10;
  const header = secret ? ` -H "Authorization: Bearer $DEBUG_TOKEN"` : "";
  const lines = [
    ["A bundle, and what is in it", `${secret ? 'PROFILEZ_TOKEN="$DEBUG_TOKEN" ' : ""}profilez collect ${plain.replace(/\/$/, "")} --duration ${window}s -o bundle.tar.gz && profilez report bundle.tar.gz`],
    ["The same with curl", `curl -fsS${header} -o bundle.tar.gz '${plain}profile?duration=${window}s'`],
    ["CPU in Go's viewer", `go tool pprof -http=: ${quoted(`${withUser}pprof/profile?seconds=${window}`)}`],
    ["Heap in Go's viewer", `go tool pprof -http=: ${quoted(`${withUser}pprof/heap`)}`],
    ["Every thread's stack", `curl -fsS${header} '${plain}goroutines?raw=true'`],
    ["A scrape target for Prometheus", `curl -fsS${header} '${plain}metrics'`],
  ];
  keep($("lines"), lines, ([name]) => name,
    ([name]) => {
      const code = h("code", { tabindex: "0" });
      const copy = h("button", { type: "button", class: "small", "aria-label": `Copy: ${name}`, onclick: async () => {
        try {
          await navigator.clipboard.writeText(code.textContent);
          toast("Copied");
        } catch {
          getSelection().selectAllChildren(code);
          toast("Selected: copy with Ctrl+C");
        }
      } }, "Copy");
      return h("div", {}, h("span", { class: "note" }, name), h("div", { class: "line" }, code, copy));
    },
    (element, [, line]) => say(element.querySelector("code"), line));
}
