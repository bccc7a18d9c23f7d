// What is known, how it is drawn, and when it is asked for.

const state = { stats: null, goroutines: null, points: [], paused: false, locked: false, opened: Date.now() };
/** A day at two seconds; what is older is dropped. */
const MOST_POINTS = 43_200;

const figures = [
  { name: "CPU", value: (s) => s.cpu.usage_percent, format: (v) => percent(v) },
  { name: "Heap allocated", value: (s) => s.memory.alloc, format: bytes },
  { name: "Heap in use", value: (s) => s.memory.heap_inuse, format: bytes },
  { name: "Heap objects", value: (s) => s.memory.heap_objects, format: count },
  { name: "Ever allocated", value: (s) => s.memory.total_alloc, format: bytes },
  { name: "Resident", value: (s) => s.memory.sys, format: bytes },
  { name: "Threads", value: (s) => s.runtime.num_threads, format: count },
  { name: "Tasks", value: (s) => s.runtime.num_tasks, format: count },
  { name: "Descriptors", value: (s) => s.runtime.descriptors, format: count },
  { name: "Queued tasks", value: (s) => s.runtime.queued_tasks, format: count },
  { name: "Memory pressure", value: (s) => s.memory.pressure_percent, format: (v) => percent(v) },
  { name: "Context switches", value: (s) => sum(s.runtime.voluntary_switches, s.runtime.involuntary_switches), format: count },
  { name: "Major page faults", value: (s) => s.memory.major_faults, format: count },
];

function sum(a, b) {
  return a == null && b == null ? null : (a ?? 0) + (b ?? 0);
}

/** Puts the server's history and its latest figures into the page's own, which is finer. */
function remember(stats) {
  stats.time = Date.parse(stats.timestamp);
  const known = new Set(state.points.map((point) => point.time));
  const add = (time, point) => { if (!known.has(time)) state.points.push({ time, ...point }); };
  for (const point of stats.history) {
    add(Date.parse(point.timestamp), {
      cpu: point.cpu_percent, alloc: point.alloc, inuse: point.heap_inuse, resident: point.resident,
      threads: point.threads, tasks: point.tasks, descriptors: point.descriptors,
    });
  }
  add(stats.time, {
    cpu: stats.cpu.usage_percent, alloc: stats.memory.alloc, inuse: stats.memory.heap_inuse,
    resident: stats.memory.sys, threads: stats.runtime.num_threads, tasks: stats.runtime.num_tasks,
    descriptors: stats.runtime.descriptors,
  });
  state.points.sort((a, b) => a.time - b.time);
  if (state.points.length > MOST_POINTS) state.points.splice(0, state.points.length - MOST_POINTS);
  // Where nobody looked for longer than the collector's period, there is no line.
  const period = (stats.interval_seconds ?? 10) * 1000;
  state.points.forEach((point, index) => {
    point.gap = index > 0 && point.time - state.points[index - 1].time > 2.5 * Math.max(period, 1000 * Number($("interval").value));
  });
}

function drawHead(stats) {
  const { process, limits } = stats;
  document.title = `${process.service} · profilez`;
  say($("service"), process.service);
  say($("version"), process.version);
  show($("version"), process.version !== "");
  const facts = [
    ["host", process.host], ["pid", process.pid], ["program", process.program !== process.service ? process.program : ""],
    ["build", process.build_id.slice(0, 12)], ["serving for", seconds(process.serving_seconds)],
    ["CPUs", limits.cpu_cores ? `${limits.cpu_cores} of ${stats.runtime.num_cpu}` : stats.runtime.num_cpu],
    ["memory limit", limits.memory ? bytes(limits.memory) : "none"],
    ["descriptors", limits.descriptors ? `at most ${count(limits.descriptors)}` : ""],
  ].filter(([, value]) => value !== "" && value != null);
  keep($("where"), facts, ([name]) => name, ([name]) => h("span", {}, `${name} `, h("b")),
    (element, [name, value]) => {
      say(element.lastChild, value);
      if (name === "build") element.title = process.build_id;
    });
}

