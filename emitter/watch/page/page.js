// Shows what /api/status says, once a second while somebody looks. All text goes in as text, never as markup.
"use strict";

const POLL_MS = 1000;
const RETRY_MS = 3000;
const PATIENCE_MS = 5000;
const DAY_SECONDS = 86400;
const KINDS = { // [of one, of all]
  conflict: ["Another writer came first: looked again", "conflicts"],
  unknown: ["The reply to a commit was lost: read back what became of it", "unknown commits"],
  deduplicated: ["A commit had landed already: not done twice", "commits that had landed"],
  error: ["A commit failed", "failed commits"],
  retry: ["An attempt failed", "failed attempts"],
  upkeep: ["Upkeep failed: the next round tries again", "failures of upkeep"],
  verify: ["A verification", "verifications that found something, or did not end"],
  stop: ["The daemon gave up", "ends"],
};

const OUTCOMES = {
  ok: "went well",
  failed: "failed in part; the next one tries again",
  killed: "was ended: it took too long or too much memory",
  skipped: "was left to another process, which looks after these tables",
};
const TASKS = { // what came of it, from the files removed and written
  compact: (removed, written) => `${count(removed, "small file")} put into ${whole(written)}`,
  checkpoint: () => "log summed up",
  expire: (removed) => (removed ? `${count(removed, "old version")} forgotten` : "old versions forgotten"),
  vacuum: (removed) => `${count(removed, "unused file")} removed`,
};

const byId = (id) => document.getElementById(id);
let timer = 0;
let version = "";
let lastAnswer = null;
let drawn = "";

function show(target, text) {
  const element = typeof target === "string" ? byId(target) : target;
  if (element.textContent !== text) element.textContent = text;
}

// Numbers and times

const whole = (value) => Math.round(value).toLocaleString("en");
const count = (number, of) => `${whole(number)} ${of}${number === 1 ? "" : "s"}`;
const short = (value) => value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
const seconds = (time) => Date.parse(time) / 1000;
const clockOf = (time) => time.slice(11, 19);
const dateOf = (time, form) =>
  new Date(time).toLocaleDateString("en-GB", { timeZone: "UTC", day: "numeric", month: "short", year: "numeric", ...form });

// The day only where it is another than that of `now`.
const momentText = (time, now) =>
  (time.slice(0, 10) === now.slice(0, 10) ? "" : `${dateOf(time, { year: undefined })}, `) + clockOf(time);

function rateText(value) {
  return value >= 100 || value === 0 ? whole(value) : value.toPrecision(value >= 1 ? 3 : 2);
}

function sizeText(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit += 1) bytes /= 1000;
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

function durationText(value) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const found = units.findIndex(([, size]) => value >= size);
  const place = found < 0 ? units.length - 1 : found;
  const [unit, size] = units[place];
  const [smaller, smallerSize] = units[place + 1] ?? ["", size];
  const rest = Math.floor((value % size) / smallerSize);
  return `${Math.floor(value / size)} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`;
}

function tookText(value) {
  return value < 1 ? `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(1)} s`;
}

// What is shown

function showState(kind, text, message = "") {
  document.body.className = `is-${kind}`;
  show("state", text);
  show("message", message);
  byId("message").hidden = !message;
  document.title = kind === "well" ? "emitter" : `${text} · emitter`;
}

function showHead(status) {
  if (status.reason.startsWith("standby")) {
    showState("waiting", "Standby", status.reason.slice(9));
  } else if (status.reason === "starting") {
    showState("waiting", "Starting", "Taking the lock, reading the journal, recovering.");
  } else if (!status.ready) {
    showState("broken", "Not ready", status.retrying || status.reason);
  } else if (status.retrying) {
    showState("waiting", "Retrying", status.retrying);
  } else if (status.reason) {
    showState("waiting", "Catching up");
  } else {
    showState("well", "Running");
  }
  if (status.run_id === null) return;
  const shard = status.slice === "0-of-1" ? "" : `, slice ${status.slice}`;
  show("what", `${status.domain} as ${status.format} into ${status.output}${shard}`);
  show("about", `emitter ${status.version} · run ${status.run_id.slice(0, 8)} · for ${durationText(status.running_seconds)}`);
}

