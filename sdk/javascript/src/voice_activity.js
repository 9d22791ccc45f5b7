const SILENCE_DB = -100;
const LOUDEST_ECHO_DB = -12;
const ONGOING_DB = 6;

/** How fast estimates follow what is heard: ms until two thirds of a change are taken over. */
const FOLLOWS = { quieter: 250, louder: 4000, louderInSpeech: 15_000, echoUp: 300, echoDown: 2500 };

/**
 * @typedef {object} ActivityOptions Levels are dB below full scale, of frames of some 20 ms.
 * @property {number} [leastDb] Nothing quieter is a voice. -50.
 * @property {number} [marginDb] A voice is so much louder than the room. 10.
 * @property {number} [echoDb] What of the agent's own sound comes back where it is as loud as it
 *   gets, before that is known. -32.
 * @property {number} [overDb] A voice over the agent is so much louder than that. 8.
 * @property {number} [beganMs] A voice is taken for one after so long. 60.
 * @property {number} [overMs] The same while the agent sounds. 120.
 * @property {number} [endedMs] It has ended after so much silence. 300.
 * @property {number} [tailMs] How long a room rings when the agent has stopped. 250.
 */

/** @type {Required<ActivityOptions>} */
const DEFAULTS = {
  leastDb: -50,
  marginDb: 10,
  echoDb: -32,
  overDb: 8,
  beganMs: 60,
  overMs: 120,
  endedMs: 300,
  tailMs: 250,
};

/**
 * Tells a voice from the room, and from the agent's own sound in the microphone, by loudness.
 *
 * It gets to know both: the room while nobody speaks, the echo while the agent does. It has no
 * clock and no microphone of its own; whoever has them calls `hear` for each frame.
 */
export class VoiceActivity {
  #speaking = false;
  #noiseDb;
  #echoDb;
  #loudMs = 0;
  #quietMs = 0;
  #tailMs = 0;
  #lastPlayed = 0;
  #risingDb = SILENCE_DB;
  #peakDb = SILENCE_DB; // of the last voice, as long as the agent sounded, against its loudness

  /** @param {ActivityOptions} [options] */
  constructor(options = {}) {
    this.options = { ...DEFAULTS, ...options };
    this.#noiseDb = this.options.leastDb - this.options.marginDb;
    this.#echoDb = this.options.echoDb;
  }

  /** Whether there is a voice. */
  get speaking() {
    return this.#speaking;
  }

  /** What is to be exceeded now, dB. */
  get thresholdDb() {
    const { leastDb, marginDb, overDb } = this.options;
    const room = Math.max(leastDb, this.#noiseDb + marginDb);
    if (this.#lastPlayed <= 0) return room;
    const echo = Math.min(this.#echoDb + this.#playedDb, LOUDEST_ECHO_DB); // one may still shout
    return Math.max(room, echo + overDb);
  }

  /**
   * Take in a frame of the microphone's sound.
   *
   * @param {number} levelDb
   * @param {number} ms How long the frame is.
   * @param {number} [playing] How loud the agent is, from 0 to 1.
   * @returns {"began" | "ended" | null} What has become of the voice with this frame.
   */
  hear(levelDb, ms, playing = 0) {
    const level = Math.max(levelDb, SILENCE_DB);
    this.#tailMs = playing > 0 ? this.options.tailMs : Math.max(0, this.#tailMs - ms);
    if (playing > 0) this.#lastPlayed = playing;
    else if (this.#tailMs === 0) this.#lastPlayed = 0;
    const over = this.#lastPlayed > 0;
    const loud = level > this.thresholdDb - (this.#speaking ? ONGOING_DB : 0);
    this.#learn(level, ms, playing > 0, loud);
    return this.#speaking ? this.#goOn(level, ms, loud) : this.#begin(level, ms, loud, over);
  }

  /** Learn that the last voice was the agent's own: so loud an echo is not taken for one again. */
  wasEcho() {
    this.#echoDb = Math.max(this.#echoDb, this.#peakDb);
  }

  /** How loud the agent is, dB below the loudest. */
  get #playedDb() {
    return 20 * Math.log10(this.#lastPlayed);
  }

  /** Forget a voice that is going on: the microphone is not listened to any more. */
  silence() {
    this.#speaking = false;
    this.#loudMs = this.#quietMs = 0;
  }

  /**
   * @param {number} level
   * @param {number} ms
   * @param {boolean} loud
   * @param {boolean} over
   */
  #begin(level, ms, loud, over) {
    this.#loudMs = loud ? this.#loudMs + ms : 0;
    this.#risingDb = loud ? this.#peakOf(this.#risingDb, level) : SILENCE_DB;
    if (this.#loudMs < (over ? this.options.overMs : this.options.beganMs)) return null;
    this.#speaking = true;
    this.#peakDb = this.#risingDb;
    this.#quietMs = 0;
    return /** @type {const} */ ("began");
  }

  /**
   * @param {number} level
   * @param {number} ms
   * @param {boolean} loud
   */
  #goOn(level, ms, loud) {
    this.#peakDb = this.#peakOf(this.#peakDb, level);
    this.#quietMs = loud ? 0 : this.#quietMs + ms;
    if (this.#quietMs < this.options.endedMs) return null;
    this.#speaking = false;
    this.#loudMs = 0;
    return /** @type {const} */ ("ended");
  }

  /** @param {number} peakDb @param {number} level */
  #peakOf(peakDb, level) {
    return this.#lastPlayed > 0 ? Math.max(peakDb, level - this.#playedDb) : peakDb;
  }

  /**
   * @param {number} level
   * @param {number} ms
   * @param {boolean} playing
   * @param {boolean} loud
   */
  #learn(level, ms, playing, loud) {
    if (playing && !loud && !this.#speaking) {
      const echo = level - this.#playedDb;
      const after = echo > this.#echoDb ? FOLLOWS.echoUp : FOLLOWS.echoDown;
      this.#echoDb += (echo - this.#echoDb) * part(ms, after);
    }
    if (this.#lastPlayed > 0) return; // the room is not heard through the agent
    const louder = this.#speaking || loud ? FOLLOWS.louderInSpeech : FOLLOWS.louder;
    const after = level < this.#noiseDb ? FOLLOWS.quieter : louder;
    this.#noiseDb += (level - this.#noiseDb) * part(ms, after);
  }
}

/** @param {number} ms @param {number} after */
function part(ms, after) {
  return 1 - Math.exp(-ms / after);
}
