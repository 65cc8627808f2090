// What students and people write is only ever put in as textContent and value.
const by = (id) => document.getElementById(id);
const state = { roles: [], turns: [], first: [], who: "", edited: -1, given: 0, question: "", running: null };

function element(tag, classes = "", text = "") {
  const made = document.createElement(tag);
  made.className = classes;
  made.textContent = text;
  return made;
}

const signed = (value, digits) => value.toFixed(digits).replace(/^-(?=0*\.?0*$)/, "").replace("-", "−");

function percent(logProbability) {
  const share = 100 * Math.exp(logProbability);
  return share >= 99.95 ? "100 %" : share < 0.1 ? "< 0.1 %" : `${share.toPrecision(3)} %`;
}

function piece([text, logProbability]) {
  if (logProbability === null) return element("span", "", text);
  const p = Math.exp(logProbability);
  const made = element("span", `piece ${p < 0.1 ? "p3" : p < 0.5 ? "p2" : p < 0.9 ? "p1" : ""}`, text);
  made.dataset.tip = `${percent(logProbability)}   log-probability ${signed(logProbability, 3)}`;
  return made;
}

const textOf = (turn) => turn.pieces.map(([text]) => text).join("");

function turnElement(turn, index, mayEdit = true) {
  const ends = turn.ended && !textOf(turn) && index >= state.given && turn.last;
  const item = element("li", `turn role-${Math.max(0, state.roles.indexOf(turn.role)) % 3}`);
  item.classList.toggle("writing", !turn.ended && state.running !== null);
  item.classList.toggle("ends", Boolean(ends));
  const role = element("span", "role", turn.role);
  if (index === state.edited) role.append(element("small", "", "edited by you"));
  if (ends) role.append(element("small", "", "ends the dialogue"));
  const about = element("span", "about");
  const known = turn.pieces.every(([, value]) => value !== null);
  if (known) {
    const sum = turn.pieces.reduce((total, [, value]) => total + value, 0);
    const number = element("span", "sum", `log p ${signed(sum, 2)}`);
    number.dataset.tip = `${percent(sum)}   probability of the whole turn`;
    about.append(number);
  }
  item.append(role, about);
  if (ends) return item;
  // Nobody here can continue a teacher's text.
  if (state.running === null && mayEdit && turn.role !== "teacher") {
    const edit = element("button", "edit", "Edit");
    edit.type = "button";
    edit.addEventListener("click", () => beginEdit(item, turn, index));
    about.append(edit);
  }
  const words = element("p", "words text");
  words.append(...turn.pieces.map(piece));
  item.append(words);
  return item;
}

function beginEdit(item, turn, index) {
  show();
  item = by("turns").children[index];
  const form = element("form");
  const area = element("textarea", "text");
  area.value = textOf(turn);
  area.setAttribute("aria-label", `What the ${turn.role} says`);
  const row = element("div", "row");
  const go = element("button", "primary", "Continue from here");
  const cancel = element("button", "", "Cancel");
  cancel.type = "button";
  cancel.addEventListener("click", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = state.turns.slice(0, index).map((t) => ({ role: t.role, text: textOf(t) }));
    solve(state.question, [...said, { role: turn.role, text: area.value }]);
  });
  row.append(go, cancel);
  form.append(area, row);
  item.querySelector(".words").replaceWith(form);
  area.focus();
}

function show() {
  by("tip").hidden = true;
  by("turns").replaceChildren(...state.turns.map((turn, index) => turnElement(turn, index)));
  by("first").replaceChildren(...state.first.map((turn, index) => turnElement(turn, index, false)));
  by("asks").hidden = !state.first.length;
}

function say(text, error = false) {
  by("status").textContent = text;
  by("status").classList.toggle("error", error);
}