function showNumbers(status) {
  const speed = { 1: "real time", max: "no waiting" }[status.speed] ?? `${status.speed.toLocaleString("en")}×`;
  show("simulated", clockOf(status.simulated_time));
  show("simulated-more", `${dateOf(status.simulated_time, { weekday: "short" })} · ${speed}`);
  show("wall", clockOf(status.wall_time));
  show("wall-more", `${dateOf(status.wall_time)} · UTC`);
  show("rate", rateText(status.rows_per_second));
  const target = status.target_rows_per_second;
  show("rate-more", target === null ? "no limit asked for" : `asked for: ${rateText(target)}`);
  document.body.classList.toggle("is-behind", Boolean(status.reason));
  const usualSeconds = Math.max(2 * status.batch_seconds, status.speed === "max" ? 0 : 10 * status.speed);
  show("lag", !status.reason && status.lag_seconds <= usualSeconds ? "on time" : durationText(status.lag_seconds));
  const step = status.last_step;
  const level = status.level_in_seconds;
  show("lag-more", status.reason
    ? `about ${short(status.debt_rows)} rows due${level === null ? "" : `, level in ${durationText(Math.max(1, level))}`}`
    : step ? `latest: ${whole(step.rows)} rows in ${tookText(step.seconds)}` : "no batch yet");
}

function showAhead(status) {
  const [next] = status.inputs_ahead;
  byId("ahead").hidden = !next;
  if (!next) return;
  const wait = next.in_seconds === null ? "" : `, in ${durationText(next.in_seconds)}`;
  show("ahead", `From ${dateOf(next.from_time)}, ${clockOf(next.from_time)} on${wait}: ${next.changes}`);
}

function rateAt(points, second) {
  const after = points.findIndex(([at]) => at >= second);
  if (after < 0) return points.at(-1)[1];
  if (after === 0) return points[0][1];
  const [[begin, low], [end, high]] = [points[after - 1], points[after]];
  return end === begin ? high : low + ((high - low) * (second - begin)) / (end - begin);
}

function roundAbove(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * unit >= value);
}

function showDay(status) {
  const scale = status.speed === "max" ? 1 : status.speed;
  const points = status.curve.points.map(([second, rate]) => [second, rate * scale]);
  const rates = points.map(([, rate]) => rate);
  const [lowest, highest] = [Math.min(...rates), Math.max(...rates)];
  const top = roundAbove(highest * 1.08 || 1);
  const unit = status.speed === "max" ? "rows per simulated second" : "rows/s";
  if (drawn !== JSON.stringify([points, top])) {
    drawn = JSON.stringify([points, top]);
    const line = points.map(([second, rate]) => `${second} ${(1000 - (1000 * rate) / top).toFixed(1)}`).join("L");
    for (const path of document.querySelectorAll(".chart .line")) path.setAttribute("d", `M${line}`);
    for (const path of document.querySelectorAll(".chart .area")) {
      path.setAttribute("d", `M${points[0][0]} 1000L${line}L${points.at(-1)[0]} 1000Z`);
    }
    show("rate-max", `${rateText(top)} ${unit}`);
    show("rate-half", rateText(top / 2));
  }
  const from = seconds(status.curve.from_time);
  const inDay = (time) => Math.min(Math.max(seconds(time) - from, 0), DAY_SECONDS);
  const [done, now] = [inDay(status.reached_time), inDay(status.simulated_time)];
  byId("done").setAttribute("width", done);
  byId("due").setAttribute("width", status.reason ? now : done);
  const here = status.reason ? done : now;
  const rate = rateAt(points, here); // on the line, which is straight from hour to hour
  const asked = status.target_rows_per_second ?? rate;
  byId("now").style.left = `${(100 * here) / DAY_SECONDS}%`;
  byId("now").style.height = `${(100 * rate) / top}%`;
  const timeText = (second) =>
    second === DAY_SECONDS ? "24:00" : clockOf(new Date(second * 1000).toISOString()).slice(0, 5);
  const timeOf = (value) => timeText(points[rates.indexOf(value)][0]);
  show("day-text",
    `${dateOf(status.curve.from_time, { weekday: "long", month: "long" })} (UTC): from ${rateText(lowest)} ${unit} at ` +
    `${timeOf(lowest)} up to ${rateText(highest)} at ${timeOf(highest)}. At ${timeText(here)} it is ${rateText(asked)}.`);
}

