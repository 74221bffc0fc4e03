// The picture or film, and a canvas over it whose unit is a pixel of the picture.

export class Stage {
  constructor(holder) {
    this.holder = holder;
    this.painters = []; // each is given (context, scale, film time)
    this.film = null;
    this.width = this.height = 0;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "over";
    this.canvas.setAttribute("role", "img");
    this.address = "";
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  // Shows a file; says whether the browser could.
  async show(file, isFilm) {
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(file);
    this.film = isFilm ? await openFilm(this.address) : null;
    const media = this.film ?? (isFilm ? null : await openPicture(this.address));
    this.width = media?.videoWidth ?? media?.naturalWidth ?? 0;
    this.height = media?.videoHeight ?? media?.naturalHeight ?? 0;
    this.holder.replaceChildren(...(media ? [media] : []), this.canvas);
    this.shaped();
    if (this.film) this.follow();
    this.paint();
    return media !== null;
  }

  // The size by the endpoint: of the upright picture, in whose pixels the boxes are.
  sized(width, height) {
    this.width = width;
    this.height = height;
    const media = this.holder.firstElementChild;
    if (media === this.canvas || media.className === "blank") {
      const blank = Object.assign(document.createElement("canvas"), { width, height, className: "blank" });
      this.holder.replaceChildren(blank, this.canvas);
    }
    this.shaped();
    this.paint();
  }

  shaped() {
    this.holder.style.setProperty("--shape", String(this.width / this.height || 1.78));
  }

  get time() {
    return this.film ? this.film.currentTime : 0;
  }

  seek(seconds) {
    if (!this.film) return;
    this.film.pause();
    this.film.currentTime = seconds;
  }

  // Paints with every frame that is shown, at that frame's own time.
  follow() {
    const film = this.film;
    const each = (_, shown) => {
      if (this.film !== film) return;
      this.paint(shown.mediaTime);
      film.requestVideoFrameCallback(each);
    };
    if (film.requestVideoFrameCallback) film.requestVideoFrameCallback(each);
    for (const name of ["seeked", "timeupdate"]) film.addEventListener(name, () => this.paint());
  }

  // Points of the window in pixels of the picture, inside it.
  at(x, y) {
    const frame = this.canvas.getBoundingClientRect();
    const inside = (share, most) => Math.min(Math.max(Math.round(share * most), 0), most);
    return [
      inside((x - frame.left) / frame.width, this.width),
      inside((y - frame.top) / frame.height, this.height),
    ];
  }

  paint(time = this.time) {
    const { clientWidth, clientHeight } = this.canvas;
    const dots = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * dots);
    this.canvas.height = Math.round(clientHeight * dots);
    if (!this.width || !clientWidth) return;
    const context = this.canvas.getContext("2d");
    context.scale(dots, dots);
    const scale = clientWidth / this.width; // pixels of the page for one of the picture
    for (const painter of this.painters) painter(context, scale, time);
  }
}

function openPicture(address) {
  return new Promise((resolve) => {
    const image = new Image();
    image.alt = "";
    image.onload = () => resolve(image);
    image.onerror = () => resolve(null);
    image.src = address;
  });
}

function openFilm(address) {
  return new Promise((resolve) => {
    const film = document.createElement("video");
    Object.assign(film, { muted: true, playsInline: true, preload: "auto" });
    film.disablePictureInPicture = true;
    film.onloadeddata = () => resolve(film.videoWidth ? film : null);
    film.onerror = () => resolve(null);
    film.src = address;
  });
}