function drawCards(stats) {
  const { memory, cpu, runtime, limits } = stats;
  const cores = limits.cpu_cores ?? runtime.num_cpu ?? 1;
  const before = state.points.slice(-31, -1).map((p) => sum(p.threads, p.tasks)).filter((v) => v != null);
  const mean = before.reduce((all, value) => all + value, 0) / (before.length || 1);
  const growth = before.length >= 5 && runtime.num_goroutine > 1.1 * mean ? Math.round(100 * (runtime.num_goroutine / mean - 1)) : 0;
  const cards = [
    { name: "CPU usage", value: percent(cpu.usage_percent), part: cpu.usage_percent == null ? null : cpu.usage_percent / (100 * cores),
      below: cpu.user_time == null ? "no figure yet" : `${seconds(cpu.user_time)} user, ${seconds(cpu.system_time)} system in ${seconds(cpu.interval_seconds)}` },
    { name: "Heap allocated", value: bytes(memory.alloc), below: memory.alloc == null ? "this allocator keeps no figures" : [memory.heap_objects == null ? "" : `${count(memory.heap_objects)} objects`, memory.source ? `by ${memory.source}` : ""].filter(Boolean).join(", ") },
    { name: "Heap in use", value: bytes(memory.heap_inuse), below: memory.heap_inuse == null ? "this allocator keeps no figures" : memory.alloc == null ? "" : `${percent(100 * (1 - memory.alloc / memory.heap_inuse))} of it not in blocks` },
    { name: "System memory", value: bytes(memory.sys), part: limits.memory ? memory.sys / limits.memory : null, below: limits.memory ? `of ${bytes(limits.memory)}` : memory.mapped == null ? "" : `${bytes(memory.mapped)} mapped` },
    { name: "Threads and tasks", value: count(runtime.num_goroutine), up: growth ? `↑ ${growth} %` : "", below: `${count(runtime.num_threads)} threads, ${runtime.num_tasks == null ? "tasks not counted" : `${count(runtime.num_tasks)} tasks`}` },
    { name: "Held back", value: cpu.throttled_seconds == null ? unknown : seconds(cpu.throttled_seconds), below: cpu.throttled_seconds == null ? "no CPU quota known" : `${count(cpu.throttled_periods)} times by the CPU quota${memory.pressure_percent == null ? "" : `; memory pressure ${percent(memory.pressure_percent)}`}` },
  ];
  keep($("cards"), cards, (card) => card.name,
    (card) => h("div", { class: "card" }, h("div", { class: "name" }, card.name),
      h("div", { class: "value" }, h("span"), " ", h("small", { class: "up" })), h("div", { class: "bar", hidden: true }, h("i")), h("div", { class: "below" })),
    (element, card) => {
      const [, value, bar, below] = element.children;
      say(value.firstChild, card.value);
      say(value.lastChild, card.up ?? "");
      say(below, card.below);
      show(bar, card.part != null);
      bar.toggleAttribute("data-high", card.part > .85);
      bar.firstChild.style.width = `${Math.min(100, 100 * (card.part ?? 0))}%`;
    });
  const more = [
    ["CPUs", count(runtime.num_cpu)], ["workers", runtime.workers], ["queued tasks", runtime.queued_tasks],
    ["workers busy", runtime.workers_busy_seconds == null ? null : seconds(runtime.workers_busy_seconds)],
    ["descriptors", runtime.descriptors == null ? null : count(runtime.descriptors)],
    ["context switches", runtime.voluntary_switches == null ? null : `${count(runtime.voluntary_switches)} waits, ${count(runtime.involuntary_switches)} preemptions`],
    ["page faults", memory.minor_faults == null ? null : `${count(memory.minor_faults)} minor, ${count(memory.major_faults)} major`],
    ["heap objects", memory.heap_objects == null ? null : count(memory.heap_objects)],
    ["ever allocated", memory.total_alloc == null ? null : bytes(memory.total_alloc)],
    ["control group uses", memory.cgroup_used == null ? null : bytes(memory.cgroup_used)],
    ["CPU since the start", cpu.total_user_seconds == null ? null : `${seconds(cpu.total_user_seconds)} user, ${seconds(cpu.total_system_seconds)} system`],
  ].filter(([, value]) => value != null);
  keep($("more"), more, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
    (element, [, value]) => say(element.lastChild, value));
}

function draw() {
  const { stats } = state;
  if (!stats) return;
  drawHead(stats);
  drawCards(stats);
  drawCharts();
  drawLeaks(stats);
  drawAllocations(stats);
  drawFlameKinds(stats.kinds);
  drawCollect(stats);
  drawCompare();
  const errors = stats.errors ?? [];
  show($("trouble"), errors.length > 0);
  say($("trouble"), errors.join("; "));
}

/** Puts the frames into the stacks, which name them by their numbers. */
function withStacks(stats) {
  const { frames, top_allocations, inuse_allocations, potential_leaks } = stats;
  for (const row of [top_allocations, inuse_allocations, potential_leaks].flat()) {
    row.stack = row.stack.map((number) => frames[number]);
  }
  return stats;
}

async function lookStats() {
  const stats = withStacks(await askJson("stats?limit=200&stacks=table"));
  const first = state.stats == null;
  remember(stats);
  state.stats = stats;
  if (first) {
    show($("main"), true);
    setBase(stats);
    mark("page opened");
  }
  unlocked();
  draw();
}