function showTables(status) {
  const titles = [...document.querySelectorAll("#tables thead th")].map((title) => title.textContent);
  fill(document.querySelector("#tables tbody"), titles, status.tables.map((table) => {
    const age = table.commit_time === null ? null : Math.max(0, seconds(status.wall_time) - seconds(table.commit_time));
    return [
      table.name,
      rateText(table.rows_per_second),
      table.target_rows_per_second === null ? "max" : rateText(table.target_rows_per_second),
      whole(table.rows),
      sizeText(table.bytes),
      whole(table.files),
      age === null ? "–" : `${durationText(age)} ago`,
      table.commit_seconds === null ? "–" : tookText(table.commit_seconds),
      table.commit_to_time === null ? "–" : momentText(table.commit_to_time, status.simulated_time),
    ];
  }));
}

// The texts of each row of a table.
function fill(body, titles, lines) {
  while (body.rows.length > lines.length) body.deleteRow(-1);
  lines.forEach((texts, place) => {
    const row = body.rows[place] ?? newRow(body, titles);
    texts.forEach((text, column) => show(row.cells[column], text));
  });
}

function newRow(body, titles) {
  const row = body.insertRow();
  row.setAttribute("role", "row");
  titles.forEach((title, column) => {
    const cell = document.createElement(column ? "td" : "th");
    cell.setAttribute("role", column ? "cell" : "rowheader");
    if (!column) cell.scope = "row";
    cell.dataset.label = title;
    row.append(cell);
  });
  return row;
}

function doneText({ task, files_removed, files_written, conflicts, failures }) {
  const asides = [failures && `${whole(failures)} failed`, conflicts && count(conflicts, "conflict")].filter(Boolean);
  const idle = failures && !files_removed && !files_written;
  const text = idle ? task : TASKS[task](files_removed, files_written);
  return asides.length ? `${text} (${asides.join(", ")})` : text;
}

function showUpkeep(status) {
  const { last_round: round, tables } = status.upkeep;
  byId("upkeep").hidden = !round;
  if (!round) return;
  const ago = (time) => `${durationText(Math.max(0, seconds(status.wall_time) - seconds(time)))} ago`;
  const what = round.outcome === "skipped" ? "" : round.chores
    ? `: ${count(round.chores, "chore")} in ${tookText(round.seconds)}` +
      (round.freed_bytes ? `, ${sizeText(round.freed_bytes)} freed` : "")
    : ": nothing was to be done";
  show("upkeep-text", `The last round, ${ago(round.time)}, ${OUTCOMES[round.outcome]}${what}.` +
    (round.problem ? ` ${round.problem}.` : ""));
  byId("upkeep-text").className = round.outcome === "ok" || round.outcome === "skipped" ? "" : "is-bad";
  const [table, note] = [document.querySelector("#upkeep table"), document.querySelector("#upkeep .note")];
  table.hidden = note.hidden = !tables.length;
  const titles = [...table.querySelectorAll("thead th")].map((title) => title.textContent);
  fill(table.tBodies[0], titles, tables.map((one) => [
    one.name,
    one.files === null ? "–" : whole(one.files),
    one.bytes === null ? "–" : sizeText(one.bytes),
    one.freed_bytes ? sizeText(one.freed_bytes) : "–",
    one.done_time === null ? "–" : ago(one.done_time),
    one.tasks.map(doneText).join(" · ") || "–",
  ]));
}

