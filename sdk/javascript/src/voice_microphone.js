import { BargeinError } from "./errors.js";

/** @typedef {"denied" | "missing" | "unsupported" | "failed" | "stopped"} WhyNoMicrophone */

/** @type {Record<string, WhyNoMicrophone>} */
const REASONS = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
};

/** There is no microphone: let the user type, or hold a key; `reason` says why. */
export class MicrophoneRefused extends BargeinError {
  /**
   * @param {WhyNoMicrophone} reason
   * @param {unknown} [cause]
   */
  constructor(reason, cause) {
    super(`no microphone: ${reason}`);
    this.reason = reason;
    this.cause = cause;
  }
}

/**
 * @typedef {object} MicrophoneOptions
 * @property {MediaTrackConstraints} [constraints] Beside echo cancellation, noise suppression and
 *   automatic gain, which are on.
 * @property {string | URL} [worklet] Where `voice_worklet.js` is, if it is not beside this module.
 */

/** The user's microphone, as loudness. Lives until `close`, or until it is pulled out. */
export class Microphone {
  /** @type {(levelDb: number, ms: number) => void} Called 50 times a second. */
  onlevel = () => {};
  /** Called once, when it is gone without `close`. */
  onlost = () => {};
  #context;

  /**
   * @param {MediaStream} stream What is heard, for a recogniser of your own.
   * @param {AudioContext} context
   */
  constructor(stream, context) {
    this.stream = stream;
    this.#context = context;
  }

  /**
   * Ask for the microphone; call it from a click, or browsers keep the sound back.
   *
   * @param {MicrophoneOptions} [options]
   * @returns {Promise<Microphone>}
   * @throws {MicrophoneRefused} The user, the machine or the browser has none for us.
   */
  static async open({ constraints = {}, worklet } = {}) {
    const devices = globalThis.navigator?.mediaDevices;
    const Context = globalThis.AudioContext;
    if (!devices?.getUserMedia || !Context || !("audioWorklet" in Context.prototype)) {
      throw new MicrophoneRefused("unsupported"); // or a page without https
    }
    // Made in the click, so that it may run.
    const context = new Context();
    /** @type {MediaStream | undefined} */
    let stream;
    try {
      const audio = {
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
        ...constraints,
      };
      stream = await devices.getUserMedia({ audio });
      await context.resume();
      await context.audioWorklet.addModule(worklet ?? new URL("voice_worklet.js", import.meta.url));
      return new Microphone(stream, context).#listen();
    } catch (error) {
      for (const track of stream?.getTracks() ?? []) track.stop();
      await context.close();
      const name = error instanceof Error ? error.name : "";
      throw new MicrophoneRefused(REASONS[name] ?? "failed", error);
    }
  }

  #listen() {
    const loudness = new AudioWorkletNode(this.#context, "bargein-loudness");
    loudness.port.onmessage = ({ data: { levelDb, ms } }) => this.onlevel(levelDb, ms);
    // A node that leads nowhere is not run; this one says nothing.
    this.#context.createMediaStreamSource(this.stream).connect(loudness);
    loudness.connect(this.#context.destination);
    for (const track of this.stream.getTracks()) {
      track.addEventListener("ended", () => {
        this.close();
        this.onlost();
      });
    }
    return this;
  }

  /** Let go of it: the browser's sign that it listens goes out. */
  close() {
    this.onlevel = () => {};
    for (const track of this.stream.getTracks()) track.stop();
    if (this.#context.state !== "closed") this.#context.close();
  }
}

/** One microphone at most, however often it is asked for; it can be taken back before it is there. */
export class OneMicrophone {
  /** @type {Microphone | null} */
  #open = null;
  /** @type {Promise<void> | null} */
  #opening = null;
  #closed = 0; // how often
  #opened;

  /** @param {(microphone: Microphone) => void} opened */
  constructor(opened) {
    this.#opened = opened;
  }

  get isOpen() {
    return this.#open !== null;
  }

  /**
   * Open it, unless `close` comes first.
   *
   * @param {MicrophoneOptions} options
   * @throws {MicrophoneRefused} There is none.
   */
  open(options) {
    if (this.#open) return Promise.resolve();
    return (this.#opening ??= this.#ask(options));
  }

  close() {
    this.#closed++;
    this.#opening = null;
    this.#open?.close();
    this.#open = null;
  }

  /** @param {MicrophoneOptions} options */
  async #ask(options) {
    const closed = this.#closed;
    /** @type {Microphone} */
    let microphone;
    try {
      microphone = await Microphone.open(options);
    } finally {
      if (closed === this.#closed) this.#opening = null;
    }
    if (closed !== this.#closed) return microphone.close();
    this.#open = microphone;
    this.#opened(microphone);
  }
}
