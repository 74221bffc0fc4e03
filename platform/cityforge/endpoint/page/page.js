// A person gives a picture or a clip; what the endpoint finds in it is drawn and listed.

import { getJson, postForm, postJson, Refused } from "./ask.js";
import * as paint from "./paint.js";
import * as results from "./results.js";
import { Player } from "./player.js";
import { Sketch } from "./sketch.js";
import { Stage } from "./stage.js";
import { day, say, sayAll } from "./words.js";

const of = (id) => document.getElementById(id);
const FILM_NAMES = /\.(mp4|m4v|mov|mkv|avi|ts|mts|webm|flv|wmv|mpe?g|3gp)$/i;
const PICTURE_NAMES = /\.(jpe?g|png|webp|bmp|tiff?)$/i;

const stage = new Stage(of("stage"));
const sketch = new Sketch(stage, {
  name: of("shape-name"), zone: of("draw-zone"), line: of("draw-line"), hint: of("draw-hint"), list: of("shapes"),
});
const player = new Player(of("player"), of("play"), of("seek"), of("at"));
let info = null;
let file = null;
let isFilm = false;
let answer = null;
let running = null;
let listed = null; // frame whose classes or counts are listed

stage.painters.push((context, scale, time) => {
  if (!answer) return;
  const film = Boolean(answer.frames);
  const seen = film ? frameAt(time) : answer.pictures[0];
  if (film && info.task !== "detection" && seen !== listed) listWhole((listed = seen));
  if (seen.map) paint.density(context, scale, seen.map);
  paint.boxes(context, scale, seen.boxes ?? [], film ? trackLook : boxLook);
});

const boxLook = (box) => ({
  tint: paint.colour(Math.max(0, info.classes.indexOf(box.class_name))),
  text: `${box.class_name} ${box.score.toFixed(2)}`,
});
const trackLook = (box) => ({
  tint: box.track == null ? "#cfd6dd" : paint.colour(box.track),
  text: box.track == null ? box.class_name : `#${box.track} ${box.class_name}`,
});

// The frame that was looked at nearest to a moment of the film.
function frameAt(time) {
  let best = answer.frames[0];
  for (const frame of answer.frames) {
    if (Math.abs(frame.at_s - time) < Math.abs(best.at_s - time)) best = frame;
  }
  return best;
}

function tell(text, isError = false) {
  of("status").textContent = text;
  of("status").classList.toggle("error", isError);
}

async function begin() {
  sayAll();
  try {
    info = await getJson("info");
  } catch (error) {
    of("title").textContent = "cityforge";
    return tell(error.message, true);
  }
  const { approver, at } = info.approval;
  of("title").textContent = info.title || info.model;
  document.title = info.title || info.model;
  of("about").textContent = [info.model, say("approved", { version: info.version, by: approver ?? "?", at: day(at) }), info.classes.join(", ")].join(" · ");
  const warnings = [info.open ? say("open") : "", info.refused ? say("refused", { why: info.refused }) : ""].filter(Boolean);
  of("warning").textContent = warnings.join(" ");
  of("warning").hidden = !warnings.length;
  of("camera").append(new Option(say("no_camera"), ""), ...info.cameras.map((each) => new Option(each, each)));
  of("camera-row").hidden = !info.cameras.length;
  const wanted = info.events.flatMap((rule) => ["zone", "line"].filter((kind) => rule[kind]).map((kind) => ({ kind, name: rule[kind] })));
  const names = [...new Map(wanted.map((each) => [`${each.kind} ${each.name}`, each])).values()];
  of("shape-names").append(...names.map((each) => new Option(each.name)));
  of("wanted").textContent = names.length ? say("wanted", { names: names.map((each) => `${say(each.kind)} “${each.name}”`).join(", ") }) : "";
}

function isFilmFile(given) {
  if (given.type.startsWith("video/") || FILM_NAMES.test(given.name)) return true;
  if (given.type.startsWith("image/") || PICTURE_NAMES.test(given.name)) return false;
  return null;
}

async function take(files) {
  if (!files.length || !info) return;
  running?.abort();
  running = null;
  busy(false);
  tell("");
  const kind = isFilmFile(files[0]);
  if (kind === null) return tell(say("neither", { name: files[0].name }), true);
  [file, isFilm, answer] = [files[0], kind, null];
  of("judge").hidden = true;
  of("drop").classList.add("small");
  sketch.clear();
  sketch.visible = true;
  of("answer").hidden = true;
  of("legend").replaceChildren();
  of("result").hidden = false;
  of("stage-title").textContent = `${say(isFilm ? "clip" : "picture")}: ${file.name}`;
  const own = file;
  const could = await stage.show(file, isFilm);
  if (file !== own) return; // another was taken meanwhile
  player.take(stage.film);
  note(could ? "" : say("not_shown"));
  of("tools").hidden = !(isFilm && could && info.task === "detection");
  of("fps-row").hidden = of("go").hidden = !isFilm;
  tell(files.length > 1 ? say("several", { name: file.name }) : isFilm ? say("first_frame") : "");
  if (isFilm) of("go").focus();
  else await ask();
}

function note(text) {
  of("stage-note").textContent = text;
  of("stage-note").hidden = !text;
}

function query() {
  const asked = new URLSearchParams();
  if (of("camera").value) asked.set("camera", of("camera").value);
  if (isFilm) asked.set("fps", of("fps").value);
  else if (info.task === "density") asked.set("map", "true");
  return asked.size ? `?${asked}` : "";
}

