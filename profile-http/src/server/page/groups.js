// Threads and tasks in groups: those that look stuck first, as the server orders them.

const groups = {
  table: null, category: "all", state: "", search: "", totals: [],
  hidden: new Set(),
};
try {
  groups.hidden = new Set(JSON.parse(kept.get("hidden") ?? "[]"));
} catch { /* What is kept is no list: nothing is hidden. */ }

/** The same for a group while its count and its waits change. */
const groupKey = (group) => `${group.state}\n${group.stack.join("\n")}\n${group.created_by ?? ""}`;
const isStuck = (group) => group.stuck != null;
const isLong = (group) => (group.wait_minutes ?? 0) >= 1;

/** The frame that the server takes for the user's, else the first. */
function placeOf(group) {
  const frames = group.stack.map(frameOf);
  return frames.find(({ name }) => name === group.user_func) ?? frames[0] ??
    { name: group.top_func || "(no stack)", file: "", line: 0 };
}

/** What the members are called: the names of threads and tasks, without their numbers. */
function namesOf(group) {
  const names = group.labels.filter(({ key }) => key === "thread" || key === "task").map(({ value }) => value);
  const kinds = [...new Set(names.map((name) => name.replace(/[-_ #]?\d+$/, "")))];
  return kinds.slice(0, 3).join(", ") + (kinds.length > 3 ? " …" : "");
}

const fileOf = (group) => placeOf(group).file;

const categories = [
  ["all", "All", () => true],
  ["stuck", "Stuck", isStuck],
  ["per-request", "Per request", (group) => group.category === "per-request"],
  ["background", "Background", (group) => group.category === "background"],
  ["unknown", "Unknown", (group) => group.category === "unknown"],
];

function makeGroups() {
  groups.table = table($("groups"), {
    label: "Groups of threads and tasks", key: groupKey, sort: null,
    columns: [
      { name: "Where", class: "what", cell: (cell, group) => {
        const { name, file, line } = placeOf(group);
        placeCell(cell, name, file, line);
      } },
      { name: "Name", class: "wide", cell: (cell, group) => say(cell, namesOf(group)) },
      { name: "Count", class: "num", cell: (cell, group) => say(cell, `${count(group.count)}×`) },
      { name: "State", cell: (cell, group) => say(cell, group.wait_reason && group.wait_reason !== group.state ? `${group.state} · ${group.wait_reason}` : group.state) },
      { name: "Waits", class: "num", cell: (cell, group) => say(cell, group.wait_minutes ? `${group.wait_minutes} min` : "") },
      { name: "Category", cell: (cell, group) => {
        if (!cell.badge) {
          cell.badge = cell.appendChild(h("span", { class: "badge" }));
          cell.append(" ");
          cell.stuck = cell.appendChild(h("span", { class: "badge bad" }, "stuck?"));
        }
        cell.badge.className = `badge ${group.category === "background" ? "good" : group.category === "unknown" ? "" : "warn"}`;
        say(cell.badge, group.category);
        show(cell.stuck, isStuck(group));
      } },
      { name: "", class: "num", cell: (cell, group) => {
        const file = fileOf(group);
        if (!cell.hide) {
          cell.hide = cell.appendChild(h("button", { type: "button", class: "link", onclick: () => hide(cell.file) }, "hide"));
        }
        cell.file = file;
        cell.hide.title = `Hide every group of ${file}`;
        cell.hide.setAttribute("aria-label", `Hide every group of ${shortPath(file)}`);
        show(cell.hide, file !== "");
      } },
    ],
    detail: groupDetail,
    facts: (group) => JSON.stringify([group.stuck, group.rule, group.created_by, group.ids, group.labels, group.wait]),
    empty: () => (state.goroutines ? "No group matches the filters." : "Not looked yet."),
  });
  $("group-search").addEventListener("input", (event) => {
    groups.search = event.target.value.toLowerCase();
    drawGroups();
  });
  $("group-state").addEventListener("change", (event) => {
    groups.state = event.target.value;
    drawGroups();
  });
  $("unhide").addEventListener("click", () => {
    groups.hidden.clear();
    kept.set("hidden", null);
    drawGroups();
  });
}

function hide(file) {
  groups.hidden.add(file);
  kept.set("hidden", JSON.stringify([...groups.hidden]));
  drawGroups();
}

/** What an open group shows: whatever the server tells of it, and its stack. */
function groupDetail(group) {
  const { wait } = group;
  const facts = [
    ["why it looks stuck", group.stuck?.why], ["rule", group.rule], ["created by", group.created_by],
    ["waits", wait.known && group.count > 1 ? `${wait.min} to ${wait.max} min, median ${wait.median} min, of ${count(wait.known)}` : ""],
    ["ids", group.ids.join(", ")],
    ["labels", group.labels.map(({ key, value, count: n }) => `${key}: ${value}${n > 1 ? ` (${n}×)` : ""}`).join(", ")],
  ].filter(([, value]) => value);
  return [
    facts.length ? h("dl", { class: "more" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))) : "",
    stackList(group.stack),
  ];
}

function drawGroups() {
  const told = state.goroutines;
  if (!told) return;
  const all = told.groups;
  keep($("categories"), categories, ([id]) => id,
    ([id, name]) => h("button", { type: "button", "data-category": id, onclick: () => { groups.category = id; drawGroups(); } }, name),
    (button, [id, name, test]) => {
      const sum = all.filter(test).reduce((total, group) => total + group.count, 0);
      button.setAttribute("aria-pressed", String(groups.category === id));
      say(button, `${name} ${count(sum)}`);
    });
  const states = [...new Set(all.map((group) => group.state))].sort();
  keep($("group-state"), ["", ...states], (name) => name,
    (name) => h("option", { value: name }, name || "any"));
  $("group-state").value = groups.state;
  const test = categories.find(([id]) => id === groups.category)[2];
  const matches = all.filter((group) => test(group) &&
    (!groups.state || group.state === groups.state) &&
    (!groups.search || `${group.top_func} ${group.stack.join(" ")} ${JSON.stringify(group.labels ?? "")}`.toLowerCase().includes(groups.search)));
  const shown = matches.filter((group) => !groups.hidden.has(fileOf(group)));
  groups.table.set(shown.slice(0, 300));
  show($("unhide"), groups.hidden.size > 0);
  say($("unhide"), `Clear ${groups.hidden.size} hidden`);
  const out = matches.length - shown.length;
  say($("groups-note"), [
    `${count(shown.length)} of ${count(all.length)} groups`,
    out ? `${out} hidden by their source file` : "",
    shown.length > 300 ? "the first 300 are shown" : "",
    `looked at ${clock(told.timestamp)}`,
  ].filter(Boolean).join(" · "));
}

/** Badges and counters: of all there is, whatever the filters say. */
function drawHealth() {
  const told = state.goroutines;
  if (!told) return;
  const total = told.total_goroutines;
  const sum = told.summary;
  groups.totals.push(total);
  if (groups.totals.length > 6) groups.totals.shift();
  const before = groups.totals.slice(0, -1);
  const mean = before.reduce((all, value) => all + value, 0) / before.length;
  const growth = before.length >= 2 && total > 1.1 * mean ? Math.round(100 * (total / mean - 1)) : 0;
  const unknownCount = sum.unknown ?? total - sum.background - sum.per_request;
  const badges = [
    growth ? ["warn", `Growing +${growth} %`] : null,
    sum.potentially_stuck ? ["bad", `${count(sum.potentially_stuck)} stuck`] : null,
    sum.long_waiting ? ["warn", `${count(sum.long_waiting)} waiting long`] : null,
  ].filter(Boolean);
  // What nobody can classify is not healthy, only not known to be ill.
  if (!badges.length) badges.push(unknownCount ? ["", "No trouble known"] : ["good", "Healthy"]);
  keep($("badges"), badges, ([, text]) => text, ([kind, text]) => h("span", { class: `badge ${kind}` }, text));
  const counters = [
    ["Total", total], ["Background", sum.background], ["Per request", sum.per_request],
    ["Unknown", unknownCount], ["Waiting long", sum.long_waiting], ["Stuck", sum.potentially_stuck],
  ];
  keep($("counters"), counters, ([name]) => name,
    ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
    (element, [name, value]) => {
      say(element.lastChild, count(value));
      element.toggleAttribute("data-bad", name === "Stuck" && value > 0);
    });
}
