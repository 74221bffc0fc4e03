// Zones and lines drawn over the first frame; they go to the endpoint as a scene.

import * as paint from "./paint.js";
import { say } from "./words.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Sketch {
  constructor(stage, page) {
    this.stage = stage;
    this.page = page; // name, zone, line, hint, list: elements
    this.shapes = []; // {kind, name, points}
    this.current = null;
    this.cursor = null;
    this.visible = true;
    for (const kind of ["zone", "line"]) page[kind].addEventListener("click", () => this.begin(kind));
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.move(stage.at(event.clientX, event.clientY)));
    canvas.addEventListener("pointerdown", (event) => this.point(stage.at(event.clientX, event.clientY)));
    canvas.addEventListener("dblclick", () => this.end());
    canvas.addEventListener("keydown", (event) => this.key(event));
    stage.painters.push((context, scale) => this.visible && this.paint(context, scale));
  }

  clear() {
    this.shapes = [];
    this.drop();
    this.list();
  }

  begin(kind) {
    const name = this.page.name.value.trim();
    if (!name) {
      this.page.hint.textContent = say("unnamed");
      this.page.name.focus();
      return;
    }
    this.stage.seek(0);
    this.current = { kind, name, points: [] };
    this.cursor = [Math.round(this.stage.width / 2), Math.round(this.stage.height / 2)];
    this.page.hint.textContent = say(`${kind}_hint`);
    this.press(kind);
    this.stage.canvas.classList.add("drawing");
    this.stage.canvas.tabIndex = 0;
    this.stage.canvas.focus();
    this.stage.paint();
  }

  press(kind) {
    for (const each of ["zone", "line"]) this.page[each].setAttribute("aria-pressed", String(each === kind));
  }

  move(point) {
    if (!this.current) return;
    this.cursor = point;
    this.stage.paint();
  }

  point(point) {
    if (!this.current) return;
    const last = this.current.points.at(-1);
    if (!last || last[0] !== point[0] || last[1] !== point[1]) this.current.points.push(point);
    this.cursor = point;
    if (this.current.kind === "line" && this.current.points.length === 2) this.end();
    this.stage.paint();
  }

  key(event) {
    if (!this.current) return;
    const step = STEPS[event.key];
    if (step) {
      const far = event.shiftKey ? 1 : Math.max(4, Math.round(this.stage.width / 100));
      const inside = (value, most) => Math.min(Math.max(value, 0), most);
      const [x, y] = this.cursor;
      this.cursor = [inside(x + far * step[0], this.stage.width), inside(y + far * step[1], this.stage.height)];
    } else if (event.key === " ") this.point(this.cursor);
    else if (event.key === "Enter") this.end();
    else if (event.key === "Backspace") this.current.points.pop();
    else if (event.key === "Escape") this.drop();
    else return;
    event.preventDefault();
    this.stage.paint();
  }

  end() {
    const done = this.current;
    if (!done || done.points.length < (done.kind === "zone" ? 3 : 2)) return;
    this.shapes = this.shapes.filter((each) => each.kind !== done.kind || each.name !== done.name);
    this.shapes.push(done);
    this.page.name.value = "";
    this.drop();
    this.list();
    this.page.name.focus();
  }

  drop() {
    this.current = null;
    this.page.hint.textContent = "";
    this.press("");
    this.stage.canvas.classList.remove("drawing");
    this.stage.canvas.removeAttribute("tabindex");
    this.stage.paint();
  }

  list() {
    const rows = this.shapes.map((each) => {
      const row = document.createElement("li");
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = say("remove");
      remove.setAttribute("aria-label", `${say("remove")}: ${each.name}`);
      remove.addEventListener("click", () => {
        this.shapes = this.shapes.filter((other) => other !== each);
        this.list();
        this.stage.paint();
        this.page.name.focus();
      });
      row.append(`${each.name} (${say(each.kind)})`, remove);
      return row;
    });
    this.page.list.replaceChildren(...rows);
  }

  paint(context, scale) {
    for (const each of this.shapes) paint.shape(context, scale, each);
    if (!this.current) return;
    paint.shape(context, scale, { ...this.current, points: [...this.current.points, this.cursor] }, true);
    paint.cross(context, scale, this.cursor);
  }

  // What was drawn, as cards.camera.Scene has it; none when nothing was.
  scene() {
    if (!this.shapes.length) return null;
    const named = (kind) => Object.fromEntries(this.shapes.filter((each) => each.kind === kind).map((each) => [each.name, each.points]));
    return { width: this.stage.width, height: this.stage.height, zones: named("zone"), lines: named("line") };
  }
}
