/** Draws at most once per animation frame, however often it is asked to. */
export class Frames {
  #draw;
  #asked = false;

  /** @param {() => boolean} draw Says whether the next frame has something new without being asked. */
  constructor(draw) {
    this.#draw = draw;
  }

  request() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      if (this.#draw()) this.request();
    });
  }
}