function showVerification(status) {
  const last = status.verification;
  byId("verification").hidden = !last;
  if (!last) return;
  const ago = (time) => `${durationText(Math.max(0, seconds(status.wall_time) - seconds(time)))} ago`;
  const when = `The last one, ${ago(last.time)},`;
  const span = last.from_time && `${momentText(last.from_time, last.to_time)} to ${momentText(last.to_time, "")}`;
  const success = last.last_success_time ? ` The last that found nothing was ${ago(last.last_success_time)}.` : "";
  const tables = last.tables.map(({ name, ...counts }) => {
    const said = Object.entries(counts).filter(([, number]) => number);
    return said.length ? `${name}: ${said.map(([kind, number]) => `${whole(number)} ${kind.replace("_", " ")}`).join(", ")}` : "";
  }).filter(Boolean);
  const texts = {
    ok: () => `${when} found all ${count(last.rows, "row")} of ${span} as they should be, in ${tookText(last.seconds)}.`,
    different: () => `${when} found differences in ${span}: ${tables.join("; ")}.${success}`,
    skipped: () => "It is left to another process, which verifies these tables.",
  };
  show("verification-text", (texts[last.outcome] ?? (() => `${when} came to no verdict: ${last.problem}.${success}`))());
  byId("verification-text").className = last.outcome === "ok" || last.outcome === "skipped" ? "" : "is-bad";
}

function showFaults(status) {
  const { counts, recent } = status.faults;
  const said = Object.entries(counts).filter(([, count]) => count).map(([kind, count]) => `${KINDS[kind][1]}: ${whole(count)}`);
  show("faults-text", said.join(" · ") || "None.");
  const list = document.querySelector("#faults ol");
  list.hidden = !recent.length;
  while (list.children.length > recent.length) list.lastChild.remove();
  recent.forEach((fault, place) => {
    const item = list.children[place] ?? newFault(list);
    const [time, what, count] = item.children;
    show(time, clockOf(fault.time));
    time.dateTime = fault.time;
    show(what, [KINDS[fault.kind][0], fault.table && `(${fault.table})`, fault.text && `– ${fault.text}`].filter(Boolean).join(" "));
    show(count, fault.count > 1 ? `${whole(fault.count)}×` : "");
  });
}

function newFault(list) {
  const item = document.createElement("li");
  item.append(document.createElement("time"), document.createElement("span"), document.createElement("b"));
  list.append(item);
  return item;
}

function showStatus(status) {
  showHead(status);
  const isAtWork = status.run_id !== null;
  for (const id of ["numbers", "day", "tables", "faults"]) byId(id).hidden = !isAtWork;
  if (!isAtWork) for (const id of ["upkeep", "verification"]) byId(id).hidden = true;
  if (!isAtWork) return;
  showNumbers(status);
  showAhead(status);
  showDay(status);
  showTables(status);
  showUpkeep(status);
  showVerification(status);
  showFaults(status);
}

function showGone() {
  const since = lastAnswer ? ` What is shown is of ${clockOf(lastAnswer)} UTC.` : "";
  showState("broken", "No answer", `The daemon does not answer: it has stopped, or the way to it is cut.${since} Trying again.`);
  document.body.classList.add("is-gone");
}

// Asking

// The status, or null where there is no answer.
async function ask() {
  try {
    const response = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden) return; // and go on when somebody looks again
  const status = await ask();
  clearTimeout(timer);
  timer = setTimeout(poll, status ? POLL_MS - (Date.now() % POLL_MS) : RETRY_MS); // in step with the clock that is shown
  if (status === null) {
    showGone();
    return;
  }
  if (version && version !== status.version) location.reload(); // another release came in its place
  version = status.version;
  lastAnswer = status.wall_time;
  showStatus(status);
}

document.addEventListener("visibilitychange", poll);
poll();
