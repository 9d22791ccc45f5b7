/**
 * @typedef {object} SpeakingListener
 * @property {(at: number) => void} word A word begins at this place of the text (an index of the
 *   string): all before it was heard.
 * @property {() => void} ended All of it was heard.
 * @property {(error: Error) => void} failed No more of it is said; somebody else may.
 */

/**
 * Who says things aloud: the browser, or anything of yours.
 *
 * @typedef {object} Speaker
 * @property {number} loudness While it speaks, for the echo: 0 is silent, 1 as loud as it gets.
 * @property {(text: string, listener: SpeakingListener) => () => void} speak Begin; what is
 *   returned stops it at once, after which the listener is not called any more.
 */

const START_MS = 4000;
const MS_PER_CHAR = 200;
const VOICES_MS = 1500;

/**
 * The browser's synthesiser.
 *
 * It is stopped rather than paused: `pause` is ignored or final on many machines. Whoever wants it
 * to go on speaks what is left. Where it does not tell when words begin, nothing counts as heard
 * before the end.
 *
 * @implements {Speaker}
 */
export class SynthesiserSpeaker {
  #synthesis;
  #Utterance;
  /** @type {Set<object>} Kept, or Chromium forgets to tell of their end. */
  #kept = new Set();

  /**
   * @param {{voice?: SpeechSynthesisVoice, rate?: number, volume?: number}} [options]
   * @param {SpeechSynthesis} [synthesis]
   * @param {typeof SpeechSynthesisUtterance} [Utterance]
   */
  constructor(
    options = {},
    synthesis = globalThis.speechSynthesis,
    Utterance = globalThis.SpeechSynthesisUtterance,
  ) {
    this.options = options;
    this.#synthesis = synthesis;
    this.#Utterance = Utterance;
  }

  /** Return one where the browser has voices, which some load late; null where it has none. */
  static async here(options = {}) {
    const synthesis = globalThis.speechSynthesis;
    if (!synthesis) return null;
    if (synthesis.getVoices().length === 0) {
      await new Promise((resolve) => {
        synthesis.addEventListener("voiceschanged", resolve, { once: true });
        setTimeout(resolve, VOICES_MS);
      });
    }
    return synthesis.getVoices().length > 0 ? new SynthesiserSpeaker(options) : null;
  }

  get loudness() {
    return this.options.volume ?? 1;
  }

  /**
   * @param {string} text
   * @param {SpeakingListener} listener
   */
  speak(text, listener) {
    const { voice, rate = 1, volume = 1 } = this.options;
    const utterance = Object.assign(new this.#Utterance(text), { rate, volume });
    if (voice) utterance.voice = voice;
    /** @type {ReturnType<typeof setTimeout>} */
    let timer;
    let over = false;
    const finish = () => {
      over = true;
      clearTimeout(timer);
      this.#kept.delete(utterance);
    };
    const fail = (/** @type {string} */ reason) => {
      if (over) return;
      finish();
      this.#synthesis.cancel();
      listener.failed(new Error(`the synthesiser failed: ${reason}`));
    };
    // It may keep silent for ever, and forget to tell that it has ended.
    const allowed = START_MS + (text.length * MS_PER_CHAR) / rate;
    const wait = (/** @type {number} */ ms) => {
      clearTimeout(timer);
      timer = setTimeout(() => fail("silent"), ms);
    };
    utterance.onstart = () => over || wait(allowed);
    utterance.onboundary = ({ name, charIndex }) => {
      if (!over && name === "word") listener.word(charIndex);
    };
    utterance.onend = () => {
      if (over) return;
      finish();
      listener.ended();
    };
    utterance.onerror = ({ error }) => fail(error);
    wait(START_MS);
    this.#kept.add(utterance);
    this.#synthesis.speak(utterance);
    return () => {
      if (over) return;
      finish();
      this.#synthesis.cancel();
    };
  }
}

const WORD = /\S+/g;
const WORD_MS = 90;
const LETTER_MS = 52;
const BREATH_MS = { ",": 120, ";": 160, ":": 160, ".": 280, "!": 280, "?": 280 };

/**
 * Says nothing, and takes the time that it would need: for pages that show words where no voice is
 * installed, or somebody has muted it.
 *
 * @implements {Speaker}
 */
export class TimedSpeaker {
  loudness = 0;

  /** @param {number} [rate] 1 is some 170 words a minute. */
  constructor(rate = 1) {
    this.rate = rate;
  }

  /**
   * @param {string} text
   * @param {SpeakingListener} listener
   */
  speak(text, listener) {
    const words = [...text.matchAll(WORD)];
    /** @type {ReturnType<typeof setTimeout>} */
    let timer;
    const next = () => {
      const word = words.shift();
      if (!word) {
        listener.ended();
        return;
      }
      listener.word(word.index);
      timer = setTimeout(next, durationMs(word[0]) / this.rate);
    };
    timer = setTimeout(next, 0);
    return () => clearTimeout(timer);
  }
}

/** @param {string} word */
function durationMs(word) {
  const last = /** @type {keyof typeof BREATH_MS} */ (word.at(-1));
  return WORD_MS + LETTER_MS * [...word].length + (BREATH_MS[last] ?? 0);
}
