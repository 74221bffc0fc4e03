// The lists of an answer, as elements.

import { colour } from "./paint.js";
import { clock, say } from "./words.js";

export function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function tally(names) {
  const found = new Map();
  for (const name of names) found.set(name, (found.get(name) ?? 0) + 1);
  return [...found].sort((one, other) => other[1] - one[1]);
}

// How many of each class; with the class's colour where boxes have it.
export function chips(pairs, classes) {
  return pairs.map(([name, count]) => {
    const chip = element("span");
    if (classes.includes(name)) {
      const dot = element("i", "", { class: "dot", "aria-hidden": "true" });
      dot.style.background = colour(classes.indexOf(name));
      chip.append(dot);
    }
    chip.append(`${name} ${count}`);
    return chip;
  });
}

export function marks(found) {
  return found.map((mark) => element("li", say(mark.what, mark)));
}

export function table(heads, rows, numbers = []) {
  const made = element("table");
  const row = (cells, kind) => {
    const line = element("tr");
    cells.forEach((cell, k) => {
      const made = element(kind);
      if (numbers.includes(k)) made.className = "n";
      if (kind === "th") made.scope = "col";
      made.append(cell);
      line.append(made);
    });
    return line;
  };
  const head = element("thead");
  head.append(row(heads, "th"));
  const body = element("tbody");
  body.append(...rows.map((cells) => row(cells, "td")));
  made.append(head, body);
  const scroll = element("div", "", { class: "scroll", tabindex: "0" });
  scroll.append(made);
  return scroll;
}

export function boxTable(boxes) {
  const edges = (box) => [box.x1, box.y1, box.x2, box.y2].map((each) => each.toFixed(0)).join(", ");
  const rows = boxes.map((box) => [box.class_name, box.score.toFixed(2), edges(box)]);
  return table([say("class_name"), say("score"), say("where")], rows, [1, 2]);
}

export function scoreTable(classes) {
  const rows = classes.map((each) => {
    const bar = element("meter", "", { min: 0, max: 1, value: each.score, "aria-label": each.name });
    return [each.name, bar, each.score.toFixed(2)];
  });
  return table([say("class_name"), "", say("score")], rows, [2]);
}

export function countTable(counts) {
  const rows = counts.map((each) => [each.name, each.count.toFixed(1)]);
  return table([say("class_name"), say("counts")], rows, [1]);
}

export function trackTable(tracks) {
  const rows = tracks.map((each) => [
    `#${each.id}`,
    each.class_name + (each.kmh == null ? "" : `, ${each.kmh.toFixed(0)} km/h`),
    `${each.first_s.toFixed(1)}–${each.last_s.toFixed(1)}`,
    each.score.toFixed(2),
  ]);
  return table([say("track"), say("class_name"), say("seen"), say("score")], rows, [2, 3]);
}

export function totalTable(totals) {
  const rows = totals.map((each) => [`${each.line}: ${each.class_name}`, String(each.forward), String(each.backward)]);
  return table([say("line"), say("forward"), say("backward")], rows, [1, 2]);
}

export function sentence(event) {
  const tracks = event.tracks.length && event.tracks.length < 4 ? ` #${event.tracks.join(", #")}` : "";
  const value = event.value == null ? "" : String(Math.round(event.value));
  return say(event.kind, {
    what: (event.class_name ?? say("something")) + tracks,
    zone: event.zone ?? "",
    direction: event.direction ? say(event.direction) : "",
    value,
  });
}

// One button for each event; `chosen` is told which.
export function events(found, chosen) {
  return found.map((event) => {
    const row = element("li");
    const button = element("button", "", { type: "button" });
    const text = element("span", sentence(event));
    const more = [event.rule, event.going_on ? say("going_on") : ""].filter(Boolean).join(" · ");
    text.append(element("small", more));
    button.append(element("time", clock(event.start_s)), text);
    button.addEventListener("click", () => chosen(event, button));
    row.append(button);
    return row;
  });
}

export function skipped(found) {
  const list = element("ul");
  list.append(...found.map((each) => element("li", `${each.rule}: ${each.why}`)));
  return [element("h3", say("skipped")), list];
}