async function lookGroups() {
  const told = await askJson("goroutines");
  state.goroutines = told;
  // The moment the page was opened has its groups from the first look.
  if (moments.all[0] && !moments.all[0].goroutines) moments.all[0].goroutines = told;
  drawHealth();
  drawGroups();
  drawCompare();
}

function tell(is, error) {
  if (state.locked) return;
  const words = { live: "live", slow: "busy", down: "no answer", paused: "paused", locked: "locked" };
  $("status").dataset.is = is;
  $("status").title = error?.message ?? "";
  say($("status").querySelector(".text"), words[is] ?? is);
}

function locked(why) {
  tell("locked");
  state.locked = true;
  show($("lock"), true);
  show($("main"), false);
  say($("lock-error"), why);
  $("token").focus();
}

function unlocked() {
  if (!state.locked) return;
  state.locked = false;
  show($("lock"), false);
  show($("main"), true);
}

const may = () => !state.paused && !state.locked;
const statsPoll = poll(lookStats, () => Number($("interval").value), may, tell);
const groupsPoll = poll(lookGroups, () => Math.max(10, Number($("interval").value)), may,
  (is, error) => { if (is !== "live" && error) say($("groups-note"), error.message); });

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  kept.set("theme", theme);
  say($("theme"), { dark: "☾", light: "☀" }[theme] ?? "◐");
  $("theme").setAttribute("aria-label", `Theme: ${theme ?? "as the system"}`);
  $("theme").title = $("theme").getAttribute("aria-label");
  drawCharts();
  drawFlame();
}

function start() {
  makeTables();
  makeGroups();
  makeFlame();
  makeCollect();
  makeCompare();
  const points = () => state.points;
  chart("cpu", "CPU", [
    { name: "CPU", colour: "--s1", filled: true, value: (p) => p.cpu, format: (v) => percent(v) },
    { name: "threads and tasks", colour: "--s4", right: true, value: (p) => sum(p.threads, p.tasks), format: count },
  ], points);
  chart("memory", "Memory", [
    { name: "resident", colour: "--s2", binary: true, filled: true, value: (p) => p.resident, format: bytes },
    { name: "heap in use", colour: "--s3", binary: true, value: (p) => p.inuse, format: bytes },
    { name: "allocated", colour: "--s1", binary: true, value: (p) => p.alloc, format: bytes },
    { name: "limit", colour: "--soft", dashed: true, binary: true, format: bytes,
      value: (p) => { const limit = state.stats?.limits.memory; return limit && p.resident > limit / 4 ? limit : null; } },
  ], points);
  chart("threads", "Threads and tasks", [
    { name: "threads", colour: "--s2", value: (p) => p.threads, format: count },
    { name: "tasks", colour: "--s3", value: (p) => p.tasks, format: count },
    { name: "descriptors", colour: "--s4", value: (p) => p.descriptors, format: count },
  ], points);

  $("zoom-reset").addEventListener("click", () => setView(null, null));
  $("interval").addEventListener("change", () => { statsPoll.now(); groupsPoll.again(); });
  $("pause").addEventListener("click", () => {
    state.paused = !state.paused;
    $("pause").setAttribute("aria-pressed", String(state.paused));
    say($("pause"), state.paused ? "Go on" : "Pause");
    if (state.paused) { statsPoll.stop(); groupsPoll.stop(); tell("paused"); }
    else { statsPoll.now(); groupsPoll.now(); }
  });
  $("groups-refresh").addEventListener("click", () => (may() ? groupsPoll.now() : lookGroups()));
  $("save").addEventListener("click", () => {
    const { stats, goroutines, points: history } = state;
    const shown = { stats, goroutines, history, moments: moments.all.map(({ name, time }) => ({ name, time })), flame: flame.told };
    download(`${fileStem()}.json`, JSON.stringify(shown, null, 1), "application/json");
  });
  $("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? null;
    setTheme({ null: "dark", dark: "light", light: null }[now]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawCharts(); drawFlame(); });
  setTheme(kept.get("theme"));

  $("lock-form").addEventListener("submit", (event) => {
    event.preventDefault();
    token.set($("token").value.trim());
    $("token").value = "";
    say($("lock-error"), "");
    state.locked = false;
    show($("lock"), false);
    statsPoll.now();
    groupsPoll.now();
  });
  const links = [...document.querySelectorAll("nav a")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const link = links.find((one) => one.hash === `#${entry.target.id}`);
      if (entry.isIntersecting) links.forEach((one) => one.toggleAttribute("aria-current", one === link));
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));

  statsPoll.now();
  groupsPoll.now();
}

start();
