// What is painted over a picture: boxes, paths, zones, lines, a map of density.

const HUES = [205, 28, 145, 330, 50, 265, 175, 0, 95, 300];
const MOST_LABELS = 60;
const FONT = '600 13px "Inter", "Segoe UI", Arial, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Zen Hei", sans-serif';

// A colour for each class, and for each track by its id.
export function colour(number) {
  const hue = HUES[number % HUES.length] + 13 * Math.floor(number / HUES.length);
  return `hsl(${hue % 360} 85% 62%)`;
}

function label(context, text, x, y, fill) {
  context.font = FONT;
  const width = context.measureText(text).width + 8;
  const left = Math.max(0, Math.min(x, context.canvas.clientWidth - width));
  const top = y >= 18 ? y - 18 : y;
  context.fillStyle = fill;
  context.fillRect(left, top, width, 18);
  context.fillStyle = "#10151a";
  context.fillText(text, left + 4, top + 13.5);
}

// Boxes in pixels of the picture; `of` says colour and text of one.
export function boxes(context, scale, found, of) {
  context.lineWidth = 2;
  for (const box of found) {
    const { tint } = of(box);
    const edges = [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1].map((each) => each * scale);
    context.strokeStyle = "rgb(0 0 0 / .55)";
    context.lineWidth = 4;
    context.strokeRect(...edges);
    context.strokeStyle = tint;
    context.lineWidth = 2;
    context.strokeRect(...edges);
  }
  if (found.length > MOST_LABELS) return;
  for (const box of found) {
    const { tint, text } = of(box);
    label(context, text, box.x1 * scale - 1, box.y1 * scale - 1, tint);
  }
}

// A zone (closed) or a line (with an arrow to its forward side), and its name.
export function shape(context, scale, { kind, name, points }, open = false) {
  if (!points.length) return;
  const dots = points.map(([x, y]) => [x * scale, y * scale]);
  context.beginPath();
  for (const [x, y] of dots) context.lineTo(x, y);
  if (kind === "zone" && !open) context.closePath();
  if (kind === "zone") {
    context.fillStyle = "rgb(255 214 64 / .18)";
    context.fill();
  }
  for (const [style, width] of [["rgb(0 0 0 / .6)", 5], ["#ffd640", 2.5]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke();
  }
  for (const [x, y] of dots) {
    context.fillStyle = "#ffd640";
    context.fillRect(x - 4, y - 4, 8, 8);
  }
  if (kind === "line" && dots.length === 2) arrow(context, ...dots);
  if (name) label(context, name, ...dots[0], "#ffd640");
}

// From the middle of a line towards its right, looking from its first point to its second.
function arrow(context, [x1, y1], [x2, y2]) {
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [ax, ay] = [-(y2 - y1) / length, (x2 - x1) / length];
  const [mx, my] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const [tx, ty] = [mx + 30 * ax, my + 30 * ay];
  context.beginPath();
  context.moveTo(mx, my);
  context.lineTo(tx, ty);
  context.lineTo(tx - 9 * ax + 6 * ay, ty - 9 * ay - 6 * ax);
  context.moveTo(tx, ty);
  context.lineTo(tx - 9 * ax - 6 * ay, ty - 9 * ay + 6 * ax);
  context.stroke();
}

// Where the next point would be set.
export function cross(context, scale, [x, y]) {
  context.strokeStyle = "#fff";
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x * scale - 10, y * scale);
  context.lineTo(x * scale + 10, y * scale);
  context.moveTo(x * scale, y * scale - 10);
  context.lineTo(x * scale, y * scale + 10);
  context.stroke();
}

// Cells of a map of density, all classes together; the fullest is nearly opaque.
export function density(context, scale, { width, height, cell, values }) {
  const sums = Array.from({ length: width * height }, (_, k) => values.reduce((sum, one) => sum + one[k], 0));
  const most = Math.max(...sums, 1e-9);
  for (let k = 0; k < sums.length; k++) {
    if (sums[k] <= 0.02 * most) continue;
    context.fillStyle = `hsl(${60 - 60 * (sums[k] / most)} 100% 55% / ${0.7 * Math.sqrt(sums[k] / most)})`;
    const edge = (cells) => Math.round(cells * cell * scale);
    const [column, row] = [k % width, Math.floor(k / width)];
    context.fillRect(edge(column), edge(row), edge(column + 1) - edge(column), edge(row + 1) - edge(row));
  }
}