function receive(event) {
  if (event.event === "waiting") {
    const others = event.ahead === 1 ? "1 dialogue is" : `${event.ahead} dialogues are`;
    say(event.ahead ? `Waiting: ${others} before this one.` : "The students read the problem ...");
  } else if (event.event === "turn") {
    say("The students take turns ...");
    state.turns[event.index] = event;
    const item = turnElement(event, event.index);
    const old = by("turns").children[event.index];
    if (old) old.replaceWith(item);
    else by("turns").append(item);
  } else if (event.event === "asks") {
    Object.assign(state, { first: state.turns, turns: [], who: event.who });
    by("asks").textContent = event.text;
    show();
    say(`${event.who} reads the problem ...`);
  } else if (event.event === "end") {
    if (event.cascade?.unanswered) {
      Object.assign(state, { first: [], turns: state.first, who: event.cascade.answered_by });
    }
    by("by").textContent = event.cascade ? `Answered by ${event.cascade.text}.` : "";
    by("by").hidden = !event.cascade;
    if (state.turns.length) state.turns.at(-1).last = event.status === "finished" || event.status === "unparsed";
    const [, answer, note] = by("answer").children;
    answer.textContent = event.answer ?? "none";
    note.textContent = event.note;
    by("answer").hidden = false;
    by("unfamiliar").textContent = event.unfamiliar ? `Note: ${event.unfamiliar}.` : "";
    by("unfamiliar").hidden = !event.unfamiliar;
    by("legend").hidden = false;
    show(); // the last turn may be empty now
    say("");
  } else {
    say(event.message, true);
  }
}

async function solve(question, said) {
  state.running?.abort();
  const stop = new AbortController();
  // A dialogue that is edited is continued by those who wrote it.
  const who = said.length ? state.who : state.small;
  Object.assign(state, { question, who, first: [], turns: [], given: said.length, edited: said.length - 1, running: stop });
  by("asked").textContent = question;
  by("dialogue").hidden = false;
  by("answer").hidden = by("unfamiliar").hidden = by("by").hidden = true;
  by("ask").disabled = true;
  by("stop").hidden = false;
  show();
  say("");
  try {
    const temperature = by("temperature").valueAsNumber;
    const body = { question, said, who, temperature: Number.isNaN(temperature) ? null : temperature };
    const headers = { "Content-Type": "application/json" };
    const options = { method: "POST", headers, body: JSON.stringify(body), signal: stop.signal };
    const response = await fetch("solve", options);
    if (!response.ok) throw new Error((await response.json()).error.message);
    await readLines(response.body, receive);
  } catch (error) {
    if (state.running === stop) say(stop.signal.aborted ? "Stopped." : error.message, !stop.signal.aborted);
  }
  if (state.running !== stop) return; // another question has begun
  state.running = null;
  by("ask").disabled = false;
  by("stop").hidden = true;
  by("dialogue").hidden = !state.turns.length;
  show();
}

async function readLines(stream, told) {
  let rest = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + part).split("\n");
    rest = lines.pop();
    lines.forEach((line) => told(JSON.parse(line)));
  }
}

function tip(event) {
  const text = event.target.dataset?.tip;
  const box = by("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const target = event.target.getBoundingClientRect();
  const left = Math.min(target.left, innerWidth - box.offsetWidth - 8);
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${target.top > 44 ? target.top - box.offsetHeight - 6 : target.bottom + 6}px`;
}

by("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (state.running === null) solve(by("question").value, []);
});
by("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    by("form").requestSubmit();
  }
});
by("stop").addEventListener("click", () => state.running?.abort());
document.addEventListener("mouseover", tip);
document.addEventListener("scroll", () => (by("tip").hidden = true), { passive: true });

const about = await (await fetch("about")).json();
state.roles = about.roles;
const steps = Object.entries(about.steps).map(([student, step]) => `${student} at step ${step}`);
state.small = about.asks ? about.name : "";
by("about").textContent = `${about.name}: ${steps.join(", ")}${about.asks ? `; ${about.asks}` : ""}`;
by("temperature").value = about.temperature;
by("example").hidden = !about.example;
by("example").addEventListener("click", () => {
  by("question").value = about.example;
  by("question").focus();
});
