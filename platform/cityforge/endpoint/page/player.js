// Plays a film below the picture, where no control covers what is drawn.

import { clock, say } from "./words.js";

export class Player {
  constructor(row, button, slider, time) {
    Object.assign(this, { row, button, slider, time, film: null });
    button.addEventListener("click", () => (this.film.paused ? this.film.play() : this.film.pause()));
    slider.addEventListener("input", () => {
      this.film.pause();
      this.film.currentTime = Number(slider.value);
    });
  }

  // A film to play, or none.
  take(film) {
    this.film?.pause();
    this.film = film;
    this.row.hidden = !film;
    if (!film) return;
    this.slider.max = String(film.duration || 0);
    for (const name of ["play", "pause", "ended", "seeked", "timeupdate", "durationchange"]) {
      film.addEventListener(name, () => film === this.film && this.show());
    }
    film.addEventListener("click", () => this.button.click());
    this.show();
  }

  show() {
    const { currentTime, duration, paused } = this.film;
    this.button.textContent = paused ? "▶" : "❚❚";
    this.button.setAttribute("aria-label", say(paused ? "play" : "pause"));
    if (Number.isFinite(duration)) this.slider.max = String(duration);
    this.slider.value = String(currentTime);
    this.slider.setAttribute("aria-valuetext", clock(currentTime));
    this.time.textContent = `${clock(currentTime)} / ${clock(duration || 0)}`;
  }
}