async function ask() {
  running?.abort();
  const own = (running = new AbortController());
  const form = new FormData();
  form.append(isFilm ? "clip" : "images", file);
  const scene = isFilm && sketch.scene();
  if (scene) form.append("scene", JSON.stringify(scene));
  const begun = performance.now();
  busy(true);
  tell(say("sending", { name: file.name }));
  const sent = (share) => {
    of("progress").value = share;
    if (share < 1) return;
    of("progress").removeAttribute("value");
    tell(say("working", { name: file.name }));
  };
  try {
    answer = await postForm((isFilm ? "analyze" : "predict") + query(), form, sent, own.signal);
    tell(say("done", { seconds: ((performance.now() - begun) / 1000).toFixed(1) }));
    show();
  } catch (error) {
    if (running !== own) return; // another file was taken meanwhile
    if (!(error instanceof Refused)) throw error;
    tell(error.message, true);
  } finally {
    if (running === own) busy(false);
  }
}

function busy(is) {
  of("progress").hidden = of("cancel").hidden = !is;
  of("go").disabled = is;
  of("result").setAttribute("aria-busy", String(is));
}

function show() {
  const film = isFilm ? answer.clip : null;
  const seen = film ?? answer.pictures[0];
  stage.sized(seen.width, seen.height);
  if (film?.cut || film?.damaged) {
    note([film.cut && say("cut", { why: film.cut }), film.damaged && say("damaged", { n: film.damaged })].filter(Boolean).join(" "));
  }
  const outside = film ? answer.outside : seen.outside;
  of("marks").hidden = !outside.length;
  of("marks-list").replaceChildren(...results.marks(outside));
  of("events").hidden = !film;
  if (film) showEvents();
  showFound(film, seen);
  of("judge").hidden = false;
  of("judged").textContent = "";
  of("judged").classList.remove("error");
  of("note").value = "";
  of("right").disabled = of("wrong").disabled = false;
  of("request").textContent = say("request", { id: answer.request_id });
  of("answer").hidden = false;
  stage.paint();
}

function showFound(film, seen) {
  of("found").hidden = false;
  if (info.task !== "detection") return listWhole(film ? frameAt(stage.time) : seen);
  const found = film ? answer.tracks : seen.boxes;
  const tally = results.tally(found.map((each) => each.class_name));
  of("legend").replaceChildren(...results.chips(tally, film ? [] : info.classes));
  of("found-title").textContent = found.length ? say(film ? "tracks" : "objects", { n: found.length }) : say("nothing");
  of("found-list").replaceChildren(...(found.length ? [film ? results.trackTable(found) : results.boxTable(found)] : []));
  describe(tally.map((pair) => pair.join(" ")).join(", ") || say("nothing"));
}

// Classes or counts of a whole picture, or of the frame that is shown.
function listWhole(seen) {
  const { classes, counts } = seen;
  of("found-title").textContent = say(classes ? "classes" : "counts");
  of("found-list").replaceChildren(classes ? results.scoreTable(classes) : results.countTable(counts));
  const texts = classes ? classes.map((each) => `${each.name} ${each.score.toFixed(2)}`) : counts.map((each) => `${each.name} ${each.count.toFixed(1)}`);
  describe(texts.join(", ") || say("nothing"));
}

function describe(what) {
  stage.canvas.setAttribute("aria-label", say("canvas", { what }));
}

function showEvents() {
  const found = answer.events;
  of("events-title").textContent = found.length ? say("events", { n: found.length }) : say(info.events.length ? "no_events" : "no_rules");
  of("events-list").replaceChildren(...results.events(found, choose));
  of("evidence").hidden = true;
  of("totals").replaceChildren(...(answer.totals.length ? [results.element("h3", say("totals")), results.totalTable(answer.totals)] : []));
  of("skipped").replaceChildren(...(answer.skipped.length ? results.skipped(answer.skipped) : []));
}

// Goes to the moment of an event and shows its evidence.
function choose(event, button) {
  for (const each of of("events-list").querySelectorAll("button")) each.removeAttribute("aria-current");
  button.setAttribute("aria-current", "true");
  stage.seek(event.evidence[0]?.at_s ?? event.start_s);
  const [first] = event.evidence;
  of("evidence").hidden = !first;
  if (!first) return;
  of("evidence-picture").src = `data:image/jpeg;base64,${first.jpeg}`;
  of("evidence-picture").alt = results.sentence(event);
  of("evidence-text").textContent = `${say("evidence", { at: first.at_s.toFixed(1) })}: ${results.sentence(event)}`;
}

async function judge(right) {
  of("right").disabled = of("wrong").disabled = true;
  of("judged").classList.remove("error");
  try {
    await postJson("feedback", { request_id: answer.request_id, right, note: of("note").value.trim() });
    of("judged").textContent = say("thanks");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    of("judged").textContent = error.message;
    of("judged").classList.add("error");
    of("right").disabled = of("wrong").disabled = false;
  }
}

const drop = of("drop");
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, () => drop.classList.add("over"));
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    if (name === "drop") take([...event.dataTransfer.files]);
  });
}
of("file").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = "";
});
of("camera").addEventListener("change", () => file && !isFilm && ask());
of("go").addEventListener("click", ask);
of("cancel").addEventListener("click", () => running?.abort());
of("right").addEventListener("click", () => judge(true));
of("wrong").addEventListener("click", () => judge(false));
begin();
