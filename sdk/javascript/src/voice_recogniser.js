/**
 * What a recogniser has understood.
 *
 * @typedef {object} Understood
 * @property {string | number} key Names the stretch of speech: the same one until it is final.
 * @property {string} text All of it; it replaces what was understood before.
 * @property {boolean} final
 * @property {number} [confidence] From 0 to 1.
 */

/**
 * @typedef {object} RecogniserListener
 * @property {(words: Understood) => void} words
 * @property {() => void} [done] After `stop`: the words of all that was said before are there.
 *   Without it a key that was let go waits for them.
 * @property {(reason: string) => void} failed It will understand nothing more; let the user type.
 *   After `not-allowed` and `audio-capture` it may, when it is started again.
 */

/**
 * Who turns speech into words: the browser, or anything of yours.
 *
 * @typedef {object} Recogniser
 * @property {(listener: RecogniserListener) => void} start Listen, until `stop`.
 * @property {() => void} stop Listen no longer; words of what was said before may still come, and
 *   `done` says that no more will.
 * @property {(speaking: boolean) => void} [voice] Told when a voice begins and ends, over the
 *   agent or not; for those who want to know.
 * @property {boolean} [needsNoMicrophone] Its sound comes from elsewhere: who is refused the
 *   microphone of this browser can still hold a key and talk.
 */

const AT_ONCE_MS = 500;
const MOST_AT_ONCE = 3;
/** These end a stretch of listening and say nothing about the next one. */
const PASSING = new Set(["no-speech", "aborted"]);

/**
 * The browser's own recogniser, kept listening.
 *
 * Browsers end it when nobody speaks for a while; then it is started again. Most of them ask a
 * service on the network, and Chromium builds without one report `network` at once.
 *
 * @implements {Recogniser}
 */
export class BrowserRecogniser {
  /** @type {any} */
  #running = null;
  /** @type {RecogniserListener | null} */
  #listener = null;
  #wanted = false;
  #stretch = 0;
  #short = 0;
  #begunMs = 0;
  #Recognition;
  #lang;

  /**
   * @param {new () => any} Recognition
   * @param {string} lang
   */
  constructor(Recognition, lang) {
    this.#Recognition = Recognition;
    this.#lang = lang;
  }

  /**
   * Return the recogniser of this browser, or null where it has none.
   *
   * @param {string} [lang] BCP 47, such as `en-GB`; the browser's own otherwise.
   */
  static here(lang = globalThis.navigator?.language ?? "en") {
    const { SpeechRecognition, webkitSpeechRecognition } = /** @type {any} */ (globalThis);
    const Recognition = SpeechRecognition ?? webkitSpeechRecognition;
    return Recognition ? new BrowserRecogniser(Recognition, lang) : null;
  }

  /** @param {RecogniserListener} listener */
  start(listener) {
    this.#listener = listener;
    this.#wanted = true;
    this.#short = 0;
    if (!this.#running) this.#run();
  }

  stop() {
    this.#wanted = false;
    if (this.#running) this.#running.stop(); // its last words come before its end
    else this.#listener?.done?.();
  }

  #run() {
    const recognition = new this.#Recognition();
    const stretch = ++this.#stretch;
    recognition.lang = this.#lang;
    recognition.continuous = true;
    recognition.interimResults = true;
    recognition.onresult = (/** @type {any} */ event) => {
      for (let at = event.resultIndex; at < event.results.length; at++) {
        const { 0: best, isFinal: final } = event.results[at];
        const text = best.transcript.trim();
        const confidence = final && best.confidence > 0 ? best.confidence : undefined;
        if (text) this.#listener?.words({ key: `${stretch}.${at}`, text, final, confidence });
      }
    };
    recognition.onerror = (/** @type {any} */ { error }) => {
      if (!PASSING.has(error)) this.#fail(error);
    };
    recognition.onend = () => this.#ended();
    this.#begunMs = performance.now();
    this.#running = recognition;
    recognition.start();
  }

  #ended() {
    this.#running = null;
    if (!this.#wanted) {
      this.#listener?.done?.();
      return;
    }
    const lasted = performance.now() - this.#begunMs;
    this.#short = lasted < AT_ONCE_MS ? this.#short + 1 : 0;
    if (this.#short < MOST_AT_ONCE) this.#run();
    else this.#fail("ended");
  }

  /** @param {string} reason */
  #fail(reason) {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#listener?.failed(reason);
  }
}
